// Stacked columns over time.

import { draw } from "./dom.js";

const WIDTH = 1000, HEIGHT = 190, LEFT = 8, RIGHT = 8, TOP = 16, BOTTOM = 20;

/** Colour of the series at a place of the list. */
export const colour = (place, name) => name === "other" ? "c7" : `c${place % 7}`;

/** The next 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value * 0.999);
}

function label(instant, stepSeconds) {
  const date = new Date(instant);
  return stepSeconds >= 7200 ? date.toLocaleDateString(undefined, { month: "short", day: "numeric" })
    : date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** Draws `value(point)` of each series over time; `format` writes an amount, `about` says what it is. */
export function columns({ since, step_seconds, series }, value, format, about) {
  const steps = series[0]?.points.length ?? 0;
  const sums = Array.from({ length: steps }, (_, step) => series.reduce((sum, one) => sum + Math.max(0, value(one.points[step])), 0));
  const highest = Math.max(0, ...sums);
  const top = highest > 0 ? nice(highest) : 1;
  const wide = (WIDTH - LEFT - RIGHT) / Math.max(1, steps), tall = HEIGHT - TOP - BOTTOM;
  const y = amount => TOP + tall * (1 - amount / top);
  const start = Date.parse(since);
  const plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": about });
  for (const part of [0, 0.5, 1]) {
    plot.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(top * part), y2: y(top * part) }));
  }
  for (let step = 0; step < steps; step += 1) {
    let below = 0;
    const column = draw("g", {});
    series.forEach((one, place) => {
      const amount = Math.max(0, value(one.points[step]));
      if (amount === 0) return;
      column.append(draw("rect", { class: colour(place, one.name), x: LEFT + step * wide + wide * 0.08, width: wide * 0.84, y: y(below + amount), height: y(below) - y(below + amount) }));
      below += amount;
    });
    if (below === 0) continue;
    const parts = series.filter(one => value(one.points[step]) > 0).map(one => `${one.name}: ${format(value(one.points[step]))}`);
    column.append(draw("title", {}, `${new Date(start + step * step_seconds * 1000).toLocaleString()}\n${parts.join("\n")}`));
    plot.append(column);
  }
  return { plot, top: format(top), marks: marks(start, step_seconds, steps) };
}

/** Five instants along the time that is shown, with their place from 0 to 1. */
function marks(start, stepSeconds, steps) {
  return [0, 0.25, 0.5, 0.75, 1].map(share => ({ share, text: label(start + share * steps * stepSeconds * 1000, stepSeconds) }));
}
