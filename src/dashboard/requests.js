// The latest requests as they come, and the decision behind each.

import { call, segment } from "./api.js";
import { at, bar, h, list, nothing, row, say, state } from "./dom.js";
import { clock, count, ms, usd } from "./format.js";

const OUTCOME = { ok: "good", reserved: "open", cancelled: "", truncated: "bad", failed: "bad", unsettled: "warn" };
const SIGNALS = { length: "Prompt length", code: "Code", keywords: "Keywords", structure: "Structure", depth: "Conversation depth" };
/** The kinds of the columns. */
const COLUMNS = ["", "", "", "", "", "", "n", "n", "n", "n"];
/** Candidates that are shown at once. */
const FIRST = 10;

let first = true;

export function show(latest, underWay) {
  if (!latest) return say(at("requests-count"), "the ledger cannot be read; the log says why");
  say(at("requests-count"), `${count(underWay)} under way, the latest ${count(latest.length)} shown`);
  const rows = at("requests-rows");
  if (!latest.length) return nothing(rows, COLUMNS.length, "No request so far");
  list(rows, latest, request => request.request_id, make);
  first = false;
}

function make(request) {
  const { node, show: put } = row({ class: first ? null : "new" }, 0, COLUMNS);
  const detail = h("tr", { class: "decision", hidden: true }, h("td", { colspan: COLUMNS.length }));
  let open = false, seen = null;
  const button = h("button", { type: "button", class: "more", "aria-expanded": "false", "aria-label": `${clock(request.at)}, decision`, onclick: toggle }, clock(request.at));
  async function toggle() {
    open = !open;
    button.setAttribute("aria-expanded", String(open));
    detail.hidden = !open;
    if (open) await load();
  }
  async function load() {
    try {
      detail.firstChild.replaceChildren(decision(await call("GET", `requests/${segment(request.request_id)}`)));
    } catch (error) {
      detail.firstChild.replaceChildren(h("p", { class: "error" }, error.message));
    }
  }
  return {
    node: [node, detail],
    update(now) {
      const cached = now.cache === "hit" ? " (cache)" : "";
      put([
        ["button", () => button], now.tenant, now.requested, `${now.provider}/${now.model}${cached}`,
        [String(now.complexity), () => h("span", {}, bar(now.complexity, "short"), now.complexity.toFixed(3))],
        [now.outcome, () => state(OUTCOME[now.outcome] ?? "", now.outcome === "reserved" ? "under way" : now.outcome)],
        count(now.attempts), ms(now.ttft_ms), ms(now.latency_ms),
        usd(now.cost_usd),
      ]);
      if (open && seen !== now.outcome) load();
      seen = now.outcome;
    },
  };
}

/** The same picture as `aipipe explain`: signals, complexity, candidates by effective cost, and why others were passed over. */
function decision({ decision: made, attempts, request_id, tags, dialect, tokens, cost_usd, saved_usd }) {
  const signals = h("table", {}, h("tbody", {}, Object.entries(made.signals ?? {}).map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, SIGNALS[name] ?? name), h("td", {}, bar(value)), h("td", { class: "n" }, value.toFixed(2))))));
  const basis = { scored: "scored", none: "the tenant's default: nothing to score by", override: "set by the client" }[made.signal] ?? made.signal;
  const left = h("div", {},
    h("h3", {}, "Signals"), signals,
    h("p", {}, `Complexity ${made.complexity.toFixed(3)} (${basis}); quality counts to the power of ${made.exponent.toFixed(3)}.`),
    h("p", { class: "quiet" }, `About ${count(made.input_tokens)} tokens in, ${count(made.output_tokens)} out; used: ${count(tokens.input)} in, ${count(tokens.output)} out.`),
    h("p", { class: "quiet" }, `Cost ${usd(cost_usd)}, saved ${usd(saved_usd)}. Asked as ${dialect}.${tags.length ? ` Tags: ${tags.join(", ")}.` : ""}`),
    h("p", { class: "quiet" }, h("code", {}, request_id)));
  const right = h("div", {}, candidates(made), passedOver(made), calls(attempts));
  return h("div", { class: "parts" }, left, right);
}

function candidates({ candidates: all, chosen }) {
  const eligible = all.filter(one => one.eligible).slice(0, FIRST);
  if (!eligible.length) return h("p", {}, "No model was eligible.");
  const most = Math.max(...eligible.map(one => Number(one.effective_cost_usd) || 0)) || 1;
  return h("div", {}, h("h3", {}, "Candidates, by effective cost"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Candidates" }, h("table", {},
    h("thead", {}, h("tr", {}, ["", "Model", "Raw cost", "Quality", "Adjusted", "Penalty", "Effective", ""].map((name, place) => h("th", { scope: "col", class: place > 1 && place < 7 ? "n" : null }, name)))),
    h("tbody", {}, eligible.map(one => {
      const is = one.provider === chosen?.provider && one.model === chosen?.model;
      return h("tr", { class: is ? "chosen" : null },
        h("td", { class: "n" }, one.rank), h("th", { scope: "row" }, `${one.provider}/${one.model}${is ? " (chosen)" : ""}`),
        h("td", { class: "n" }, usd(one.raw_cost_usd)), h("td", { class: "n" }, one.quality.toFixed(2)), h("td", { class: "n" }, usd(one.adjusted_cost_usd)),
        h("td", { class: "n" }, one.penalty.toFixed(2)), h("td", { class: "n" }, usd(one.effective_cost_usd)),
        h("td", {}, bar((Number(one.effective_cost_usd) || 0) / most, is ? "" : "lost")));
    })))));
}

function passedOver({ candidates: all }) {
  const reasons = new Map();
  for (const one of all.filter(one => !one.eligible)) reasons.set(one.reason, [...(reasons.get(one.reason) ?? []), `${one.provider}/${one.model}`]);
  return [...reasons].map(([reason, names]) => h("details", { class: "pass" }, h("summary", {}, `${count(names.length)} passed over: ${reason}`), h("p", { class: "quiet" }, names.join(", "))));
}

function calls(attempts) {
  if (!attempts.length) return h("p", { class: "quiet pass" }, "No upstream call.");
  return h("div", { class: "pass" }, h("h3", {}, "Upstream calls"), h("ul", { class: "conditions" }, attempts.map(one =>
    h("li", { class: one.outcome === "ok" ? "" : "warning" }, `${one.provider}/${one.model}${one.role ? ` (${one.role})` : ""}: ${one.fault ?? one.outcome}${one.status ? `, status ${one.status}` : ""}, ${ms(one.latency_ms)} ms, ${usd(one.cost_usd)}`))));
}
