// What was spent and saved, over time and by name.

import { call } from "./api.js";
import { at, h, list, row, say, tell } from "./dom.js";
import { count, usd } from "./format.js";
import { colour, columns } from "./plot.js";

/** Milliseconds between looks while something happens. */
const PAUSE = 5000;
const SPANS = { "the last hour": [1, 60], "24 hours": [24, 48], "7 days": [168, 56], "30 days": [720, 60] };
const NAMES = { provider: "Provider", model: "Model", tenant: "Tenant" };
const SHOWN = {
  "money spent": [point => Number(point.cost_usd), amount => usd(amount)],
  "money saved": [point => Number(point.saved_usd), amount => usd(amount)],
  "requests": [point => point.requests, count],
  "errors": [point => point.errors, count],
};

let last = 0, asking = false, drawn = "";

export function start() {
  options("money-span", Object.keys(SPANS), "24 hours");
  options("money-by", Object.keys(NAMES), "provider");
  options("money-what", Object.keys(SHOWN), "money spent");
  refresh();
}

function options(id, names, usual) {
  const select = at(id);
  if (select.options.length) return;
  select.append(...names.map(name => h("option", { value: name, selected: name === usual }, name)));
  select.addEventListener("change", refresh);
}

/** Something has happened: look again, if the last look is long enough ago. */
export function nudge() {
  if (Date.now() - last > PAUSE) refresh();
}

async function refresh() {
  if (asking) return;
  asking = true;
  last = Date.now();
  const chosen = ["money-span", "money-by", "money-what"].map(id => at(id).value);
  const [hours, steps] = SPANS[chosen[0]];
  try {
    const since = new Date(Date.now() - hours * 3_600_000).toISOString();
    put(await call("GET", `series?by=${chosen[1]}&steps=${steps}&since=${since}`), chosen);
  } catch (error) {
    tell(error.message);
  } finally {
    asking = false;
  }
  // Another choice was made meanwhile.
  if (chosen.some((value, place) => value !== at(["money-span", "money-by", "money-what"][place]).value)) refresh();
}

function put(set, [over, by, what]) {
  const [value, format] = SHOWN[what];
  say(at("money-name"), NAMES[by]);
  const signature = JSON.stringify([set.series, over, what]);
  if (signature !== drawn) {
    drawn = signature;
    const total = format(set.series.reduce((sum, one) => sum + value(one), 0));
    const { plot, top, marks } = columns(set, value, format, `${what} over ${over}: ${total} in all`);
    const scale = h("p", { class: "quiet", "aria-hidden": "true" }, `${what}, up to ${top} in ${Math.round(set.step_seconds / 60)} min`);
    const times = h("div", { class: "head quiet", "aria-hidden": "true" }, marks.map(mark => h("span", {}, mark.text)));
    at("money-plot").replaceChildren(scale, plot, times);
  }
  list(at("money-rows"), set.series.map((one, place) => ({ ...one, place })), one => one.name, () => {
    const { node, show } = row({}, 1, ["", "n", "n", "n", "n"]);
    return {
      node,
      update: one => show([
        [`${one.name} ${one.place}`, () => h("span", {}, h("span", { class: `key ${colour(one.place, one.name)}` }), one.name)],
        count(one.requests), count(one.errors), usd(one.cost_usd), usd(one.saved_usd),
      ]),
    };
  });
  list(at("money-total"), [set.total], () => "total", () => {
    const { node, show } = row({}, 1, ["", "n", "n", "n", "n"]);
    return { node, update: all => show(["All", count(all.requests), count(all.errors), usd(all.cost_usd), usd(all.saved_usd)]) };
  });
}
