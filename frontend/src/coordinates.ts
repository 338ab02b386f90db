// What the parallel coordinates compute, without a page: places on axes, marks, brushes, colours.

/** An axis. categories: the names of a choice, whose values are then 0, 1, 2 ...; log: evenly spaced in the logarithm. */
export interface Axis {
  name: string;
  label: string;
  low: number;
  high: number;
  log: boolean;
  categories: string[] | null;
}

/** A stretch of an axis, as shares from 0 (low) to 1 (high). */
export interface Brush {
  low: number;
  high: number;
}

/** The place of a value on its axis, 0 to 1; NaN for a value that is missing or infinite. */
export function place(axis: Axis, value: number): number {
  if (!Number.isFinite(value)) return NaN;
  if (axis.high === axis.low) return 0.5;
  const scale = axis.log ? Math.log : (v: number) => v;
  return (scale(value) - scale(axis.low)) / (scale(axis.high) - scale(axis.low));
}

/** Rows that lie within every brush. Without a brush all do. */
export function selectedRows(data: Float32Array, columns: number, axes: Axis[], brushes: Map<number, Brush>): Set<number> {
  const found = new Set<number>();
  const rows = columns ? data.length / columns : 0;
  for (let row = 0; row < rows; row++) {
    let inside = true;
    for (const [column, brush] of brushes) {
      const at = place(axes[column]!, data[row * columns + column]!);
      if (!(at >= brush.low - 1e-6 && at <= brush.high + 1e-6)) inside = false;
    }
    if (inside) found.add(row);
  }
  return found;
}

export function axisTicks(axis: Axis): { share: number; text: string }[] {
  if (axis.categories) {
    return axis.categories.map((text, index) => ({ share: place(axis, index), text }));
  }
  if (axis.low === axis.high) return [{ share: 0.5, text: shown(axis.low) }];
  const middle = axis.log ? Math.sqrt(axis.low * axis.high) : (axis.low + axis.high) / 2;
  return [axis.low, middle, axis.high].map((value) => ({ share: place(axis, value), text: shown(value) }));
}

/** A number in few characters: 0.00012 as 1.2e-4. */
export function shown(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) {
    return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  }
  return String(Number(value.toPrecision(3)));
}

/** One colour a row by the rank of its last value, the metric: from pale to strong, the best strongest. */
export function coloursFor(data: Float32Array, columns: number, dark: boolean, better: string): string[] {
  const rows = columns ? data.length / columns : 0;
  const metric = Array.from({ length: rows }, (_, row) => data[row * columns + columns - 1]!);
  const order = metric.map((_, row) => row).filter((row) => Number.isFinite(metric[row]));
  order.sort((a, b) => (better === "higher" ? metric[a]! - metric[b]! : metric[b]! - metric[a]!));
  const colours = new Array<string>(rows).fill(dark ? "#777" : "#aaa");
  order.forEach((row, rank) => {
    const t = order.length > 1 ? rank / (order.length - 1) : 1;
    // from yellow over green to blue, of even lightness steps; reversed on a dark page
    const hue = 60 + t * 180;
    const light = dark ? 40 + t * 32 : 72 - t * 40;
    colours[row] = `hsl(${hue.toFixed(0)} 75% ${light.toFixed(0)}%)`;
  });
  return colours;
}
