// One chart: uPlot gives axes, cursor and selection; what is drawn between them is in paint.ts.

import uPlot from "uplot";

import { paint, type Drawn, type Scene } from "./paint";
import { band, epochText, logTicks, lowerBound, nearest, robustRange, settled, tickLabels, xRange, type Path, type Range, type Span } from "./stats";
import type { Line, Mark } from "./store";
import type { Chart } from "./wire";

export const PLOT_HEIGHT = 240;
const REACH = 14; // CSS pixels around a point in which a click picks it
const SAMPLE = 20_000; // values that the quantiles of the y range are computed from

export interface Zoom {
  x: Span | null;
  y: Span | null;
}

/** A point of one trial's curve, in the chart's values and in CSS pixels. */
interface Found {
  trial: number;
  epoch: number;
  left: number;
  top: number;
}

export interface ChartEvents {
  hover(x: number | null, key: string | null, picks: boolean): void;
  zoom(zoom: Zoom, chart: LiveChart): void;
  reset(): void;
  pick(trial: number, epoch: number): void;
}

export class LiveChart {
  readonly plot: uPlot;
  drawn: Drawn[] = [];
  range: Range | null = null; // of the data in view; values beyond it are off the axis
  zoomY: Span | null = null;
  private x: Span = { min: 0, max: 10 };
  private y: Span | null = null; // settled, without zoom
  private shownY: Span;
  private scene: Scene;
  private dot = document.createElement("i"); // around the point that a click would pick

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
    this.dot.className = "wbc-dot";
    this.dot.hidden = true;
    this.plot.over.append(this.dot);
    this.plot.over.addEventListener("click", (event) => this.click(event));
  }

  destroy(): void {
    this.plot.destroy();
  }

  resize(width: number): void {
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: PLOT_HEIGHT });
  }

  /** Computes paths and ranges, and draws. */
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

  /** The point within reach of a position in CSS pixels. Of seeds drawn as one line, the one nearest to it. */
  private near(left: number, top: number): Found | null {
    let best: Found | null = null;
    let distance = REACH;
    const x = this.plot.posToVal(left, "x");
    const above = (value: number): number => Math.abs(this.plot.valToPos(value, "y") - top);
    for (const { line, path } of this.drawn) {
      const seeds = line.members.filter(({ points }) => points.length > 0);
      const at = seeds.map(({ points }) => nearest(points.x, points.length, x));
      let closest = -1;
      seeds.forEach(({ points }, k) => {
        const height = above(points.y[at[k]!]!);
        if (Number.isFinite(height) && !(closest >= 0 && above(seeds[closest]!.points.y[at[closest]!]!) <= height)) closest = k;
      });
      if (closest < 0) continue;
      const { series, points } = seeds[closest]!;
      const i = at[closest]!;
      const sideways = Math.abs(this.plot.valToPos(points.x[i]!, "x") - left);
      const mean = path.y[nearest(path.x, path.length, x)]!;
      const height = Math.min(above(points.y[i]!), line.members.length > 1 && Number.isFinite(mean) ? above(mean) : Infinity);
      const away = Math.hypot(sideways, height);
      if (away < distance) {
        distance = away;
        best = { trial: series.trial, epoch: points.x[i]!, left: this.plot.valToPos(points.x[i]!, "x"), top: this.plot.valToPos(points.y[i]!, "y") };
      }
    }
    return best;
  }

  private click(event: MouseEvent): void {
    const box = this.plot.over.getBoundingClientRect();
    const found = this.near(event.clientX - box.left, event.clientY - box.top);
    if (found) this.events.pick(found.trial, found.epoch);
  }

  /** Shows which point a click would pick; returns whether there is one. */
  private offer(found: Found | null): boolean {
    const { pickHint } = this.scene;
    const offered = pickHint !== "" && found !== null;
    this.plot.over.classList.toggle("wbc-picks", offered);
    this.plot.over.title = offered ? pickHint : "";
    this.dot.hidden = !offered;
    if (offered) this.dot.style.transform = `translate(${found.left}px, ${found.top}px)`;
    return offered;
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
    const origin = Math.min(...spans.map(({ path }) => path.x[0]!));
    const firsts: number[] = []; // of the curves that begin where training does: a branch begins low
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
      if (path.x[0]! <= origin) firsts.push(first);
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
        draw: [(u) => paint(u, { scene: this.scene, drawn: this.drawn, x: this.x, y: this.shownY, log: this.log, arrows: !this.zoomY })],
        setCursor: [(u) => this.cursor(u)],
        setSelect: [(u) => this.select(u)],
      },
    };
  }

  private cursor(u: uPlot): void {
    const { left, top, event } = u.cursor;
    if (!event) return; // set by the other chart, which reports for both
    if (left === undefined || top === undefined || left < 0) this.events.hover(null, null, this.offer(null));
    else {
      const { x, key } = this.at(left, top);
      this.events.hover(x, key, this.offer(this.near(left, top)));
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
