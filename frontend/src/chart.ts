// One chart: uPlot gives axes, cursor and selection; the lines are drawn here, straight from the stored arrays.

import uPlot from "uplot";

import { band, logTicks, lowerBound, nearest, robustRange, settled, short, thin, xRange, type Path, type Range, type Span } from "./stats";
import type { Line, Mark, Points, Store } from "./store";
import { colourAt, type Theme } from "./theme";
import type { Chart } from "./wire";

export const PLOT_HEIGHT = 240;
const LINE_LIMIT = 2000; // points drawn per line
const SAMPLE = 20_000; // values looked at for the quantiles of the y range

export interface Zoom {
  x: Span | null;
  y: Span | null;
}

/** What the chart needs to know of its view. */
export interface Scene {
  store: Store;
  theme: Theme;
  epochs: number;
  xLabel: string;
  highlight: string | null; // the key under the cursor
  hidden: ReadonlySet<string>; // keys switched off in the legend
}

export interface Drawn {
  line: Line;
  path: Path;
}

export interface ChartEvents {
  hover(x: number | null, key: string | null): void;
  zoom(zoom: Zoom, chart: LiveChart): void;
  reset(): void;
  pick(trial: number, epoch: number): void;
}

export class LiveChart {
  readonly plot: uPlot;
  drawn: Drawn[] = [];
  range: Range | null = null; // of the data in view; tells what is off the axis
  zoomY: Span | null = null;
  private x: Span = { min: 0, max: 10 };
  private y: Span | null = null; // settled, without zoom
  private shownY: Span;
  private scene: Scene;

  constructor(
    readonly chart: Chart,
    readonly log: boolean,
    host: HTMLElement,
    width: number,
    sync: string,
    scene: Scene,
    private events: ChartEvents,
  ) {
    this.scene = scene;
    this.shownY = EMPTY(log);
    this.plot = new uPlot(this.options(width, sync), [[0, 1], [1, 2]], host);
    this.plot.over.addEventListener("click", (event) => this.click(event));
  }

  destroy(): void {
    this.plot.destroy();
  }

