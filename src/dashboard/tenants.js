// Tenants: budgets, limits, keys and tokens.

import { Refused, call, segment, tagged } from "./api.js";
import { ask, at, bar, h, list, row, say, tell } from "./dom.js";
import { count, moment, usd } from "./format.js";

/** Milliseconds between looks while something happens. */
const PAUSE = 3000;
/** Tenants that are shown. */
const MOST = 500;

let last = 0, asking = false, chosen = null;

export function start() {
  refresh();
}

/** Something has happened: look again, if the last look is long enough ago. */
export function nudge() {
  if (Date.now() - last > PAUSE) refresh();
}

const path = (tenant, rest = "") => `tenants/${segment(tenant)}${rest}`;

/** Does something and says how it went. */
async function attempt(action, done) {
  try {
    const result = await action();
    if (done) tell(done);
    return result;
  } catch (error) {
    const changed = error instanceof Refused && error.status === 412;
    tell(changed ? "Somebody else has changed it; it is shown as it is now." : error.message);
    if (changed && chosen) open(chosen);
    return null;
  }
}

async function refresh() {
  if (asking) return;
  asking = true;
  last = Date.now();
  try {
    const { tenants, next_cursor } = await call("GET", `tenants?limit=${MOST}`);
    say(at("tenants-more"), next_cursor ? `the first ${count(MOST)} of more` : "");
    list(at("tenant-rows"), tenants, tenant => tenant.id, make);
  } catch (error) {
    tell(error.message);
  } finally {
    asking = false;
  }
}

function make({ id }) {
  const { node, show } = row({ "data-tenant": id }, 1, ["", "", "n", "n", "n", "n", "n act"]);
  const button = h("button", { type: "button", class: "small", "aria-label": `Settings of ${id}`, onclick: () => open(id) }, "Settings");
  return {
    node,
    update(tenant) {
      const spent = tenant.budget_period === "day" ? tenant.spent.day_usd : tenant.spent.month_usd;
      const budget = tenant.budget_usd === null ? ["none", () => h("span", { class: "quiet" }, "none")]
        : [`${tenant.budget_usd} ${spent}`, () => h("span", {}, bar(Number(spent) / Number(tenant.budget_usd), "short"), `${usd(spent)} of ${usd(tenant.budget_usd)} a ${tenant.budget_period}`)];
      const limits = [[tenant.requests_per_minute, "req/min"], [tenant.tokens_per_minute, "tok/min"], [tenant.max_concurrent, "at once"]]
        .filter(([limit]) => limit !== null).map(([limit, unit]) => `${count(limit)} ${unit}`).join(", ");
      show([id, budget, usd(tenant.spent.day_usd), usd(tenant.spent.month_usd), usd(tenant.spent.held_usd), limits || "none", ["button", () => button]]);
    },
  };
}

at("tenant-new").addEventListener("submit", async event => {
  event.preventDefault();
  const name = at("tenant-name").value;
  const made = await attempt(() => call("PUT", path(name), {}, { "if-none-match": "*" }), `${name} was created`);
  if (!made) return;
  at("tenant-name").value = "";
  refresh();
  open(name);
});

/** Shows the settings of a tenant. */
async function open(id) {
  chosen = id;
  const shown = await attempt(() => Promise.all([tagged(path(id)), call("GET", path(id, "/keys")), call("GET", path(id, "/tokens")), call("GET", "providers")]));
  if (!shown || chosen !== id) return;
  const [[tenant, tag], { keys }, { tokens }, { providers }] = shown;
  const close = h("button", { type: "button", class: "small", onclick: shut }, "Close");
  const title = h("h3", { tabindex: "-1" }, `${id} `, close);
  at("tenant-one").replaceChildren(h("div", { class: "one", role: "group", "aria-label": `Settings of ${id}` }, title, settings(tenant, tag), keyring(id, keys, providers), tokenList(id, tokens)));
  title.focus();
}

function shut() {
  chosen = null;
  at("tenant-one").replaceChildren();
}

let fields = 0;
function field(name, input) {
  input.id = `field-${fields += 1}`;
  return h("div", { class: "field" }, h("label", { for: input.id }, name), input);
}

