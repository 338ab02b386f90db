// The messages of the kernel. Free of browser code: it is tested in Node.

export type Role = "train" | "validation";
export type Style = "live" | "selected" | "faint";
export type MarkKind = "best" | "change" | "diverged" | "stopped";

export interface Chart {
  key: string;
  title: string;
  y_label: string;
  log: boolean;
  better: "lower" | "higher";
}

export interface Series {
  handle: number;
  id: string;
  chart: string;
  trial: number;
  label: string;
  role: Role;
  group: string | null;
  style: Style;
}

export type Operation =
  | { op: "declare"; series: Series[] }
  | { op: "append"; runs: number; points: number }
  | { op: "mark"; kind: MarkKind; trials: number[]; epochs: number[]; texts: string[] }
  | { op: "remove"; handles: number[] }
  | { op: "clear" };

/** One message of the kernel: numbered from 1; a checkpoint carries the number of the last message it contains. */
export interface Message {
  seq: number;
  checkpoint?: boolean;
  ask?: boolean; // whether a page that receives this has to answer
  ops: Operation[];
}

/** Points of several curves: `counts[i]` of them belong to `handles[i]`, one after the other. */
export interface Batch {
  handles: Uint32Array;
  counts: Uint32Array;
  x: Float32Array;
  y: Float32Array;
}

/** Reads the buffer of an append: handles, counts (left out when every run has one point), x, y; little-endian. */
export function unpack(buffer: DataView, runs: number, points: number): Batch {
  const single = runs === points;
  const expected = 4 * (single ? runs : 2 * runs) + 8 * points;
  if (buffer.byteLength !== expected) {
    throw new Error(`append of ${points} points in ${runs} runs: ${buffer.byteLength} bytes instead of ${expected}`);
  }
  // Copied, because a typed array needs an aligned start and the message's buffer has none. Browsers are little-endian.
  const bytes = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) as ArrayBuffer;
  const handles = new Uint32Array(bytes, 0, runs);
  const counts = single ? new Uint32Array(runs).fill(1) : new Uint32Array(bytes, 4 * runs, runs);
  const start = 4 * (single ? runs : 2 * runs);
  return { handles, counts, x: new Float32Array(bytes, start, points), y: new Float32Array(bytes, start + 4 * points, points) };
}