  resize(width: number): void {
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: PLOT_HEIGHT });
  }

  /** Computes paths and ranges anew and draws. */
  update(scene: Scene, zoomX: Span | null): void {
    this.scene = scene;
    const lines = scene.store.linesOf(this.chart.key).filter((line) => !scene.hidden.has(line.key));
    this.drawn = lines.map((line) => ({ line, path: pathOf(line) })).filter(({ path }) => path.length > 0);
    let first = Infinity;
    let last = -Infinity;
    for (const { path } of this.drawn) {
      first = Math.min(first, path.x[0]!);
      last = Math.max(last, path.x[path.length - 1]!);
    }
    this.x = zoomX ?? (this.drawn.length ? xRange(first, last, scene.epochs) : xRange(1, 1, scene.epochs));
    this.range = this.visibleRange();
    const unzoomed = this.range ? settled(zoomX ? null : this.y, this.range, this.log) : EMPTY(this.log);
    if (!zoomX) this.y = this.range ? unzoomed : null;
    const y = this.zoomY ?? unzoomed;
    this.shownY = y;
    this.plot.setData([[this.x.min, this.x.max], [y.min, y.max]], true);
  }

  /** The key of the line nearest to a position of the cursor in CSS pixels, and the x there. */
  at(left: number, top: number): { x: number; key: string | null } {
    const x = this.plot.posToVal(left, "x");
    let best: string | null = null;
    let distance = 40;
    for (const { line, path } of this.drawn) {
      const i = nearest(path.x, path.length, x);
      if (i < 0 || !Number.isFinite(path.y[i]!)) continue;
      const away = Math.abs(this.plot.valToPos(path.y[i]!, "y") - top);
      if (away < distance) {
        distance = away;
        best = line.key;
      }
    }
    return { x, key: best };
  }

  private click(event: MouseEvent): void {
    const box = this.plot.over.getBoundingClientRect();
    const left = event.clientX - box.left;
    const top = event.clientY - box.top;
    let best: { trial: number; epoch: number } | null = null;
    let distance = 14;
    for (const { line } of this.drawn) {
      for (const { series, points } of line.members) {
        const i = nearest(points.x, points.length, this.plot.posToVal(left, "x"));
        if (i < 0 || !Number.isFinite(points.y[i]!)) continue;
        const away = Math.hypot(this.plot.valToPos(points.x[i]!, "x") - left, this.plot.valToPos(points.y[i]!, "y") - top);
        if (away < distance) {
          distance = away;
          best = { trial: series.trial, epoch: points.x[i]! };
        }
      }
    }
    if (best) this.events.pick(best.trial, best.epoch);
  }

  private visibleRange(): Range | null {
    const { min, max } = this.x;
    let total = 0;
    const spans = this.drawn.map(({ path }) => {
      const start = lowerBound(path.x, path.length, min);
      const end = lowerBound(path.x, path.length, max + 1e-9);
      total += (end - start) * (path.low ? 2 : 1);
      return { path, start, end };
    });
    const stride = Math.max(1, Math.ceil(total / SAMPLE));
    const values: number[] = [];
    const firsts: number[] = [];
    for (const { path, start, end } of spans) {
      const bottoms = path.low ?? path.y;
      const tops = path.high ?? path.y;
      let low = Infinity;
      let high = -Infinity;
      let first = NaN;
      for (let i = start; i < end; i++) {
        const bottom = bottoms[i]!;
        const top = tops[i]!;
        if (!Number.isFinite(top)) continue;
        if (Number.isNaN(first)) first = top;
        if (bottom < low) low = bottom;
        if (top > high) high = top;
        if ((i - start) % stride === 0) {
          values.push(bottom);
          if (path.low) values.push(top);
        }
      }
      if (stride > 1 && high >= low) values.push(low, high);
      firsts.push(first);
    }
    return robustRange(Float64Array.from(values), firsts, this.chart.better, this.log);
  }

  private options(width: number, sync: string): uPlot.Options {
    const stroke = (): string => this.scene.theme.muted;
    const grid = { stroke: (): string => this.scene.theme.grid, width: 1 };
    const height = { stroke: (): string => (this.drawn.length ? this.scene.theme.grid : "transparent"), width: 1 };
    const ticks = { stroke: (): string => this.scene.theme.grid, width: 1, size: 4 };
    return {
      width,
      height: PLOT_HEIGHT,
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: sync, scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        drag: { x: true, y: true, uni: 24, setScale: false, dist: 6 },
        points: { show: false },
        y: false,
        bind: { dblclick: () => () => (this.events.reset(), null) },
      },
      scales: {
        x: { time: false, range: () => [this.x.min, this.x.max] },
        y: { distr: this.log ? 3 : 1, range: () => [this.shownY.min, this.shownY.max] },
      },
      axes: [
        { stroke, grid, ticks, font: this.scene.theme.font, size: 30, gap: 4, space: 48, incrs: INTEGERS, values: (_, splits) => splits.map(epochText) },
        {
          stroke, grid: height, ticks: { ...ticks, ...height }, font: this.scene.theme.font, size: 58, gap: 5, space: 36,
          ...(this.log ? { splits: () => logTicks(this.shownY.min, this.shownY.max, 6), filter: (_: uPlot, splits: number[]) => splits } : {}),
          values: (_, splits) => (this.drawn.length ? tickLabels(splits, this.log) : splits.map(() => "")),
        },
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        draw: [(u) => this.draw(u)],
        setCursor: [(u) => this.cursor(u)],
        setSelect: [(u) => this.select(u)],
      },
    };
  }

  private cursor(u: uPlot): void {
    const { left, top, event } = u.cursor;
    if (!event) return; // told by the other chart, which speaks for both
    if (left === undefined || top === undefined || left < 0) this.events.hover(null, null);
    else {
      const { x, key } = this.at(left, top);
      this.events.hover(x, key);
    }
  }

  private select(u: uPlot): void {
    const { left, top, width, height } = u.select;
    if (width < 1 && height < 1) return;
    const wide = width > 0 && width < u.over.clientWidth;
    const high = height > 0 && height < u.over.clientHeight;
    const x = wide ? { min: u.posToVal(left, "x"), max: u.posToVal(left + width, "x") } : null;
    const y = high ? { min: u.posToVal(top + height, "y"), max: u.posToVal(top, "y") } : null;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (x || y) this.events.zoom({ x, y }, this);
  }

  // -- drawing: in canvas pixels ------------------------------------------------------------------------------------

  private draw(u: uPlot): void {
    const { ctx, bbox } = u;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineJoin = "round";
    const many = this.drawn.length > 12;
    const { highlight } = this.scene;
    const focused = highlight !== null && new Set(this.drawn.map(({ line }) => line.key)).size > 1;
    const above: Drawn[] = [];
    for (const one of this.drawn) {
      if (focused && one.line.key === highlight) above.push(one);
      else this.stroke(u, one, ratio, many, focused ? 0.3 : 1);
    }
    for (const one of above) this.stroke(u, one, ratio, false, 1);
    this.drawMarks(u, ratio);
    ctx.restore();
  }

  private stroke(u: uPlot, { line, path }: Drawn, ratio: number, many: boolean, strength: number): void {
    const { ctx } = u;
    const colour = colourAt(this.scene.theme, this.scene.store.colourOf(line.key));
    const faint = line.style === "faint";
    const train = line.role === "train";
    const X = (v: number): number => u.valToPos(v, "x", true);
    const Y = (v: number): number => Math.max(-1e4, Math.min(1e4, u.valToPos(v, "y", true)));
    const start = Math.max(0, lowerBound(path.x, path.length, this.x.min) - 1);
    const end = Math.min(path.length, lowerBound(path.x, path.length, this.x.max) + 1);
    const kept = thin(path.y, start, end, LINE_LIMIT);
    const drawable = (v: number): boolean => Number.isFinite(v) && (!this.log || v > 0);
    ctx.strokeStyle = ctx.fillStyle = colour;
    if (path.low && path.high && !faint) {
      ctx.globalAlpha = strength * (train ? 0.1 : 0.2);
      for (let i = 0; i < kept.length; ) {
        while (i < kept.length && !drawable(path.low[kept[i]!]!)) i++;
        const from = i;
        while (i < kept.length && drawable(path.low[kept[i]!]!)) i++;
        if (i - from < 2) continue;
        ctx.beginPath();
        for (let k = from; k < i; k++) ctx.lineTo(X(path.x[kept[k]!]!), Y(path.high[kept[k]!]!));
        for (let k = i - 1; k >= from; k--) ctx.lineTo(X(path.x[kept[k]!]!), Y(path.low[kept[k]!]!));
        ctx.fill();
      }
    }
    ctx.globalAlpha = strength * (faint ? 0.4 : 1) * (train ? (many ? 0.35 : 0.6) : many ? 0.8 : 1);
    ctx.lineWidth = ratio * (faint || many ? 1.25 : train ? 1.5 : 2);
    ctx.setLineDash(train ? [5 * ratio, 3 * ratio] : []);
    ctx.beginPath();
    let pen = false;
    const dots: [number, number][] = []; // points between two gaps, or the only one so far, have no segment
    for (let k = 0; k < kept.length; k++) {
      const i = kept[k]!;
      const value = path.y[i]!;
      if (!drawable(value)) {
        pen = false;
        continue;
      }
      const x = X(path.x[i]!);
      const y = Y(value);
      const next = kept[k + 1];
      if (pen) ctx.lineTo(x, y);
      else if (next !== undefined && drawable(path.y[next]!)) ctx.moveTo(x, y);
      else dots.push([x, y]);
      pen = true;
    }
    ctx.stroke();
    ctx.setLineDash([]);
    for (const [x, y] of dots) {
      ctx.beginPath();
      ctx.arc(x, y, 2 * ratio, 0, 2 * Math.PI);
      ctx.fill();
    }
    this.drawEnds(u, { line, path }, start, end, ratio, X, Y);
    ctx.globalAlpha = 1;
  }

  /** A dot at the head of a live curve, and an arrow where a curve leaves the axis. */
  private drawEnds(u: uPlot, { line, path }: Drawn, start: number, end: number, ratio: number, X: (v: number) => number, Y: (v: number) => number): void {
    const { ctx, bbox } = u;
    const last = lastFinite(path.y, path.length - 1);
    const diverged = line.members.some(({ series }) => this.scene.store.marks.has(`${series.trial} diverged`));
    if (last >= 0 && line.style === "live" && line.role === "validation" && this.drawn.length <= 12 && !diverged) {
      ctx.beginPath();
      ctx.arc(X(path.x[last]!), Y(path.y[last]!), 3 * ratio, 0, 2 * Math.PI);
      ctx.fill();
    }
    for (const side of [1, -1]) {
      const x = this.exit(u, path, start, end, side);
      if (x === null) continue;
      const edge = side > 0 ? bbox.top + ratio : bbox.top + bbox.height - ratio;
      ctx.beginPath();
      ctx.moveTo(x, edge);
      ctx.lineTo(x - 4 * ratio, edge + side * 7 * ratio);
      ctx.lineTo(x + 4 * ratio, edge + side * 7 * ratio);
      ctx.fill();
    }
  }

  /** Where a curve first leaves the y axis at the top (side 1) or bottom (-1), in canvas pixels. */
  private exit(u: uPlot, path: Pick<Path, "x" | "y">, start: number, end: number, side: number): number | null {
    const edge = side > 0 ? this.shownY.max : this.shownY.min;
    for (let i = start; i < end; i++) {
      const value = path.y[i]!;
      if (!Number.isFinite(value) || (value - edge) * side <= 0 || (this.log && value <= 0)) continue;
      const before = i > start ? path.y[i - 1]! : NaN;
      const at = u.valToPos(path.x[i]!, "x", true);
      if (!Number.isFinite(before) || value === before) return at;
      const from = u.valToPos(path.x[i - 1]!, "x", true);
      return from + Math.max(0, Math.min(1, (edge - before) / (value - before))) * (at - from);
    }
    return null;
  }

  private drawMarks(u: uPlot, ratio: number): void {
    const { ctx, bbox } = u;
    const { store, theme, highlight } = this.scene;
    const curves = new Map<number, { line: Line; points: Points }>();
    for (const { line } of this.drawn) {
      if (line.role !== "validation" && curves.has(line.members[0]!.series.trial)) continue;
      for (const { series, points } of line.members) curves.set(series.trial, { line, points });
    }
    const crowded = new Set(this.drawn.map(({ line }) => line.key)).size > 8;
    for (const mark of store.marks.values()) {
      const curve = curves.get(mark.trial);
      if (!curve) continue;
      const { line, points } = curve;
      if ((crowded || line.style === "faint") && line.key !== highlight && mark.kind !== "diverged") continue;
      let x = u.valToPos(mark.epoch, "x", true);
      const colour = colourAt(theme, store.colourOf(line.key));
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.globalAlpha = line.style === "faint" ? 0.5 : 1;
      ctx.lineWidth = 1.5 * ratio;
      if (mark.kind === "change") {
        ctx.globalAlpha *= 0.7;
        ctx.lineWidth = ratio;
        ctx.setLineDash([2 * ratio, 3 * ratio]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.moveTo(x - 4 * ratio, bbox.top);
        ctx.lineTo(x + 4 * ratio, bbox.top);
        ctx.lineTo(x, bbox.top + 6 * ratio);
        ctx.fill();
        continue;
      }
      // A divergence is marked where the curve ends, a little aside when that is off the axis.
      const i = lastFinite(points.y, mark.kind === "diverged" ? points.length - 1 : nearest(points.x, points.length, mark.epoch));
      if (i < 0) continue;
      const value = points.y[i]!;
      const left = value > this.shownY.max ? this.exit(u, points, 0, points.length, 1) : null;
      if (mark.kind !== "best") x = left === null ? u.valToPos(points.x[i]!, "x", true) : left + 12 * ratio;
      const y = Math.max(bbox.top + 6 * ratio, Math.min(bbox.top + bbox.height - 6 * ratio, u.valToPos(value, "y", true)));
      const size = 4.5 * ratio;
      ctx.beginPath();
      if (mark.kind === "best") {
        if (line.members.length === 1) ctx.arc(x, y, size, 0, 2 * Math.PI); // the seeds of a band get the tick only
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x, bbox.top + bbox.height - 7 * ratio);
      } else if (mark.kind === "diverged") {
        ctx.lineWidth = 2 * ratio;
        ctx.moveTo(x - size, y - size);
        ctx.lineTo(x + size, y + size);
        ctx.moveTo(x - size, y + size);
        ctx.lineTo(x + size, y - size);
      } else ctx.rect(x - size * 0.8, y - size * 0.8, size * 1.6, size * 1.6);
      ctx.stroke();
      if (mark.kind === "diverged" && !crowded) {
        const text = `diverged at ${this.scene.xLabel} ${epochText(mark.epoch)}`;
        ctx.font = theme.font.replace("11px", `${11 * ratio}px`);
        ctx.textBaseline = "middle";
        const wide = ctx.measureText(text).width;
        const right = x + 10 * ratio + wide < bbox.left + bbox.width;
        ctx.textAlign = right ? "left" : "right";
        ctx.fillText(text, x + (right ? 10 : -10) * ratio, y + 2 * ratio);
      }
    }
    ctx.globalAlpha = 1;
  }

  /** The marks within a few pixels of an x: of one key, or of all when none is asked for. */
  marksNear(x: number, key: string | null): Mark[] {
    const lines = this.drawn.map(({ line }) => line).filter((line) => key === null || line.key === key);
    const trials = new Set(lines.flatMap((line) => line.members.map(({ series }) => series.trial)));
    const reach = Math.abs(this.plot.posToVal(6, "x") - this.plot.posToVal(0, "x"));
    return [...this.scene.store.marks.values()].filter((mark) => trials.has(mark.trial) && Math.abs(mark.epoch - x) <= reach);
  }
}

