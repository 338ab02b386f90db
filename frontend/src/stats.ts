// Numbers for the drawing: means with bands, axis ranges, thinning. Pure functions of arrays.

import type { Points } from "./store";

export interface Span {
  min: number;
  max: number;
}

/** What is drawn for a line: `low` and `high` only for a band. Gaps are NaN. */
export interface Path {
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  low?: ArrayLike<number>;
  high?: ArrayLike<number>;
  count?: ArrayLike<number>; // finite members behind each mean
  length: number;
}

/** The first index whose x is not below `value`. */
export function lowerBound(x: ArrayLike<number>, length: number, value: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The index whose x is nearest to `value`; -1 without points. */
export function nearest(x: ArrayLike<number>, length: number, value: number): number {
  if (!length) return -1;
  const after = Math.min(lowerBound(x, length, value), length - 1);
  return after > 0 && value - x[after - 1]! < x[after]! - value ? after - 1 : after;
}

/** Mean, minimum and maximum over the members that have a finite value at each x; NaN where none has. */
export function band(members: readonly Points[]): Path {
  const at = new Array<number>(members.length).fill(0);
  const x: number[] = [];
  const y: number[] = [];
  const low: number[] = [];
  const high: number[] = [];
  const count: number[] = [];
  for (;;) {
    let here = Infinity;
    members.forEach((points, i) => {
      if (at[i]! < points.length) here = Math.min(here, points.x[at[i]!]!);
    });
    if (here === Infinity) break;
    let sum = 0;
    let n = 0;
    let min = Infinity;
    let max = -Infinity;
    members.forEach((points, i) => {
      const j = at[i]!;
      if (j >= points.length || points.x[j] !== here) return;
      at[i] = j + 1;
      const value = points.y[j]!;
      if (!Number.isFinite(value)) return;
      sum += value;
      n += 1;
      min = Math.min(min, value);
      max = Math.max(max, value);
    });
    x.push(here);
    y.push(n ? sum / n : NaN);
    low.push(n ? min : NaN);
    high.push(n ? max : NaN);
    count.push(n);
  }
  return { x, y, low, high, count, length: x.length };
}

/** Indices from `start` to `end` (exclusive) that keep the shape of a long line: per bucket its ends and its extremes, and one gap. */
export function thin(y: ArrayLike<number>, start: number, end: number, limit: number): number[] {
  const n = end - start;
  const chosen: number[] = [];
  if (n <= limit) {
    for (let i = start; i < end; i++) chosen.push(i);
    return chosen;
  }
  const buckets = Math.max(1, Math.floor(limit / 5));
  for (let b = 0; b < buckets; b++) {
    const from = start + Math.floor((b * n) / buckets);
    const to = start + Math.floor(((b + 1) * n) / buckets);
    let min = -1;
    let max = -1;
    let gap = -1;
    for (let i = from; i < to; i++) {
      const value = y[i]!;
      if (!Number.isFinite(value)) gap = i;
      else {
        if (min < 0 || value < y[min]!) min = i;
        if (max < 0 || value > y[max]!) max = i;
      }
    }
    const kept = new Set([from, min, max, gap, to - 1]);
    kept.delete(-1);
    chosen.push(...[...kept].sort((a, b) => a - b));
  }
  return chosen;
}

function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.floor(q * (sorted.length - 1))]!;
}

export interface Range extends Span {
  clipped: boolean; // values beyond `limit` are off the axis
  beyond: number; // the farthest of them
}

/**
 * The y range that shows everything except outliers that would flatten all other curves.
 *
 * Only the bad side is ever clipped: large values of a loss, low ones of a score. The good quarter of the values (c: its
 * edge, m: its end) and the curves' first values f (those within 20 times the good ones) set the limit
 * max(c + 10·(c − m), 10·|c|, 1.5·f); values beyond it are off the axis. So the steep start of a usual loss curve and
 * an overfit that grows tenfold stay whole, and a divergence to 1e30 leaves at the top. On a log axis the limits are
 * factors: 1e4 above max(c, f), and 1e-8 below c.
 */
