// Signing in, the live connection, and handing what comes to the panels.

import { Refused, call, secret, watch } from "./api.js";
import { at, say, tell } from "./dom.js";
import { span } from "./format.js";
import * as health from "./health.js";
import * as money from "./money.js";
import * as requests from "./requests.js";
import * as tenants from "./tenants.js";
import * as tree from "./tree.js";

/** Milliseconds between attempts to connect. */
const PATIENCE = [500, 1000, 2000, 5000, 10000];

let link = null;

function show(signedIn) {
  at("login").hidden = signedIn;
  at("desk").hidden = !signedIn;
}

function signOut(why = "") {
  link?.abort();
  link = null;
  secret.forget();
  show(false);
  say(at("login-error"), why);
  at("secret").value = "";
  at("secret").focus();
}

function seen({ overview, requests: latest }) {
  health.show(overview);
  tree.show(overview);
  requests.show(latest, overview.metrics.requests_under_way);
  money.nudge();
  tenants.nudge();
  say(at("build"), `AiPipe ${overview.version} (${overview.commit}), running for ${span(overview.uptime_seconds)}`);
}

/** Stays connected until signed out. */
async function stay() {
  link = new AbortController();
  const { signal } = link;
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      await watch(signal, snapshot => {
        failures = 0;
        say(at("link"), "Live");
        seen(snapshot);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 403) return signOut(error.message);
      if (error instanceof Refused) tell(error.message);
    }
    if (signal.aborted) return;
    const wait = PATIENCE[Math.min(failures, PATIENCE.length - 1)];
    say(at("link"), "Connection lost, trying again");
    await new Promise(done => setTimeout(done, wait));
  }
}

async function signIn(text) {
  secret.set(text);
  try {
    await call("GET", "overview");
  } catch (error) {
    return signOut(error instanceof Refused ? error.message : "The gateway cannot be reached.");
  }
  say(at("login-error"), "");
  show(true);
  say(at("link"), "Connecting");
  money.start();
  tenants.start();
  at("main").focus({ preventScroll: true });
  await stay();
}

at("login").addEventListener("submit", event => {
  event.preventDefault();
  signIn(at("secret").value);
});
at("leave").addEventListener("click", () => signOut());

if (secret.get()) signIn(secret.get());
else signOut();