const EMPTY = (log: boolean): Span => ({ min: log ? 0.1 : 0, max: 1 });
const INTEGERS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];

function pathOf(line: Line): Path {
  const members = line.members.map(({ points }) => points).filter((points) => points.length > 0);
  const [only] = members;
  if (members.length === 1 && only) return { x: only.x, y: only.y, length: only.length };
  return band(members);
}

/** The last index up to `from` with a finite value; -1 if there is none. */
export function lastFinite(y: ArrayLike<number>, from: number): number {
  let i = from;
  while (i >= 0 && !Number.isFinite(y[i]!)) i--;
  return i;
}

export function epochText(x: number): string {
  return Number.isInteger(x) ? String(x) : short(x);
}

function tickLabels(splits: number[], log: boolean): string[] {
  if (log) return splits.map((v) => short(v, 3).replace(/\.?0+(?=e|$)/, (zeros) => (zeros.startsWith(".") ? "" : zeros)));
  const step = splits.length > 1 ? splits[1]! - splits[0]! : 1;
  const size = Math.max(...splits.map(Math.abs));
  if (size >= 1e5 || (size < 1e-3 && size > 0)) return splits.map((v) => (v === 0 ? "0" : short(v, 4)));
  const decimals = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  return splits.map((v) => v.toFixed(decimals).replace("-", "−"));
}
