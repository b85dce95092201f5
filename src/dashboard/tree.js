// The supervision tree, and a real crash for whoever wants to see it heal.

import { call, segment } from "./api.js";
import { ask, at, h, list, row, say, state, tell } from "./dom.js";
import { ago, count, moment } from "./format.js";

const STATUS = { running: "good", starting: "warn", restarting: "bad", stopped: "" };
const BLAST = {
  root: "The whole tree is rebuilt within the process; requests in flight go on.",
  tenants: "All tenants' actors are rebuilt; requests in flight go on.",
  providers: "All providers' actors are rebuilt; requests in flight go on.",
};

export function show({ actors, actors_left_out }) {
  say(at("actors-left-out"), actors_left_out ? `${count(actors_left_out)} more, quieter` : "");
  const flat = [];
  const walk = (node, depth) => {
    flat.push({ ...node, depth });
    node.children.forEach(child => walk(child, depth + 1));
  };
  walk(actors, 0);
  list(at("actor-rows"), flat, actor => actor.name, make);
}

function make({ name, depth }) {
  const { node, show: put } = row({ "data-actor": name }, 1, ["", "", "", "n", "n", "n", "n", "wrap", "n act"]);
  const button = h("button", { type: "button", class: "small", "aria-label": `Restart ${name}`, onclick: restart }, "Restart");
  async function restart() {
    const yes = await ask(`Restart ${name}?`, `It panics while it handles a message, and its supervisor brings it back. ${BLAST[name] ?? "Requests in flight go on."}`, "Restart");
    if (!yes) return;
    try {
      await call("POST", `actors/${segment(name)}/restart`);
      tell(`${name} was told to fail`);
    } catch (error) {
      tell(error.message);
    }
  }
  return {
    node,
    update(actor) {
      put([
        `${"\u2003".repeat(depth)}${actor.name}`,
        [actor.status, () => state(STATUS[actor.status] ?? "", actor.status)],
        ago(actor.since), count(actor.restarts), count(actor.messages), count(actor.mailbox), count(actor.in_flight),
        actor.last_failure ? `${ago(actor.last_failure.at)}: ${actor.last_failure.reason}` : "never",
        ["button", () => button],
      ]);
      node.title = `since ${moment(actor.since)}`;
    },
  };
}
