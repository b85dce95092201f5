// The admin API. The secret lives in this tab's session storage and goes nowhere but into the header.

const KEY = "aipipe-admin-secret";

export const secret = {
  get: () => sessionStorage.getItem(KEY),
  set: text => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** What the API said when it refused. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function send(method, path, { body, headers, signal } = {}) {
  const response = await fetch(`/admin/${path}`, {
    method, signal, cache: "no-store", credentials: "omit",
    headers: { "x-admin-secret": secret.get() ?? "", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  const error = (await response.json().catch(() => ({}))).error ?? {};
  throw new Refused(response.status, error.code ?? "", error.message ?? `status ${response.status}`);
}

/** Calls the API; the answer's JSON. */
export const call = async (method, path, body, headers) => (await send(method, path, { body, headers })).json();

/** The answer's JSON with the tag that a change can be made conditional on. */
export async function tagged(path) {
  const response = await send("GET", path);
  return [await response.json(), response.headers.get("etag")];
}

/** One segment of a path. */
export const segment = text => encodeURIComponent(text);

/** Reads the events until they end; calls `seen` with each snapshot. */
export async function watch(signal, seen) {
  const response = await send("GET", "events", { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const events = buffer.split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
      if (data) seen(JSON.parse(data));
    }
  }
}
