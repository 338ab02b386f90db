// Colours: after Okabe and Ito's palette for colour-blind readers, darkened for white paper and lightened for dark.

const LIGHT = ["#0072b2", "#d55e00", "#00875f", "#b04a8f", "#a97800", "#2b93c9", "#6a51a3", "#6b6b6b"];
const DARK = ["#5ab4f0", "#ff8c42", "#2fcb9b", "#e79ac6", "#f0c84b", "#9bd9ff", "#b6a2f2", "#bdbdbd"];

export interface Theme {
  dark: boolean;
  text: string;
  muted: string;
  grid: string;
  font: string;
  palette: readonly string[];
}

/** Read from the element itself, after CSS has chosen between JupyterLab's, VS Code's, Colab's and the browser's colours. */
export function themeOf(element: HTMLElement): Theme {
  const style = getComputedStyle(element);
  const dark = luminance(style.color) > 0.5;
  return {
    dark,
    text: style.color,
    muted: dark ? "rgba(255, 255, 255, 0.62)" : "rgba(0, 0, 0, 0.6)",
    grid: dark ? "rgba(255, 255, 255, 0.10)" : "rgba(0, 0, 0, 0.08)",
    font: `11px ${style.fontFamily || "system-ui, sans-serif"}`,
    palette: dark ? DARK : LIGHT,
  };
}

export function colourAt(theme: Theme, place: number): string {
  return theme.palette[place % theme.palette.length]!;
}

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  const scale = colour.startsWith("color(") ? 1 : 255;
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / scale;
}

/** Calls back when the page's theme changes; returns a function that ends it. */
export function watchTheme(callback: () => void): () => void {
  const observer = new MutationObserver(callback);
  const attributes = { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "theme"] };
  observer.observe(document.documentElement, attributes);
  observer.observe(document.body, attributes);
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", callback);
  };
}