export function robustRange(values: Float64Array, firsts: number[], better: "lower" | "higher", log: boolean): Range | null {
  const flip = better === "higher" && !log ? -1 : 1;
  const sorted = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  if (!sorted.length) return null;
  if (flip < 0) for (let i = 0; i < sorted.length; i++) sorted[i] = -sorted[i]!;
  sorted.sort();
  const best = sorted[0]!;
  const worst = sorted[sorted.length - 1]!;
  const c = quantile(sorted, 0.25);
  const starts = Float64Array.from(firsts.filter((v) => Number.isFinite(v) && (!log || v > 0)).map((v) => flip * v)).sort();
  const typical = starts.length ? Math.abs(quantile(starts, 0.25)) : 0;
  // A score's bad start is an outlier like any other; a loss usually begins high.
  let start = -Infinity;
  if (flip > 0) for (const v of starts) if (v <= 20 * typical) start = v;
  const limit = log ? 1e4 * Math.max(c, start) : Math.max(c + 10 * (c - best), 10 * Math.abs(c), 1.5 * start);
  let max = worst;
  if (worst > limit) {
    max = best;
    for (const v of sorted) if (v <= limit) max = v;
  }
  const floor = log ? Math.max(best, c * 1e-8) : best;
  const clipped = worst > limit;
  return flip > 0
    ? { min: floor, max, clipped, beyond: worst }
    : { min: -max, max: -floor, clipped, beyond: -worst };
}

/** A margin around the data: 6 % of the height; the range is never empty. */
export function padded(range: Span, log: boolean): Span {
  if (log) {
    const air = Math.max(0.04 * Math.log10(range.max / range.min), 0.03);
    return { min: range.min / 10 ** air, max: range.max * 10 ** air };
  }
  const height = range.max - range.min;
  const air = height > 0 ? 0.06 * height : Math.max(0.05 * Math.abs(range.max), 1e-6);
  return { min: range.min - air, max: range.max + air };
}

/** Keeps the axis still: the old range stays while it holds the new data and they fill at least 60 % of it. */
export function settled(old: Span | null, data: Span, log: boolean): Span {
  if (old && old.min <= data.min && old.max >= data.max) {
    const height = log ? Math.log(old.max / old.min) : old.max - old.min;
    const used = log ? Math.log(data.max / data.min) : data.max - data.min;
    if (used >= 0.6 * height) return old;
  }
  return padded(data, log);
}

/** The x range: all planned epochs, else the data rounded up to 1, 2 or 5 times a power of ten. */
export function xRange(first: number, last: number, planned: number): Span {
  const min = Math.min(1, first);
  let max = Math.max(last, planned);
  if (!planned || last > planned) {
    const size = 10 ** Math.floor(Math.log10(Math.max(last, 1)));
    max = size * ([1, 2, 5, 10].find((factor) => factor * size >= last) ?? 10);
    if (max < 10 && !planned) max = 10;
  }
  const air = 0.015 * Math.max(max - min, 1);
  return { min: min - air, max: Math.max(max, min + 1) + air };
}

/** A number in few characters: four digits, or an exponent. */
export function short(value: number, digits = 4): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "−inf";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(Math.max(digits - 2, 0)) : value.toPrecision(digits);
  return text.replace("e+", "e").replace("-", "−").replace("e-", "e−");
}

/** Ticks of a log axis between min and max, about `wanted` of them. */
export function logTicks(min: number, max: number, wanted: number): number[] {
  if (!(min > 0 && max > min && max < Infinity)) return [];
  const from = Math.floor(Math.log10(min));
  const to = Math.ceil(Math.log10(max));
  const decades = Math.log10(max / min);
  const factors = decades * 9 <= wanted ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : decades * 3 <= wanted * 1.5 ? [1, 2, 5] : decades * 2 <= wanted * 1.5 ? [1, 3] : [1];
  const step = factors.length > 1 ? 1 : Math.max(1, Math.ceil(decades / wanted));
  const ticks: number[] = [];
  for (let power = from; power <= to; power++) {
    if (((power % step) + step) % step) continue;
    for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= min && tick <= max) ticks.push(tick);
    }
  }
  return ticks;
}

/** The last index up to `from` with a finite value; -1 if there is none. */
export function lastFinite(y: ArrayLike<number>, from: number): number {
  let i = from;
  while (i >= 0 && !Number.isFinite(y[i]!)) i--;
  return i;
}

/** An epoch, whole or within. */
export function epochText(x: number): string {
  return Number.isInteger(x) ? String(x) : short(x);
}

/** Labels of the ticks of a y axis, all with the same decimals. */
export function tickLabels(splits: number[], log: boolean): string[] {
  if (log) return splits.map((v) => (v >= 1e5 || v < 1e-4 ? v.toExponential().replace("e+", "e").replace("e-", "e−") : String(v)));
  const step = splits.length > 1 ? splits[1]! - splits[0]! : 1;
  const size = Math.max(...splits.map(Math.abs));
  if (size >= 1e5 || (size < 1e-3 && size > 0)) return splits.map((v) => (v === 0 ? "0" : short(v)));
  let decimals = 0; // as many as the step needs: 0.25 has two
  while (decimals < 8 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6 * step * 10 ** decimals) decimals++;
  return splits.map((v) => v.toFixed(decimals).replace("-", "−"));
}
