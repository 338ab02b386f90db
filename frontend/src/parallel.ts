// Parallel coordinates as an anywidget: one line a trial over one axis a hyperparameter; dragging along an axis selects.

import "./parallel.css";

import { axisTicks, coloursFor, place, selectedRows, type Axis, type Brush } from "./coordinates";
import { keepAll, type Manager } from "./keep";
import { themeOf, watchTheme } from "./theme";

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: () => void): void;
  off(event: string, callback?: () => void): void;
  widget_manager?: Manager;
}

const TOP = 34;
const BOTTOM = 14;
const SIDE = 44;
const GRAB = 18; // px beside an axis that belong to it
const CLICK = 4; // px below which a drag is a click, which removes the brush

export default {
  initialize({ model }: { model: Model }): void {
    keepAll(model);
  },
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = document.createElement("div");
    root.className = "wbp";
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    const note = document.createElement("div");
    note.className = "wbp-note";
    note.setAttribute("role", "status");
    root.append(canvas, note);
    el.append(root);

    const brushes = new Map<number, Brush>();
    let dragged: { axis: number; from: number } | undefined;
    let frame = 0;

    const axes = (): Axis[] => model.get("axes") as Axis[];
    const values = (): Float32Array => {
      const bytes = model.get("values") as DataView;
      return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    };
    const trials = (): number[] => model.get("trials") as number[];
    const height = (): number => canvas.clientHeight;
    const x = (index: number): number => {
      const count = axes().length;
      const width = canvas.clientWidth - 2 * SIDE;
      return SIDE + (count > 1 ? (index / (count - 1)) * width : width / 2);
    };
    const y = (share: number): number => TOP + (1 - share) * (height() - TOP - BOTTOM);
    const share = (pixel: number): number => Math.min(1, Math.max(0, 1 - (pixel - TOP) / (height() - TOP - BOTTOM)));

    function request(): void {
      if (!frame) frame = requestAnimationFrame(draw);
    }

    function draw(): void {
      frame = 0;
      const ratio = devicePixelRatio || 1;
      const width = canvas.clientWidth;
      if (!width) return;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height() * ratio);
      const pen = canvas.getContext("2d")!;
      pen.scale(ratio, ratio);
      const theme = themeOf(root);
      const shown = axes();
      const data = values();
      const columns = shown.length;
      const rows = columns ? data.length / columns : 0;
      const chosen = selectedRows(data, columns, shown, brushes);
      const highlighted = new Set(model.get("highlighted") as number[]);
      const numbers = trials();
      const colours = coloursFor(data, columns, theme.dark, model.get("better") as string);
      const line = (row: number, colour: string, wide: number): void => {
        pen.beginPath();
        pen.strokeStyle = colour;
        pen.lineWidth = wide;
        let open = false;
        for (let column = 0; column < columns; column++) {
          const at = place(shown[column]!, data[row * columns + column]!);
          if (Number.isNaN(at)) {
            open = false; // a hyperparameter that this trial does not use
            continue;
          }
          if (open) pen.lineTo(x(column), y(at));
          else pen.moveTo(x(column), y(at));
          open = true;
        }
        pen.stroke();
      };
      const alpha = Math.max(0.25, Math.min(0.85, 40 / Math.max(rows, 1)));
      for (let row = 0; row < rows; row++) if (!chosen.has(row)) line(row, theme.grid, 1);
      pen.globalAlpha = brushes.size ? 0.9 : alpha + 0.15;
      for (let row = 0; row < rows; row++) if (chosen.has(row)) line(row, colours[row]!, 1.4);
      pen.globalAlpha = 1;
      for (let row = 0; row < rows; row++) if (highlighted.has(numbers[row]!)) line(row, colours[row]!, 3);

      pen.font = theme.font;
      shown.forEach((axis, index) => {
        const at = x(index);
        pen.strokeStyle = theme.muted;
        pen.lineWidth = 1;
        pen.beginPath();
        pen.moveTo(at, y(1));
        pen.lineTo(at, y(0));
        pen.stroke();
        pen.textAlign = index === 0 ? "left" : index === columns - 1 ? "right" : "center";
        pen.fillStyle = theme.text;
        const room = columns > 1 ? (x(1) - x(0)) * 0.96 : width;
        pen.fillText(axis.label, index === 0 ? 2 : index === columns - 1 ? width - 2 : at, 14, room);
        pen.textAlign = "left";
        for (const tick of axisTicks(axis)) {
          const wide = pen.measureText(tick.text).width;
          const left = index === columns - 1 ? at - wide - 6 : at + 6;
          pen.fillStyle = getComputedStyle(root).getPropertyValue("--wbp-paper") || "#fff";
          pen.globalAlpha = 0.75;
          pen.fillRect(left - 2, y(tick.share) - 7, wide + 4, 13);
          pen.globalAlpha = 1;
          pen.fillStyle = theme.muted;
          pen.fillText(tick.text, left, y(tick.share) + 4);
        }
        const brush = brushes.get(index);
        if (brush) {
          pen.fillStyle = theme.palette[0]!;
          pen.globalAlpha = 0.25;
          pen.fillRect(at - 7, y(brush.high), 14, y(brush.low) - y(brush.high));
          pen.globalAlpha = 1;
          pen.strokeStyle = theme.palette[0]!;
          pen.strokeRect(at - 7, y(brush.high), 14, y(brush.low) - y(brush.high));
        }
      });
      note.textContent = !rows
        ? "Nothing to compare yet: train trials that differ in a hyperparameter."
        : brushes.size
          ? `${chosen.size} of ${rows} trials selected. Click a brushed axis to take its brush away, press Escape for all.`
          : `${rows} trials. Drag along an axis to select trials in the table and in bench.selected.`;
    }

    function send(): void {
      const shown = axes();
      const chosen = selectedRows(values(), shown.length, shown, brushes);
      const numbers = trials();
      model.set("selected", brushes.size ? [...chosen].map((row) => numbers[row]!) : []);
      model.set("brushed", brushes.size > 0);
      model.save_changes();
    }

    function axisAt(pixel: number): number | undefined {
      const distances = axes().map((_, index) => Math.abs(x(index) - pixel));
      const nearest = distances.indexOf(Math.min(...distances));
      return distances[nearest]! <= GRAB ? nearest : undefined;
    }

    const spot = (event: PointerEvent): { x: number; y: number } => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };

    canvas.addEventListener("pointerdown", (event) => {
      const at = spot(event);
      const axis = axisAt(at.x);
      if (axis === undefined) return;
      dragged = { axis, from: at.y };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const at = spot(event);
      canvas.style.cursor = axisAt(at.x) === undefined ? "default" : "ns-resize";
      if (!dragged || Math.abs(at.y - dragged.from) < CLICK) return;
      const ends = [share(at.y), share(dragged.from)].sort((a, b) => a - b);
      brushes.set(dragged.axis, { low: ends[0]!, high: ends[1]! });
      request();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!dragged) return;
      if (Math.abs(spot(event).y - dragged.from) < CLICK) brushes.delete(dragged.axis);
      dragged = undefined;
      request();
      send();
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !brushes.size) return;
      event.stopPropagation();
      brushes.clear();
      request();
      send();
    });

    const onAxes = (): void => {
      // an added or removed axis moves the others; brushes are kept by the place of their axis
      if ([...brushes.keys()].some((index) => index >= axes().length)) brushes.clear();
      request();
    };
    model.on("change:axes", onAxes);
    for (const name of ["values", "trials", "highlighted", "better"]) model.on(`change:${name}`, request);
    const observer = new ResizeObserver(request);
    observer.observe(root);
    const unwatch = watchTheme(request);
    request();
    return () => {
      model.off("change:axes", onAxes);
      for (const name of ["values", "trials", "highlighted", "better"]) model.off(`change:${name}`, request);
      observer.disconnect();
      unwatch();
      cancelAnimationFrame(frame);
      root.remove();
    };
  },
};
