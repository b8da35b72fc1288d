// The adapter: in version 1 an item has a `colour`, in version 2 a `tint`, and the paths begin with the version.
//
// `rename.js` has what changes; here is only what an adapter must have.

import next from "upstart:adapter/next@0.1.0";
import utf8 from "upstart:adapter/utf8@0.1.0";
import { between, Refused } from "./rename.js";

// The caller's version and the software's, by which adapter this is.
const VERSIONS = { past: [1, 2], future: [2, 1] };

function handle(call, caller) {
  if (call.tag !== "http") throw refused("only HTTP is spoken here");
  const [own, software] = VERSIONS[caller.direction];
  const request = call.val;
  try {
    request.target = between.targets(request.target, own, software);
    request.body = renamed(request.body, own, software);
  } catch (error) {
    if (error instanceof Refused) throw refused(error.message);
    throw error;
  }
  const reply = next.delegate({ tag: "http", val: request }).val;
  // An answer that is no JSON object, such as an error's text, stays as it is.
  const isJson = reply.headers.some(({ name, value }) => name === "content-type" && value.startsWith("application/json"));
  if (isJson) reply.body = renamed(reply.body, software, own);
  return { tag: "http", val: reply };
}

// A body with its members' names of another version.
function renamed(body, from, to) {
  if (body.length === 0) return body;
  return utf8.encode(between.bodies(utf8.decode(body), from, to));
}

function refused(reason) {
  return { tag: "refused", val: { reason, reply: null } };
}

export const calls = {
  // Nothing is kept between calls: there is no state to begin with, to recover or to follow.
  init() {},
  handle,
  onRecover() {},
  observe() {
    return [];
  },
};
