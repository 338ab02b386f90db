import assert from "node:assert/strict";
import { test } from "node:test";

import { band, logTicks, lowerBound, nearest, padded, robustRange, settled, short, thin, tickLabels, xRange } from "../src/stats";
import { Points } from "../src/store";

function random(seed: number): () => number {
  let state = seed;
  return () => (state = (1664525 * state + 1013904223) % 2 ** 32) / 2 ** 32;
}

function points(x: number[], y: number[]): Points {
  const made = new Points();
  made.append(Float32Array.from(x), Float32Array.from(y));
  return made;
}

test("lowerBound and nearest agree with a plain search", () => {
  const next = random(1);
  for (let trial = 0; trial < 200; trial++) {
    const x = Array.from({ length: Math.floor(next() * 8) }, () => Math.floor(next() * 20)).sort((a, b) => a - b);
    const value = next() * 22 - 1;
    assert.equal(lowerBound(x, x.length, value), x.filter((v) => v < value).length);
    const i = nearest(x, x.length, value);
    if (x.length) assert.equal(Math.abs(x[i]! - value), Math.min(...x.map((v) => Math.abs(v - value))));
    else assert.equal(i, -1);
  }
});

test("band agrees with a plain table of x, gaps and seeds of different lengths included", () => {
  const next = random(2);
  for (let trial = 0; trial < 100; trial++) {
    const members = Array.from({ length: 1 + Math.floor(next() * 5) }, () => {
      const x = [1, 2, 3, 4, 5, 6].filter(() => next() < 0.7);
      return points(x, x.map(() => (next() < 0.2 ? [NaN, Infinity][Math.floor(next() * 2)]! : Math.fround(next()))));
    });
    const table = new Map<number, number[]>();
    for (const { x, y, length } of members) {
      for (let i = 0; i < length; i++) table.set(x[i]!, [...(table.get(x[i]!) ?? []), y[i]!].filter(Number.isFinite));
    }
    const xs = [...table.keys()].sort((a, b) => a - b);
    const got = band(members);
    assert.deepEqual(got.x, xs);
    xs.forEach((x, i) => {
      const values = table.get(x)!;
      assert.equal(got.count![i], values.length);
      if (!values.length) assert.ok(Number.isNaN(got.y[i]) && Number.isNaN(got.low![i]) && Number.isNaN(got.high![i]));
      else {
        assert.ok(Math.abs(got.y[i]! - values.reduce((a, b) => a + b) / values.length) < 1e-12);
        assert.deepEqual([got.low![i], got.high![i]], [Math.min(...values), Math.max(...values)]);
      }
    });
  }
});

test("thin keeps order, ends, extremes and gaps within its limit", () => {
  const next = random(3);
  const y = Array.from({ length: 10_000 }, (_, i) => Math.sin(i / 500) + 0.1 * next());
  y[1234] = 50;
  y[4321] = -50;
  y[7000] = NaN;
  const kept = thin(y, 0, y.length, 2000);
  assert.ok(kept.length <= 2000);
  assert.ok(kept.every((v, i) => i === 0 || v > kept[i - 1]!));
  for (const must of [0, 1234, 4321, 7000, 9999]) assert.ok(kept.includes(must), String(must));
  assert.deepEqual(thin(y, 10, 15, 2000), [10, 11, 12, 13, 14]);
});

function rangeOf(values: number[], firsts: number[], better: "lower" | "higher" = "lower", log = false) {
  return robustRange(Float64Array.from(values), firsts, better, log)!;
}

test("the y range holds usual curves whole", () => {
  const steep = [2.3, 0.2, 0.1, 0.08, 0.06, 0.05, 0.04, ...Array.from({ length: 100 }, () => 0.01)];
  assert.deepEqual(rangeOf(steep, [2.3]), { min: 0.01, max: 2.3, clipped: false, beyond: 2.3 });
  const overfit = [0.7, 0.6, 0.65, 1.2, 2.0, 3.0];
  assert.equal(rangeOf(overfit, [0.7]).max, 3);
  const accuracy = [0.1, 0.5, 0.9, 0.95, 0.96, 0.97];
  assert.deepEqual(rangeOf(accuracy, [0.1], "higher"), { min: 0.1, max: 0.97, clipped: false, beyond: 0.1 });
  const random_ = random(4);
  for (let trial = 0; trial < 100; trial++) {
    const scores = Array.from({ length: 40 }, () => 0.2 + 0.8 * random_());
    assert.equal(rangeOf(scores, [scores[0]!], "higher").clipped, false);
  }
});

