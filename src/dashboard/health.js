// Is all well, and if not: what, since when, and what the gateway does about it. Then latency, circuits and queues.

import { at, h, list, row, say, state } from "./dom.js";
import { ago, count, moment, ms, span, usd } from "./format.js";

const CIRCUIT = { closed: ["good", "closed"], half_open: ["warn", "half open"], open: ["bad", "open"] };

export function show(overview) {
  verdict(overview);
  figures(overview);
  providers(overview);
}

function verdict({ well, conditions }) {
  const worst = conditions[0]?.severity ?? "well";
  const grave = conditions.filter(condition => condition.severity !== "notice").length;
  const how = worst === "recovering" ? "recovering" : "not well";
  const title = at("verdict");
  title.className = well ? "well" : worst;
  say(title, well ? "All is well" : grave === 1 ? `One thing is ${how}` : `${grave} things are ${how}`);
  list(at("conditions"), conditions, c => `${c.code} ${c.subject}`, () => {
    const subject = h("strong"), what = h("span"), since = h("span", { class: "quiet" }), doing = h("p");
    const node = h("li", {}, h("p", {}, subject, ": ", what, " ", since), doing);
    return {
      node,
      update(condition) {
        node.className = condition.severity;
        say(subject, condition.subject);
        say(what, condition.what);
        say(since, condition.since ? `for ${span((Date.now() - Date.parse(condition.since)) / 1000)}, since ${moment(condition.since)}` : "");
        say(doing, condition.doing + (condition.advice ? `. To do: ${condition.advice}.` : "."));
      },
    };
  });
}

function figures({ metrics, tenants, uptime_seconds }) {
  const { total } = metrics;
  const rate = total.requests ? `${(100 * (total.requests - total.errors) / total.requests).toFixed(1)} %` : "–";
  const shown = [
    ["Under way", count(metrics.requests_under_way), ""],
    ["Requests", count(total.requests), ""],
    ["Answered whole", rate, ""],
    ["Spent", usd(total.cost_usd), ""],
    ["Latency p50 / p95", `${ms(total.latency_ms.p50)} / ${ms(total.latency_ms.p95)}`, "ms"],
    ["First token p50 / p95", `${ms(total.ttft_ms.p50)} / ${ms(total.ttft_ms.p95)}`, "ms"],
    ["Tenants", count(tenants), ""],
    ["Running for", span(uptime_seconds), ""],
  ];
  list(at("figures"), shown, ([name]) => name, ([name]) => {
    const value = h("span"), unit = h("small");
    return {
      node: h("div", {}, h("dt", {}, name), h("dd", {}, value, " ", unit)),
      update([, text, of]) { say(value, text); say(unit, of); },
    };
  });
}

const circuit = name => {
  const [kind, text] = CIRCUIT[name] ?? ["", "off"];
  return [name ?? "off", () => state(kind, text)];
};
const calls = of => of ? [count(of.calls), count(of.failures), `${count(of.failures_last_minute)} / ${count(of.calls_last_minute)}`] : ["–", "–", "–"];
const ranks = of => of?.samples ? [ms(of.p50), ms(of.p95), ms(of.p99), count(of.samples)] : ["–", "–", "–", of ? "0" : "–"];

function providers({ providers: all, metrics }) {
  say(at("latency-since"), metrics.since ? `percentiles since ${moment(metrics.since)}` : "");
  const lines = all.flatMap(provider => {
    const gathered = metrics.providers[provider.name];
    const of = Object.entries(provider.models ?? {}).map(([name, health]) =>
      ({ key: `${provider.name}/${name}`, name, sub: true, health, gathered: gathered?.models?.[name] }));
    return [{ key: provider.name, name: provider.name, provider, health: provider.reach, gathered }, ...of];
  });
  list(at("latency-rows"), lines, line => line.key, line => {
    const cells = ["", "", "n", "n", "n", "n", "n", "n", "n", "n", "n", "n", "n", "n", "n", "n"];
    const { node, show: put } = row(line.sub ? { class: "sub" } : {}, 1, cells);
    return {
      node,
      update({ name, provider, health, gathered }) {
        const open = provider ? provider.circuit : health.circuit;
        put([
          name, circuit(open),
          provider ? count(provider.in_flight) : "",
          provider ? `${count(provider.queue_depth)} / ${count(provider.max_queue)}` : "",
          ...ranks(gathered?.latency_ms), ...ranks(gathered?.ttft_ms),
          ...calls(health), health ? health.penalty.toFixed(2) : "–",
        ]);
        node.title = health?.last_error ? `${health.last_error.fault}, ${ago(health.last_error.at)}: ${health.last_error.message}` : "";
      },
    };
  });
}