/** What is settled; left empty means not limited. */
function settings(tenant, tag) {
  const number = (name, step = "1") => h("input", { name, type: "number", min: "0", step, inputmode: "decimal", value: tenant[name] ?? "" });
  const budget = h("input", { name: "budget_usd", inputmode: "decimal", pattern: "[0-9]*\\.?[0-9]{0,9}", placeholder: "none", value: tenant.budget_usd === null ? "" : String(Number(tenant.budget_usd)) });
  const period = h("select", { name: "budget_period" }, ["day", "month"].map(name => h("option", { value: name, selected: name === tenant.budget_period }, name)));
  const quality = h("select", { name: "quality" }, ["economy", "balanced", "best"].map(name => h("option", { value: name, selected: name === tenant.quality }, name)));
  const operator = h("input", { name: "operator_keys", type: "checkbox", checked: tenant.operator_keys });
  const models = h("input", { name: "models", placeholder: "all", value: (tenant.models ?? []).join(", ") });
  const form = h("form", { onsubmit: save }, h("h3", {}, "Settled"),
    field("Budget, USD", budget), field("Budget is for a", period), field("Requests a minute", number("requests_per_minute")), field("Tokens a minute", number("tokens_per_minute")),
    field("At the same time", number("max_concurrent")), field("Models", models), field("Default complexity", number("default_complexity", "0.01")), field("Quality of auto", quality), field("Operator's keys", operator),
    h("div", { class: "buttons" }, tenant.created_at ? h("button", { type: "button", onclick: remove }, "Remove tenant") : null, h("button", { type: "submit", class: "primary" }, "Save")));
  async function save(event) {
    event.preventDefault();
    const of = name => form.elements[name].value.trim();
    // What this form does not show stays as it is.
    const { weight, min_quality, learning, exploration, shadow, telemetry_content } = tenant;
    const policy = { weight, min_quality, learning, exploration, shadow, telemetry_content, operator_keys: operator.checked, budget_period: period.value, quality: quality.value, budget_usd: of("budget_usd") || null, models: of("models") ? of("models").split(",").map(name => name.trim()).filter(Boolean) : null };
    for (const name of ["requests_per_minute", "tokens_per_minute", "max_concurrent", "default_complexity"]) policy[name] = of(name) === "" ? null : Number(of(name));
    if (await attempt(() => call("PUT", path(tenant.id), policy, { "if-match": tag }), `${tenant.id} was saved`)) {
      refresh();
      open(tenant.id);
    }
  }
  async function remove() {
    if (!await ask(`Remove ${tenant.id}?`, "Its keys, tokens and cached answers go; its ledger rows stay.", "Remove")) return;
    if (await attempt(() => call("DELETE", path(tenant.id), undefined, { "if-match": tag }), `${tenant.id} was removed`)) {
      shut();
      refresh();
    }
  }
  return form;
}

function keyring(id, keys, providers) {
  const set = given => attempt(() => call("POST", path(id, "/keys"), given), "The keys were changed");
  const change = async given => { if (await set(given)) open(id); };
  const own = keys.map(({ provider, hint, updated_at }) => h("li", {}, h("span", {}, h("strong", {}, provider), " ", h("code", {}, hint), " ", h("span", { class: "quiet" }, `since ${moment(updated_at)}`)),
    h("button", { type: "button", class: "small", "aria-label": `Remove the key of ${provider}`, onclick: async () => {
      if (await ask(`Remove the key of ${provider}?`, `${id} can then reach ${provider} only by the operator's key, where it may.`, "Remove")) change({ [provider]: null });
    } }, "Remove")));
  const provider = h("select", { name: "provider" }, providers.map(({ name }) => h("option", { value: name }, name)));
  const key = h("input", { name: "key", type: "password", autocomplete: "off", required: true });
  const form = h("form", { onsubmit: event => { event.preventDefault(); change({ [provider.value]: key.value }); } },
    field("Provider", provider), field("Key", key), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Add key")));
  return h("div", { class: "list" }, h("h3", {}, "Provider keys"), keys.length ? h("ul", {}, own) : h("p", { class: "quiet" }, "none of its own"), form);
}

function tokenList(id, tokens) {
  const entries = tokens.map(({ id: token, created_at, expires_at }) => h("li", {}, h("span", {}, h("code", {}, token), " ", h("span", { class: "quiet" }, `from ${moment(created_at)}, ${expires_at ? `until ${moment(expires_at)}` : "for ever"}`)),
    h("button", { type: "button", class: "small", "aria-label": `Revoke ${token}`, onclick: async () => {
      if (!await ask("Revoke this token?", `Requests with ${token} are refused at once.`, "Revoke")) return;
      if (await attempt(() => call("DELETE", path(id, `/tokens/${segment(token)}`)), "The token was revoked")) open(id);
    } }, "Revoke")));
  const days = h("input", { name: "days", type: "number", min: "1", step: "1", placeholder: "for ever" });
  const once = h("div", { role: "status" });
  const form = h("form", { onsubmit: async event => {
    event.preventDefault();
    const lifetime = days.value ? { expires_in_seconds: Number(days.value) * 86400 } : {};
    const issued = await attempt(() => call("POST", path(id, "/tokens"), lifetime), "A token was issued");
    if (issued) once.replaceChildren(h("p", { class: "shown-once" }, "Copy it now, it is not shown again: ", h("code", {}, issued.token)));
  } }, field("Days", days), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Issue token")), once);
  return h("div", { class: "list" }, h("h3", {}, "Client tokens"), tokens.length ? h("ul", {}, entries) : h("p", { class: "quiet" }, "none"), form);
}
