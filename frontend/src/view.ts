// A view of the curves: charts side by side, a readout line under each, one legend.

import { LiveChart, type Zoom } from "./chart";
import type { Drawn, Scene } from "./paint";
import { epochText, nearest, short, type Span } from "./stats";
import type { Store } from "./store";
import { colourAt, themeOf, watchTheme } from "./theme";
import type { Chart } from "./wire";

const WIDE = 560; // from this width of the container on, the charts are side by side
const CROWD = 30; // lines; beyond, redraws are capped near 10 a second
const CROWD_PAUSE = 100; // ms

export interface Settings {
  charts: Chart[];
  xLabel: string;
  epochs: number;
  emptyText: string;
  picked: { trial: number; epoch: number } | null;
  pickHint: string;
}

/** How much a readout shows: everything, the band of the validation line only, or the validation line only. */
type Detail = "all" | "brief" | "validation";

let views = 0;

interface Panel {
  chart: Chart;
  log: boolean;
  plot: HTMLElement;
  readout: HTMLElement;
  empty: HTMLElement;
  beyond: HTMLElement;
  reset: HTMLButtonElement;
  live: LiveChart;
}

export class View {
  private panels: Panel[] = [];
  private chartsBox = element("div", "wbc-charts");
  private legend = element("div", "wbc-legend");
  private failure = element("div", "wbc-error");
  private zoomX: Span | null = null;
  private hover: { x: number; key: string | null; picks: boolean } | null = null;
  private legendKey: string | null = null;
  private hidden = new Set<string>();
  private legendState = "";
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastDrawn = 0;
  private theme;
  private stops: (() => void)[] = [];
  private sync = `wbc-${++views}`;

  constructor(
    private root: HTMLElement,
    private store: Store,
    private settings: () => Settings,
    private pick: (trial: number, epoch: number) => void,
  ) {
    root.classList.add("wbc");
    root.append(this.chartsBox, this.legend, this.failure);
    this.failure.hidden = true;
    this.theme = themeOf(root);
    const resize = new ResizeObserver(() => this.guard(() => this.resize()));
    resize.observe(root);
    this.stops.push(() => resize.disconnect());
    this.stops.push(
      watchTheme(() => {
        this.theme = themeOf(root);
        this.legendState = "";
        this.request();
      }),
    );
    this.build();
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    for (const { live } of this.panels) live.destroy();
    this.panels = [];
    this.root.replaceChildren();
  }

  /** Makes the panels again, after the charts themselves have changed. */
  build(): void {
    this.guard(() => {
      for (const { live } of this.panels) live.destroy();
      this.chartsBox.replaceChildren();
      this.panels = this.settings().charts.map((chart) => this.panel(chart));
      this.resize();
      this.request();
    });
  }

