// The only place that makes elements. Data becomes text or an attribute's value, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const at = id => document.getElementById(id);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element with attributes, listeners (`onclick`) and children. */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** The same for a drawing. */
export const draw = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Sets text where it differs, so that a selection survives. */
export function say(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** A share from 0 to 1 as a bar. */
export function bar(share, kind = "") {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return draw("svg", { class: `bar ${kind}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "rail", width: 100, height: 8 }), draw("rect", { class: "fill", width, height: 8 }));
}

/** A state with its colour: `good`, `warn`, `bad`, `open` or none. */
export function state(kind, text) {
  return h("span", { class: `state ${kind}` }, text);
}

/**
 * Brings the children of a node in line with a list: `make(item)` gives `{node, update}` for a key that is new, and nodes of keys that
 * stay are kept, with their focus.
 */
export function list(parent, items, key, make) {
  const known = parent.known ?? (parent.known = new Map());
  const wanted = new Set(items.map(key));
  for (const [name, entry] of known) {
    if (wanted.has(name)) continue;
    known.delete(name);
    for (const node of [entry.node].flat()) node.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let entry = known.get(name);
    if (!entry) known.set(name, entry = make(item));
    entry.update(item);
    for (const node of [entry.node].flat()) {
      if (node === place) place = place.nextElementSibling;
      else parent.insertBefore(node, place);
    }
  }
}

/** A row of cells; `update` gets what each holds: text, or `[signature, make]` for what is drawn again when the signature changes. */
export function row(properties, heads, cells) {
  const boxes = cells.map((kind, place) => h(place < heads ? "th" : "td", { class: kind, scope: place < heads ? "row" : null }));
  const node = h("tr", properties, boxes);
  const show = values => values.forEach((value, place) => {
    const box = boxes[place];
    if (!Array.isArray(value)) return say(box, value);
    const [signature, make] = value;
    if (box.signature === signature) return;
    box.signature = signature;
    box.replaceChildren(make());
  });
  return { node, show };
}

/** Says that a table holds nothing. */
export function nothing(body, columns, text) {
  list(body, [{}], () => "nothing", () => ({ node: h("tr", { class: "empty" }, h("td", { colspan: columns }, text)), update() {} }));
}

/** Asks before something is done. */
export function ask(title, text, yes) {
  const dialog = at("ask");
  say(at("ask-title"), title);
  say(at("ask-text"), text);
  say(at("ask-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise(done => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

let fading;
/** Tells in passing. */
export function tell(text) {
  const toast = at("toast");
  say(toast, text);
  toast.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => toast.classList.remove("shown"), 4000);
}
