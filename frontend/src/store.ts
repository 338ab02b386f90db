// The curves as the kernel sent them: kept once per widget model, for any number of views.

import { unpack, type MarkKind, type Message, type Operation, type Series, type Style } from "./wire";

/** Points of one curve in arrays that double when full. */
export class Points {
  x = new Float32Array(16);
  y = new Float32Array(16);
  length = 0;

  append(x: Float32Array, y: Float32Array): void {
    const needed = this.length + x.length;
    if (needed > this.x.length) {
      const capacity = Math.max(needed, 2 * this.x.length);
      this.x = grown(this.x, capacity);
      this.y = grown(this.y, capacity);
    }
    this.x.set(x, this.length);
    this.y.set(y, this.length);
    this.length = needed;
  }
}

function grown(old: Float32Array, capacity: number): Float32Array<ArrayBuffer> {
  const larger = new Float32Array(capacity);
  larger.set(old);
  return larger;
}

export interface Curve {
  series: Series;
  points: Points;
}

export interface Mark {
  trial: number;
  epoch: number;
  kind: MarkKind;
  text: string;
}

/** Curves that are drawn as one: a single series, or the seeds of one group as mean and band. */
export interface Line {
  key: string; // of its colour and legend entry
  label: string;
  role: Series["role"];
  style: Style;
  members: Curve[];
}

export type Outcome = "applied" | "old" | "gap";

const STRENGTH: Record<Style, number> = { faint: 0, selected: 1, live: 2 };

export class Store {
  seq = 0;
  curves = new Map<number, Curve>();
  marks = new Map<string, Mark>();
  private colours = new Map<string, number>();
  private lines = new Map<string, Line[]>();

  /** Applies the next message or a newer checkpoint; a gap asks the caller to fetch a checkpoint. */
  apply(message: Message, buffers: DataView[]): Outcome {
    if (message.seq <= this.seq) return "old";
    if (message.checkpoint) this.clear();
    else if (message.seq !== this.seq + 1) return "gap";
    let next = 0;
    // Numbered first: should an operation throw, the caller's checkpoint replaces everything.
    this.seq = message.seq;
    for (const operation of message.ops) {
      if (operation.op === "append") this.append(operation, buffers[next++]);
      else this.change(operation);
    }
    return "applied";
  }

  /** Forgets the number of the last message: any checkpoint is accepted then. */
  distrust(): void {
    this.seq = -1;
  }

  /** The lines of a chart, faint ones first, so that they lie below. */
  linesOf(chart: string): Line[] {
    const known = this.lines.get(chart);
    if (known) return known;
    const found = new Map<string, Line>();
    for (const curve of this.curves.values()) {
      const { series } = curve;
      if (series.chart !== chart) continue;
      const key = keyOf(series);
      const line = found.get(`${series.role} ${key}`);
      if (!line) {
        found.set(`${series.role} ${key}`, { key, label: series.label, role: series.role, style: series.style, members: [curve] });
      } else {
        line.members.push(curve);
        if (line.label !== series.label && series.group !== null) line.label = series.group;
        if (STRENGTH[series.style] > STRENGTH[line.style]) line.style = series.style;
      }
    }
    const lines = [...found.values()].sort(
      (a, b) => STRENGTH[a.style] - STRENGTH[b.style] || Number(a.role === "validation") - Number(b.role === "validation"),
    );
    this.lines.set(chart, lines);
    return lines;
  }

  /** The place of a key in the palette: the first one free when it was declared, kept until it is removed. */
  colourOf(key: string): number {
    return this.colours.get(key) ?? 0;
  }

  /** Keys in the order of their colours. */
  keys(): string[] {
    return [...this.colours.keys()];
  }

  hasPoints(): boolean {
    for (const curve of this.curves.values()) if (curve.points.length) return true;
    return false;
  }

  private append(operation: Extract<Operation, { op: "append" }>, buffer: DataView | undefined): void {
    if (!buffer) throw new Error("append without its buffer");
    const { handles, counts, x, y } = unpack(buffer, operation.runs, operation.points);
    let at = 0;
    for (let i = 0; i < handles.length; i++) {
      const end = at + counts[i]!;
      // A curve may have been removed in the same message; its points are ignored then.
      this.curves.get(handles[i]!)?.points.append(x.subarray(at, end), y.subarray(at, end));
      at = end;
    }
  }

  private change(operation: Exclude<Operation, { op: "append" }>): void {
    switch (operation.op) {
      case "clear":
        this.clear();
        break;
      case "declare":
        for (const series of operation.series) {
          const known = this.curves.get(series.handle);
          if (known) known.series = series;
          else this.curves.set(series.handle, { series, points: new Points() });
        }
        this.arrange();
        break;
      case "remove": {
        for (const handle of operation.handles) this.curves.delete(handle);
        const left = new Set([...this.curves.values()].map((curve) => curve.series.trial));
        for (const [key, mark] of this.marks) if (!left.has(mark.trial)) this.marks.delete(key);
        this.arrange();
        break;
      }
      case "mark":
        operation.trials.forEach((trial, i) => {
          const mark = { trial, epoch: operation.epochs[i]!, kind: operation.kind, text: operation.texts[i] ?? "" };
          this.marks.set(mark.kind === "change" ? `${trial} change ${mark.epoch} ${mark.text}` : `${trial} ${mark.kind}`, mark);
        });
        break;
    }
  }

  private clear(): void {
    this.curves.clear();
    this.marks.clear();
    this.arrange();
  }

  private arrange(): void {
    this.lines.clear();
    const keys = new Set([...this.curves.values()].map((curve) => keyOf(curve.series)));
    for (const key of this.colours.keys()) if (!keys.has(key)) this.colours.delete(key);
    for (const key of keys) {
      if (this.colours.has(key)) continue;
      const taken = new Set(this.colours.values());
      let place = 0;
      while (taken.has(place)) place++;
      this.colours.set(key, place);
    }
  }
}

/** The key of a colour: shared by the seeds of one group, or the curves of one trial. */
export function keyOf(series: Series): string {
  return series.group === null ? `trial ${series.trial}` : `group ${series.group}`;
}