  /** Asks for a redraw: at most one an animation frame, and fewer when there is much to draw. */
  request(): void {
    if (this.frame || this.timer !== undefined) return;
    const lines = this.panels.reduce((sum, { chart }) => sum + this.store.linesOf(chart.key).length, 0);
    const pause = lines > CROWD ? CROWD_PAUSE - (performance.now() - this.lastDrawn) : 0;
    const schedule = (): void => {
      this.timer = undefined;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.lastDrawn = performance.now();
        this.guard(() => this.draw());
      });
    };
    if (pause > 0) this.timer = setTimeout(schedule, pause);
    else schedule();
  }

  /** Shows an error in place of the charts, with a button to go back; the points stay. */
  fail(error: unknown): void {
    console.error("[workbench curves]", error);
    const again = element("button", "wbc-button", "Draw again");
    again.type = "button";
    again.onclick = () => {
      this.failure.hidden = true;
      this.chartsBox.hidden = this.legend.hidden = false;
      this.build();
    };
    const text = error instanceof Error ? error.message : String(error);
    this.failure.replaceChildren(element("span", "", `The curves could not be drawn: ${text}. Training is not affected.`), again);
    this.failure.hidden = false;
    this.chartsBox.hidden = this.legend.hidden = true;
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  private scene(): Scene {
    const { epochs, xLabel, picked, pickHint } = this.settings();
    const highlight = this.legendKey ?? this.hover?.key ?? null;
    return { store: this.store, theme: this.theme, epochs, xLabel, highlight, hidden: this.hidden, picked, pickHint };
  }

  private panel(chart: Chart, log = chart.log): Panel {
    const box = element("section", "wbc-chart");
    box.setAttribute("aria-label", chart.title);
    const head = element("div", "wbc-head");
    const beyond = element("span", "wbc-beyond");
    const reset = button("Reset zoom", "Show the whole range again (or double-click the chart)", () => this.zoom({ x: null, y: null }));
    reset.classList.add("wbc-reset");
    reset.hidden = true;
    const scale = button("log", "", () => this.toggleLog(chart.key));
    scale.setAttribute("aria-pressed", String(log));
    scale.title = log ? "Logarithmic y axis: click for a linear one" : "Linear y axis: click for a logarithmic one";
    head.append(element("span", "wbc-title", chart.title), element("span", "wbc-unit", chart.y_label.toLowerCase() === chart.title.toLowerCase() ? "" : chart.y_label), beyond, reset, scale);
    const plot = element("div", "wbc-plot");
    const empty = element("div", "wbc-empty");
    const xLabel = element("div", "wbc-xlabel", this.settings().xLabel);
    plot.append(empty, xLabel);
    const readout = element("div", "wbc-readout");
    box.append(head, plot, readout);
    this.chartsBox.append(box);
    const panel: Panel = { chart, log, plot, readout, empty, beyond, reset, live: undefined as unknown as LiveChart };
    this.chartLive(panel);
    return panel;
  }

  private chartLive(panel: Panel): void {
    const width = Math.max(panel.plot.clientWidth, 200);
    panel.live = new LiveChart(panel.chart, panel.log, panel.plot, width, this.sync, this.scene(), {
      hover: (x, key, picks) => this.hovered(x, key, picks),
      zoom: (zoom, live) => this.zoom(zoom, live),
      reset: () => this.zoom({ x: null, y: null }),
      pick: this.pick,
    });
  }

  private toggleLog(key: string): void {
    this.guard(() => {
      const panel = this.panels.find(({ chart }) => chart.key === key)!;
      panel.log = !panel.log;
      panel.live.destroy();
      this.chartLive(panel);
      const scale = panel.plot.parentElement!.querySelector<HTMLButtonElement>(".wbc-head button:last-child")!;
      scale.setAttribute("aria-pressed", String(panel.log));
      scale.title = panel.log ? "Logarithmic y axis: click for a linear one" : "Linear y axis: click for a logarithmic one";
      this.request();
    });
  }

  private zoom(zoom: Zoom, live?: LiveChart): void {
    if (!live) {
      this.zoomX = null;
      for (const panel of this.panels) panel.live.zoomY = null;
    } else {
      if (zoom.x) this.zoomX = zoom.x;
      if (zoom.y) live.zoomY = zoom.y;
    }
    this.request();
  }

  private resize(): void {
    const width = this.root.clientWidth;
    if (!width) return;
    this.chartsBox.style.setProperty("--wbc-columns", String(width >= WIDE ? Math.min(this.panels.length, 2) : 1));
    for (const panel of this.panels) panel.live.resize(panel.plot.clientWidth);
    this.request();
  }

  private draw(): void {
    if (!this.root.clientWidth) return; // not shown: the next resize draws
    const scene = this.scene();
    const { emptyText } = this.settings();
    const empty = !this.store.hasPoints();
    for (const panel of this.panels) {
      panel.empty.textContent = empty ? emptyText : "";
      panel.live.update(scene, this.zoomX);
      const zoomed = this.zoomX !== null || panel.live.zoomY !== null;
      panel.reset.hidden = !zoomed;
      const { range } = panel.live;
      panel.beyond.textContent = range?.clipped && !zoomed ? `${range.beyond > range.max ? "▲ up" : "▼ down"} to ${short(range.beyond, 2)}` : "";
      panel.beyond.title = "Values off the axis, which would squash all others";
    }
    this.drawLegend();
    this.read();
  }

  private hovered(x: number | null, key: string | null, picks: boolean): void {
    const before = this.hover?.key ?? null;
    this.hover = x === null ? null : { x, key, picks };
    if (before !== (this.hover?.key ?? null)) this.request();
    this.read();
  }

  /** The readout under each chart: what is under the cursor, else the latest values. Always one line. */
  private read(): void {
    const { xLabel, pickHint } = this.settings();
    const asked = this.legendKey ?? this.hover?.key ?? null;
    for (const { live, readout } of this.panels) {
      const current = live.drawn.some(({ line }) => line.style === "live") && asked === null ? "live" : null;
      const front = live.drawn.filter(({ line }) => line.key === asked || (current ? line.style === current : line.style !== "faint"));
      const keys = [...new Set(front.map(({ line }) => line.key))].reverse();
      const shown = asked !== null && keys.includes(asked) ? [asked] : keys.length > 2 ? [] : keys;
      const said = live.marksNear(this.hover?.x ?? NaN, asked).slice(0, 2);
      const marks = said.map((mark) => element("em", "", mark.text || `${mark.kind} at ${xLabel} ${epochText(mark.epoch)}`));
      // The fullest form that fits into the line.
      const first = shown.slice(0, 1);
      const forms: [string[], Detail][] = [[shown, "all"], [first, "all"], [first, "brief"], [first, "validation"]];
      for (const [some, detail] of forms) {
        const rows = front.filter(({ line }) => some.includes(line.key) && (detail !== "validation" || line.role === "validation"));
        readout.replaceChildren(...this.reading(rows, some, detail, keys.length), ...marks);
        if (readout.scrollWidth <= readout.clientWidth) break;
      }
      while (readout.scrollWidth > readout.clientWidth && readout.lastElementChild?.tagName === "EM") readout.lastElementChild.remove();
      if (this.hover?.picks) {
        const hint = element("em", "wbc-hint", pickHint);
        readout.append(hint);
        if (readout.scrollWidth > readout.clientWidth) hint.remove(); // the pointer and the ring show it too
      }
    }
  }

  private reading(rows: Drawn[], keys: string[], detail: Detail, all: number): Node[] {
    const last = rows[rows.length - 1];
    if (!last) return all ? [element("span", "", `${all} curves: point at one to read it`)] : [];
    const latest = Math.max(...rows.map(({ path }) => path.x[path.length - 1]!));
    const { path } = last;
    const at = this.hover ? path.x[nearest(path.x, path.length, this.hover.x)]! : latest;
    return [
      element("span", "wbc-x", `${this.settings().xLabel} ${epochText(at)}`),
      ...keys.flatMap((key) => this.values(rows.filter(({ line }) => line.key === key).reverse(), at, detail)),
    ];
  }

  /** The chip and label of a key and its values at x: validation first, each behind a sample of its line. */
  private values(rows: Drawn[], at: number, detail: Detail): Node[] {
    if (!rows.length) return [];
    const { line } = rows[0]!;
    const colour = colourAt(this.theme, this.store.colourOf(line.key));
    const chip = element("i", "wbc-chip");
    chip.style.background = colour;
    const nodes: Node[] = [chip, element("b", "", line.label)];
    for (const { line: row, path } of rows) {
      const i = nearest(path.x, path.length, at);
      const box = element("span", "wbc-sample");
      const dash = element("i", row.role === "train" ? "wbc-dashed" : "wbc-solid");
      dash.style.color = colour;
      let text = short(path.y[i]!);
      if (path.low && path.high && path.count && (detail === "all" || row.role === "validation")) {
        text += ` [${short(path.low[i]!, 3)}, ${short(path.high[i]!, 3)}]`;
        if (path.count[i]! < row.members.length) text += ` of ${path.count[i]}`;
      }
      if (path.x[i] !== at) text += ` at ${epochText(path.x[i]!)}`; // this curve has ended, or has no point here
      box.append(dash, text);
      box.title = path.low ? `${row.role}: mean [minimum, maximum] of the seeds` : row.role;
      nodes.push(box);
    }
    return nodes;
  }

  private drawLegend(): void {
    const lines = this.settings()
      .charts.flatMap(({ key }) => this.store.linesOf(key))
      .sort((a, b) => Number(a.style === "faint") - Number(b.style === "faint") || Number(b.style === "live") - Number(a.style === "live"));
    const entries = new Map<string, { label: string; faint: boolean; seeds: number }>();
    for (const line of lines) {
      const known = entries.get(line.key);
      entries.set(line.key, { label: line.label, faint: line.style === "faint" && (known?.faint ?? true), seeds: Math.max(known?.seeds ?? 0, line.members.length) });
    }
    const roles = new Set(lines.map(({ role }) => role));
    const state = JSON.stringify([[...entries], [...roles], [...this.hidden], this.theme.dark]);
    if (state === this.legendState) return;
    this.legendState = state;
    for (const key of this.hidden) if (!entries.has(key)) this.hidden.delete(key);
    const nodes: Node[] = [];
    if (roles.has("validation")) nodes.push(sample("wbc-solid", "validation"));
    if (roles.has("train")) nodes.push(sample("wbc-dashed", "train"));
    if ([...entries.values()].some(({ seeds }) => seeds > 1)) nodes.push(sample("wbc-band", "mean and min–max of seeds"));
    if (entries.size) nodes.push(element("span", "wbc-divider"));
    for (const [key, { label, faint, seeds }] of entries) {
      const entry = button("", "Click to hide or show", () => {
        if (!this.hidden.delete(key)) this.hidden.add(key);
        this.request();
      });
      entry.className = `wbc-entry${faint ? " wbc-faint" : ""}`;
      entry.setAttribute("aria-pressed", String(!this.hidden.has(key)));
      const chip = element("i", "wbc-chip");
      chip.style.background = colourAt(this.theme, this.store.colourOf(key));
      entry.append(chip, seeds > 1 ? `${label} (${seeds} seeds)` : label);
      entry.onpointerenter = entry.onfocus = () => this.point(key);
      entry.onpointerleave = entry.onblur = () => this.point(null);
      nodes.push(entry);
    }
    this.legend.replaceChildren(...nodes);
  }

  private point(key: string | null): void {
    this.legendKey = key;
    this.request();
  }
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text: string, title: string, action: () => void): HTMLButtonElement {
  const made = element("button", "wbc-button", text);
  made.type = "button";
  made.title = title;
  made.onclick = action;
  return made;
}

function sample(className: string, text: string): HTMLElement {
  const box = element("span", "wbc-sample");
  box.append(element("i", className), text);
  return box;
}
