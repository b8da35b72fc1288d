// What changes between the versions, as functions of their own, so that `node --test` can try them.

// What cannot be shown to the other version.
export class Refused extends Error {}

// What an item's colour is called in each version.
const COLOUR = { 1: "colour", 2: "tint" };

export const between = {
  // `/v1/items/7` becomes `/v2/items/7`.
  targets(target, from, to) {
    if (!target.startsWith(`/v${from}/`)) throw new Refused(`no path of version ${from}: ${target}`);
    return `/v${to}/${target.slice(`/v${from}/`.length)}`;
  },

  // `{"colour": "red"}` becomes `{"tint": "red"}`; the other members stay as they are, in their order.
  bodies(text, from, to) {
    const item = parsed(text);
    if (item === null || typeof item !== "object" || Array.isArray(item)) throw new Refused("the body is no JSON object");
    if (COLOUR[to] in item) throw new Refused(`version ${from} has no \`${COLOUR[to]}\``);
    const members = Object.entries(item).map(([name, value]) => [name === COLOUR[from] ? COLOUR[to] : name, value]);
    return JSON.stringify(Object.fromEntries(members));
  },
};

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused("the body is not JSON");
  }
}
