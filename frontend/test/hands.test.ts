import assert from "node:assert/strict";
import { test } from "node:test";

import { Hands } from "../src/hands";

function made(): { hands: Hands; pass: (ms: number) => void } {
  let time = 0;
  return { hands: new Hands(() => time), pass: (ms) => void (time += ms) };
}

test("a pressed pointer holds until it is let go and a little longer; a button is done with at once", () => {
  const { hands, pass } = made();
  assert.equal(hands.held, false);
  hands.press();
  pass(3_600_000);
  assert.equal(hands.held, true);
  hands.release(false);
  pass(1900);
  assert.equal(hands.held, true);
  pass(200);
  assert.equal(hands.held, false);
  hands.press();
  hands.release(true);
  assert.equal(hands.held, true);
  pass(600);
  assert.equal(hands.held, false);
});

test("a pointer that was not pressed here holds nothing when it is let go", () => {
  const { hands } = made();
  hands.release(false);
  assert.equal(hands.held, false);
});

test("a button pressed after typing ends what the typing held", () => {
  const { hands, pass } = made();
  hands.use();
  hands.press();
  hands.release(true);
  pass(600);
  assert.equal(hands.held, false);
});

test("text that was not sent holds as long as its field has the focus, but not for ever", () => {
  const { hands, pass } = made();
  let text = "adam";
  hands.focus(() => text);
  assert.equal(hands.held, false);
  text = "adamw";
  hands.use();
  pass(60_000);
  assert.equal(hands.held, true);
  hands.sent();
  assert.equal(hands.held, false);
  text = "adamw 2";
  assert.equal(hands.held, true);
  hands.blur();
  assert.equal(hands.held, false);
  hands.focus(() => text);
  text = "adamw 3";
  pass(3_600_000);
  assert.equal(hands.held, false);
});

test("a view that is taken away holds nothing", () => {
  const { hands } = made();
  let text = "";
  hands.focus(() => text);
  text = "a";
  hands.use();
  hands.press();
  hands.drop();
  assert.equal(hands.held, false);
});
