// Draws lines, bands and marks between the axes, from the stored arrays, in canvas pixels.

import uPlot from "uplot";

import { epochText, lastFinite, lowerBound, nearest, thin, type Path, type Span } from "./stats";
import type { Line, Points, Store } from "./store";
import { colourAt, type Theme } from "./theme";

const LINE_LIMIT = 2000; // points drawn per line

/** The state of the view that a chart needs. */
export interface Scene {
  store: Store;
  theme: Theme;
  epochs: number;
  xLabel: string;
  highlight: string | null; // the key under the cursor
  hidden: ReadonlySet<string>; // keys switched off in the legend
  picked: { trial: number; epoch: number } | null; // the point that was clicked
  pickHint: string; // what a click on a point does, "" for nothing
}

export interface Drawn {
  line: Line;
  path: Path;
}

/** One drawing of one chart: its lines and the ranges of its axes. */
export interface Frame {
  scene: Scene;
  drawn: Drawn[];
  x: Span;
  y: Span;
  log: boolean;
  arrows: boolean; // where a curve leaves the y axis; not in a zoom, which may leave out curves
}

/** Draws all lines and marks; highlighted ones lie on top. */
export function paint(u: uPlot, frame: Frame): void {
  const { ctx, bbox } = u;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineJoin = "round";
  const many = frame.drawn.length > 12;
  const { highlight } = frame.scene;
  const focused = highlight !== null && new Set(frame.drawn.map(({ line }) => line.key)).size > 1;
  const above: Drawn[] = [];
  for (const one of frame.drawn) {
    if (focused && one.line.key === highlight) above.push(one);
    else stroke(u, frame, one, ratio, many, focused ? 0.3 : 1);
  }
  for (const one of above) stroke(u, frame, one, ratio, false, 1, true);
  drawMarks(u, frame, ratio);
  drawPicked(u, frame, ratio);
  ctx.restore();
}

function stroke(u: uPlot, frame: Frame, { line, path }: Drawn, ratio: number, many: boolean, strength: number, lit = false): void {
  const { ctx } = u;
  const colour = colourAt(frame.scene.theme, frame.scene.store.colourOf(line.key));
  const faint = line.style === "faint" && !lit;
  const train = line.role === "train";
  const X = (v: number): number => u.valToPos(v, "x", true);
  const Y = (v: number): number => Math.max(-1e4, Math.min(1e4, u.valToPos(v, "y", true)));
  const start = Math.max(0, lowerBound(path.x, path.length, frame.x.min) - 1);
  const end = Math.min(path.length, lowerBound(path.x, path.length, frame.x.max) + 1);
  const kept = thin(path.y, start, end, LINE_LIMIT);
  const drawable = (v: number): boolean => Number.isFinite(v) && (!frame.log || v > 0);
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
  drawEnds(u, frame, { line, path }, start, end, ratio, X, Y);
  ctx.globalAlpha = 1;
}

/** A dot at the head of a live curve, and an arrow where a curve leaves the axis. */
function drawEnds(u: uPlot, frame: Frame, { line, path }: Drawn, start: number, end: number, ratio: number, X: (v: number) => number, Y: (v: number) => number): void {
  const { ctx, bbox } = u;
  const last = lastFinite(path.y, path.length - 1);
  const diverged = line.members.some(({ series }) => frame.scene.store.marks.has(`${series.trial} diverged`));
  if (last >= 0 && line.style === "live" && line.role === "validation" && frame.drawn.length <= 12 && !diverged) {
    ctx.beginPath();
    ctx.arc(X(path.x[last]!), Y(path.y[last]!), 3 * ratio, 0, 2 * Math.PI);
    ctx.fill();
  }
  for (const side of frame.arrows ? [1, -1] : []) {
    const x = exit(u, frame, path, start, end, side);
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
function exit(u: uPlot, frame: Frame, path: Pick<Path, "x" | "y">, start: number, end: number, side: number): number | null {
  const edge = side > 0 ? frame.y.max : frame.y.min;
  for (let i = start; i < end; i++) {
    const value = path.y[i]!;
    if (!Number.isFinite(value) || (value - edge) * side <= 0 || (frame.log && value <= 0)) continue;
    const before = i > start ? path.y[i - 1]! : NaN;
    const at = u.valToPos(path.x[i]!, "x", true);
    if (!Number.isFinite(before) || value === before) return at;
    const from = u.valToPos(path.x[i - 1]!, "x", true);
    return from + Math.max(0, Math.min(1, (edge - before) / (value - before))) * (at - from);
  }
  return null;
}

/** The curve of each trial that carries its marks: of the validation split if there is one. */
function marked(drawn: readonly Drawn[]): Map<number, { line: Line; points: Points }> {
  const curves = new Map<number, { line: Line; points: Points }>();
  for (const { line } of drawn) {
    if (line.role !== "validation" && curves.has(line.members[0]!.series.trial)) continue;
    for (const { series, points } of line.members) curves.set(series.trial, { line, points });
  }
  return curves;
}

/** A line down at the epoch that was picked, and a filled dot with a rim on the trial's curve. */
function drawPicked(u: uPlot, frame: Frame, ratio: number): void {
  const { picked, store, theme } = frame.scene;
  const curve = picked && marked(frame.drawn).get(picked.trial);
  if (!curve) return;
  const { ctx, bbox } = u;
  const { line, points } = curve;
  const i = nearest(points.x, points.length, picked.epoch);
  if (i < 0 || points.x[i] !== picked.epoch) return;
  const x = u.valToPos(picked.epoch, "x", true);
  ctx.globalAlpha = 0.45;
  ctx.strokeStyle = theme.dark ? "#fff" : "#222";
  ctx.lineWidth = ratio;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.globalAlpha = 1;
  if (!Number.isFinite(points.y[i]!)) return;
  const y = Math.max(bbox.top + 6 * ratio, Math.min(bbox.top + bbox.height - 6 * ratio, u.valToPos(points.y[i]!, "y", true)));
  ctx.beginPath();
  ctx.arc(x, y, 5 * ratio, 0, 2 * Math.PI);
  ctx.fillStyle = colourAt(theme, store.colourOf(line.key));
  ctx.fill();
  ctx.lineWidth = 2 * ratio;
  ctx.stroke();
}

function drawMarks(u: uPlot, frame: Frame, ratio: number): void {
  const { ctx, bbox } = u;
  const { store, theme, highlight } = frame.scene;
  const curves = marked(frame.drawn);
  const crowded = new Set(frame.drawn.map(({ line }) => line.key)).size > 8;
  for (const mark of store.marks.values()) {
    const curve = curves.get(mark.trial);
    if (!curve) continue;
    const { line, points } = curve;
    if ((crowded || line.style === "faint") && line.key !== highlight && mark.kind !== "diverged") continue;
    let x = u.valToPos(mark.epoch, "x", true);
    const colour = colourAt(theme, store.colourOf(line.key));
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.globalAlpha = highlight !== null && line.key !== highlight ? 0.35 : line.style === "faint" && line.key !== highlight ? 0.5 : 1;
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
    // A divergence is marked where the curve ends, a little shifted when that is off the axis.
    const i = lastFinite(points.y, mark.kind === "diverged" ? points.length - 1 : nearest(points.x, points.length, mark.epoch));
    if (i < 0) continue;
    const value = points.y[i]!;
    const left = value > frame.y.max ? exit(u, frame, points, 0, points.length, 1) : null;
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
      const text = `diverged at ${frame.scene.xLabel} ${epochText(mark.epoch)}`;
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
