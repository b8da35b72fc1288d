import assert from "node:assert/strict";
import { test } from "node:test";
import { between, Refused } from "./rename.js";

test("paths and bodies change, there and back", () => {
  assert.equal(between.targets("/v1/items/7?full=1", 1, 2), "/v2/items/7?full=1");
  assert.equal(between.bodies('{"id":7,"colour":"red"}', 1, 2), '{"id":7,"tint":"red"}');
  assert.equal(between.bodies('{"id":7,"tint":"red"}', 2, 1), '{"id":7,"colour":"red"}');
});

test("what the other version cannot say is refused", () => {
  assert.throws(() => between.targets("/v2/items/7", 1, 2), Refused);
  assert.throws(() => between.bodies('{"tint":"red"}', 1, 2), Refused);
  assert.throws(() => between.bodies("[]", 1, 2), Refused);
  assert.throws(() => between.bodies("no", 1, 2), Refused);
});