test("a divergence leaves the axis instead of squashing the others, and only on the bad side", () => {
  const good = Array.from({ length: 30 }, (_, i) => 2.2 * Math.exp(-i / 8) + 0.05);
  const loss = rangeOf([...good, 2.5, 60, 1e30, Infinity, NaN], [good[0]!, 2.5]);
  assert.ok(loss.clipped && loss.beyond === 1e30 && loss.max <= 4 && loss.max >= good[0]! && loss.min === Math.min(...good));
  const alone = rangeOf([2.3, 5, 100, 1e10, 1e30], [2.3]);
  assert.ok(alone.clipped && alone.max <= 100 && alone.max >= 5);
  const rsquared = rangeOf([-5000, -3, 0.2, 0.5, 0.6, 0.7, 0.7, 0.71], [-5000], "higher");
  assert.ok(rsquared.clipped && rsquared.beyond === -5000 && rsquared.max === 0.71 && rsquared.min >= -10);
  // most of 64 runs diverge at once
  const firsts = Array.from({ length: 64 }, (_, i) => (i < 38 ? 10 ** (8 + i / 4) : 2));
  const sweep = rangeOf([...firsts, ...firsts.map((v) => (v > 1e6 ? v * 100 : 0.5))], firsts);
  assert.ok(sweep.clipped && sweep.max === 2);
});

test("a log axis drops zeros and what would stretch it over dozens of decades", () => {
  const range = rangeOf([0, 1e-30, 0.01, 0.1, 1, 2, 1e30], [2], "lower", true);
  assert.ok(range.clipped && range.max === 2 && range.min > 1e-12 && range.min <= 0.01);
  assert.equal(robustRange(Float64Array.from([0, -1]), [0], "lower", true), null);
  assert.equal(robustRange(Float64Array.from([NaN, Infinity]), [NaN], "lower", false), null);
});

test("the y axis stays still until the data leave it or fill little of it", () => {
  const start = settled(null, { min: 0, max: 2 }, false);
  assert.ok(start.min < 0 && start.max > 2);
  assert.equal(settled(start, { min: 0.1, max: 1.9 }, false), start);
  assert.notEqual(settled(start, { min: 0, max: 2.5 }, false), start);
  assert.notEqual(settled(start, { min: 0, max: 1 }, false), start);
  for (const [min, max] of [[3, 3], [0, 0], [-2, -2]] as const) {
    const flat = padded({ min, max }, false);
    assert.ok(flat.min < min && flat.max > max);
  }
  const logarithmic = padded({ min: 0.5, max: 0.5 }, true);
  assert.ok(logarithmic.min < 0.5 && logarithmic.max > 0.5 && logarithmic.min > 0);
});

test("the x axis is the plan, and without one moves only at 1, 2 and 5 times a power of ten", () => {
  const planned = [1, 7, 29, 30].map((last) => xRange(1, last, 30));
  for (const range of planned) assert.deepEqual(range, planned[0]);
  const ends = new Set(Array.from({ length: 1000 }, (_, i) => xRange(1, i + 1, 0).max));
  assert.equal(ends.size, 7); // 10, 20, 50, 100, 200, 500, 1000
  for (let last = 1; last <= 1000; last++) assert.ok(xRange(1, last, 0).max > last);
});

test("numbers are short", () => {
  assert.deepEqual(
    [NaN, Infinity, -Infinity, 0, 0.12345678, 1234.56, 1e30, -2.5e-7].map((value) => short(value)),
    ["nan", "inf", "−inf", "0", "0.1235", "1235", "1.00e30", "−2.50e−7"],
  );
});

test("log ticks lie within the range, few but at least two over half a decade", () => {
  for (const [min, max] of [[0.01, 3], [1e-8, 1e4], [0.2, 0.9], [0.5, 40], [1e-30, 1]] as const) {
    const ticks = logTicks(min, max, 6);
    assert.ok(ticks.length >= 2 && ticks.length <= 12, `${min} ${max}: ${ticks}`);
    assert.ok(ticks.every((tick) => tick >= min && tick <= max));
  }
  for (const [min, max] of [[0, 1], [-1, 1], [NaN, 1], [1, Infinity], [1, 1]] as const) {
    assert.deepEqual(logTicks(min, max, 6), []);
  }
});

test("tick labels have the decimals that their step needs", () => {
  assert.deepEqual(tickLabels([0, 0.25, 0.5], false), ["0.00", "0.25", "0.50"]);
  assert.deepEqual(tickLabels([-0.1, 0, 0.1], false), ["−0.1", "0.0", "0.1"]);
  assert.deepEqual(tickLabels([0, 20, 40], false), ["0", "20", "40"]);
  assert.deepEqual(tickLabels([0.1, 0.1 + 0.002, 0.1 + 0.004], false), ["0.100", "0.102", "0.104"]);
  assert.deepEqual(tickLabels([0.03, 1, 1e6], true), ["0.03", "1", "1e6"]);
});
