import assert from "node:assert/strict";
import { test } from "node:test";

import { reachesNotebook, shortcutOf, textAt, valueAt, type Key } from "../src/keys";

function key(name: string, held: Partial<Key> = {}): Key {
  return { key: name, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held };
}

test("no key without Ctrl, Meta or Alt reaches the notebook, apart from Tab, Escape and Shift+Enter", () => {
  for (const name of [..."abcdefghijklmnopqrstuvwxyz0123456789/?", "Enter", " ", "ArrowUp", "ArrowDown", "Home", "End", "Delete", "F1"]) {
    assert.equal(reachesNotebook(key(name)), false, name);
    assert.equal(reachesNotebook(key(name.length === 1 ? name.toUpperCase() : name, { shiftKey: true })), name === "Enter", name);
    for (const held of ["ctrlKey", "metaKey", "altKey"]) assert.equal(reachesNotebook(key(name, { [held]: true })), true, `${held} ${name}`);
  }
  for (const name of ["Tab", "Escape"]) assert.equal(reachesNotebook(key(name)), true, name);
  assert.equal(reachesNotebook(key("Tab", { shiftKey: true })), true);
});

test("a letter is a shortcut without Shift and with Caps Lock, a symbol however it is typed", () => {
  assert.equal(shortcutOf(key("t"))?.press, ".wb-panel .wb-train");
  assert.equal(shortcutOf(key("T"))?.press, ".wb-panel .wb-train");
  assert.equal(shortcutOf(key("T", { shiftKey: true })), undefined);
  assert.equal(shortcutOf(key("?", { shiftKey: true }))?.help, true);
  assert.ok(shortcutOf(key("/", { shiftKey: true }))?.focus);
  assert.equal(shortcutOf(key("t", { ctrlKey: true })), undefined);
  assert.equal(shortcutOf(key("m")), undefined);
});

test("a position of a slider is read in the unit of its value", () => {
  const rate = { base: 10, zero: -7.025, whole: false, unit: "" };
  assert.equal(textAt(-2.999999999999999, rate), "0.001");
  assert.equal(textAt(-7.2, rate), "0");
  assert.equal(valueAt(-1.55, rate), 0.0282);
  assert.equal(textAt(6, { base: 2, zero: -Infinity, whole: true, unit: "rows" }), "64 rows");
  assert.equal(textAt(5.04, { base: 2, zero: -Infinity, whole: true, unit: "rows" }), "33 rows");
  assert.equal(textAt(0.30000000000000004, { base: 0, zero: -Infinity, whole: false, unit: "" }), "0.3");
});
