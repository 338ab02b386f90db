// One chart: uPlot gives axes, cursor and selection; what is drawn between them is in paint.ts.

import uPlot from "uplot";

import { paint, type Drawn, type Scene } from "./paint";
import { band, epochText, logTicks, lowerBound, nearest, robustRange, settled, tickLabels, xRange, type Path, type Range, type Span } from "./stats";
import type { Line, Mark } from "./store";
import type { Chart } from "./wire";

export const PLOT_HEIGHT = 240;
const SAMPLE = 20_000; // values looked at for the quantiles of the y range

export interface Zoom {
  x: Span | null;
  y: Span | null;
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
        draw: [(u) => paint(u, { scene: this.scene, drawn: this.drawn, x: this.x, y: this.shownY, log: this.log, arrows: !this.zoomY })],
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
