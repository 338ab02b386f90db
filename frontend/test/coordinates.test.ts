import assert from "node:assert/strict";
import { test } from "node:test";

import { axisTicks, coloursFor, place, selectedRows, shown, type Axis } from "../src/coordinates";

const linear: Axis = { name: "a", label: "a", low: 0, high: 10, log: false, categories: null };
const log: Axis = { name: "b", label: "b", low: 1e-4, high: 1, log: true, categories: null };
const names: Axis = { name: "c", label: "c", low: 0, high: 2, log: false, categories: ["x", "y", "z"] };

test("values lie on their axis by its scale, what is missing lies nowhere", () => {
  assert.equal(place(linear, 2.5), 0.25);
  assert.ok(Math.abs(place(log, 1e-2) - 0.5) < 1e-12);
  assert.ok(Number.isNaN(place(linear, NaN)) && Number.isNaN(place(linear, Infinity)));
  assert.equal(place({ ...linear, high: 0 }, 0), 0.5);
});

test("rows are selected when all brushes hold them; a missing value is in no brush", () => {
  const data = new Float32Array([1, 1e-4, 5, 1e-2, 9, 1, NaN, 1e-2]);
  const axes = [linear, log];
  assert.deepEqual([...selectedRows(data, 2, axes, new Map())], [0, 1, 2, 3]);
  assert.deepEqual([...selectedRows(data, 2, axes, new Map([[0, { low: 0.4, high: 1 }]]))], [1, 2]);
  const both = new Map([[0, { low: 0.4, high: 1 }], [1, { low: 0, high: 0.6 }]]);
  assert.deepEqual([...selectedRows(data, 2, axes, both)], [1]);
});

test("marks are the ends and the middle of the scale, or the names", () => {
  assert.deepEqual(axisTicks(log).map((t) => t.text), ["1e-4", "0.01", "1"]);
  assert.deepEqual(axisTicks(names), [{ share: 0, text: "x" }, { share: 0.5, text: "y" }, { share: 1, text: "z" }]);
  assert.equal(shown(0.00012), "1.2e-4");
  assert.equal(shown(123456), "1.2e5");
});

test("the best row has the strongest colour, whichever way the metric goes", () => {
  const data = new Float32Array([0, 0.1, 0, 0.9, 0, NaN]);
  const up = coloursFor(data, 2, false, "higher");
  const down = coloursFor(data, 2, false, "lower");
  assert.equal(up[1], down[0]);
  assert.notEqual(up[0], up[1]);
  assert.equal(up[2], "#aaa");
});
