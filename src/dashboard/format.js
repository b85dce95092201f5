// Numbers and times as people read them.

const COUNT = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const count = number => number === null || number === undefined ? "–" : COUNT.format(number);

/** Whole milliseconds. */
export const ms = number => number === null || number === undefined ? "–" : COUNT.format(Math.round(number));

/** An amount, given as decimal text: two digits from a dollar on, else three that matter. */
export function usd(text) {
  const amount = Number(text);
  if (text === null || text === undefined || Number.isNaN(amount)) return "–";
  if (amount === 0) return "$0";
  const size = Math.abs(amount);
  const shown = size >= 1 ? size.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })
    : size.toLocaleString("en", { maximumSignificantDigits: 3, maximumFractionDigits: 12 });
  return `${amount < 0 ? "−" : ""}$${shown}`;
}

/** How long ago, or how long something takes, in seconds. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole % 86400 / 3600)} h`;
}

export const ago = instant => `${span((Date.now() - Date.parse(instant)) / 1000)} ago`;
export const clock = instant => CLOCK.format(new Date(instant));
export const moment = instant => instant ? MOMENT.format(new Date(instant)) : "never";
