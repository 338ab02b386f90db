import assert from "node:assert/strict";
import { test } from "node:test";

import { Points, Store } from "../src/store";
import { unpack, type Message, type Operation, type Series } from "../src/wire";

function pack(runs: [number, number[], number[]][]): DataView {
  const points = runs.reduce((sum, [, x]) => sum + x.length, 0);
  const single = points === runs.length;
  const view = new DataView(new ArrayBuffer(4 * runs.length * (single ? 1 : 2) + 8 * points));
  let at = 0;
  for (const [handle] of runs) view.setUint32((at += 4) - 4, handle, true);
  if (!single) for (const [, x] of runs) view.setUint32((at += 4) - 4, x.length, true);
  for (const [, x] of runs) for (const value of x) view.setFloat32((at += 4) - 4, value, true);
  for (const [, , y] of runs) for (const value of y) view.setFloat32((at += 4) - 4, value, true);
  return view;
}

function series(handle: number, more: Partial<Series> = {}): Series {
  return { handle, id: `s${handle}`, chart: "loss", trial: handle, label: `#${handle}`, role: "validation", group: null, style: "live", ...more };
}

function appended(...runs: [number, number[], number[]][]): [Operation, DataView] {
  return [{ op: "append", runs: runs.length, points: runs.reduce((sum, [, x]) => sum + x.length, 0) }, pack(runs)];
}

function tell(store: Store, seq: number, ops: Operation[], buffers: DataView[] = [], checkpoint = false): string {
  const message: Message = checkpoint ? { seq, checkpoint, ops } : { seq, ops };
  return store.apply(message, buffers);
}

function points(store: Store, handle: number): number[][] {
  const { x, y, length } = store.curves.get(handle)!.points;
  return [[...x.subarray(0, length)], [...y.subarray(0, length)]];
}

test("unpack reads runs from an unaligned view, NaN and infinity included", () => {
  const packed = pack([[7, [1, 2], [0.5, NaN]], [9, [3], [-Infinity]]]);
  const shifted = new Uint8Array(packed.byteLength + 3);
  shifted.set(new Uint8Array(packed.buffer), 3);
  const batch = unpack(new DataView(shifted.buffer, 3), 2, 3);
  assert.deepEqual([...batch.handles], [7, 9]);
  assert.deepEqual([...batch.counts], [2, 1]);
  assert.deepEqual([...batch.x], [1, 2, 3]);
  assert.deepEqual([...batch.y], [0.5, NaN, -Infinity]);
  assert.throws(() => unpack(packed, 2, 4), /4 points in 2 runs/);
});

test("points grow by doubling and keep every value", () => {
  const grown = new Points();
  const capacities = new Set<number>();
  for (let i = 0; i < 10_000; i++) {
    grown.append(Float32Array.of(i), Float32Array.of(2 * i));
    capacities.add(grown.x.length);
  }
  assert.equal(grown.length, 10_000);
  assert.ok(capacities.size < 12 && grown.x.length < 20_000);
  for (let i = 0; i < 10_000; i++) assert.ok(grown.x[i] === i && grown.y[i] === 2 * i);
});

test("a fresh model follows the kernel from the first message, without a checkpoint", () => {
  const store = new Store();
  assert.equal(tell(store, 1, [{ op: "declare", series: [series(1)] }]), "applied");
  const [op, buffer] = appended([1, [1], [0.5]]);
  assert.equal(tell(store, 2, [op], [buffer]), "applied");
  assert.equal(tell(store, 2, [op], [buffer]), "old");
  assert.equal(tell(store, 2, [{ op: "declare", series: [series(1)] }], [], true), "old");
  assert.deepEqual(points(store, 1), [[1], [0.5]]);
});

test("history before, between and after live points: nothing doubled, nothing lost", () => {
  // The kernel's messages in order, a checkpoint (as text of what stood then) after any of them, joined at any moment.
  const live = (seq: number): [Operation[], DataView[]] => {
    if (seq === 1) return [[{ op: "declare", series: [series(1)] }], []];
    const [op, buffer] = appended([1, [seq], [10 * seq]]);
    return [[op], [buffer]];
  };
  const checkpoint = (seq: number): [Operation[], DataView[]] => {
    const xs = Array.from({ length: Math.max(seq - 1, 0) }, (_, i) => i + 2);
    if (!seq) return [[], []];
    const [op, buffer] = appended([1, xs, xs.map((x) => 10 * x)]);
    return [[{ op: "declare", series: [series(1)] }, ...(xs.length ? [op] : [])], xs.length ? [buffer] : []];
  };
  for (let joined = 1; joined <= 6; joined++) {
    for (let answered = joined - 1; answered <= 7; answered++) {
      const store = new Store();
      for (let seq = joined; seq <= 8; seq++) {
        if (seq === answered + 1) tell(store, answered, ...checkpoint(answered), true);
        tell(store, seq, ...live(seq));
      }
      assert.equal(store.seq, 8, `joined before ${joined}, checkpoint at ${answered}`);
      assert.deepEqual(points(store, 1)[0], [2, 3, 4, 5, 6, 7, 8]);
    }
  }
});

test("a gap asks for a checkpoint and changes nothing; after a fault any checkpoint is taken", () => {
  const store = new Store();
  tell(store, 1, [{ op: "declare", series: [series(1)] }]);
  assert.equal(tell(store, 3, [{ op: "clear" }]), "gap");
  assert.equal(store.curves.size, 1);
  assert.throws(() => tell(store, 2, [{ op: "append", runs: 1, points: 1 }], []), /without its buffer/);
  store.distrust();
  assert.equal(tell(store, 3, [{ op: "clear" }]), "gap");
  assert.equal(tell(store, 2, [{ op: "declare", series: [series(1), series(2)] }], [], true), "applied");
  assert.equal(store.curves.size, 2);
});

test("seeds of a group are one line per role; the strongest style and a shared name win", () => {
  const store = new Store();
  tell(store, 1, [
    {
      op: "declare",
      series: [
        series(1, { group: "a", style: "faint" }),
        series(2, { group: "a" }),
        series(3, { group: "a", role: "train" }),
        series(4, { style: "faint" }),
        series(5, { chart: "metric" }),
      ],
    },
  ]);
  const lines = store.linesOf("loss");
  assert.deepEqual(
    lines.map((line) => [line.key, line.role, line.style, line.label, line.members.length]),
    [
      ["trial 4", "validation", "faint", "#4", 1],
      ["group a", "train", "live", "#3", 1],
      ["group a", "validation", "live", "a", 2],
    ],
  );
});

test("colours stay with their key, and a removed one is given to the next", () => {
  const store = new Store();
  tell(store, 1, [{ op: "declare", series: [series(1), series(2), series(3)] }]);
  tell(store, 2, [{ op: "mark", kind: "best", trials: [2, 3], epochs: [1, 1], texts: ["", ""] }]);
  tell(store, 3, [{ op: "mark", kind: "best", trials: [2], epochs: [5], texts: ["later"] }]);
  assert.deepEqual([...store.marks.values()].map((mark) => mark.epoch), [5, 1]);
  tell(store, 4, [{ op: "remove", handles: [2] }]);
  assert.deepEqual([...store.marks.values()].map((mark) => mark.trial), [3]);
  tell(store, 5, [{ op: "declare", series: [series(4)] }]);
  assert.deepEqual([1, 3, 4].map((trial) => store.colourOf(`trial ${trial}`)), [0, 2, 1]);
});
