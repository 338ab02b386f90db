// Names and values of the controls, for screen readers: taken from the words that stand beside each control.

import { textAt, valueAt, type Scale } from "./keys";

const CONTROLS = "input, select, textarea, [role=slider], img[title], .wb-toggle, .wb-table .dt-scroll-body";

/** Gives every control inside `root` its name, and every slider its value in its own unit. Repeated calls change only what differs. */
export function nameAll(root: HTMLElement): void {
  for (const element of root.querySelectorAll<HTMLElement>(CONTROLS)) {
    if (element instanceof HTMLImageElement) {
      set(element, "alt", element.title); // what an ipywidgets picture has for its description
      element.removeAttribute("title");
    } else if (element.matches(".dt-scroll-body")) {
      set(element, "tabindex", "0"); // rows that overflow are scrolled by the arrow keys
      set(element, "role", "region");
      set(element, "aria-label", "Trials");
    } else {
      const name = nameOf(element);
      if (name) set(element, "aria-label", name);
      if (element.matches(".wb-toggle")) set(element, "aria-pressed", String(element.classList.contains("mod-active")));
      if (element.getAttribute("role") === "slider") value(element);
    }
  }
}

/** The words beside a control; "" if it has a visible label of its own. */
function nameOf(control: HTMLElement): string {
  const titled = control.title || (control as HTMLInputElement).placeholder || "";
  if (control.matches(".wb-toggle, .wb-range input, .wb-switch input")) return titled;
  if ([...((control as HTMLInputElement).labels ?? [])].some((label) => label.textContent?.trim() && label.offsetParent)) return "";
  const field = control.closest(".wb-field")?.querySelector(".wb-label");
  if (field) return field.firstChild?.textContent?.trim() ?? "";
  const labelled = control.closest(".wb-labelled")?.firstElementChild;
  return labelled?.textContent?.trim() || titled;
}

const said = new WeakMap<HTMLElement, string>();

/** The value of a slider. noUiSlider writes its position, which on a logarithmic scale is an exponent, with rounding errors. */
function value(handle: HTMLElement): void {
  const label = handle.closest(".wb-field")?.querySelector<HTMLElement>(".wb-label");
  if (!label) return;
  const text = handle.getAttribute("aria-valuetext") ?? "";
  const { base, zero, whole, unit, low, high } = label.dataset;
  // its own lower end differs from ours on every logarithmic scale
  if (handle.getAttribute("aria-valuemin") === decimal(Number(low)) && said.get(handle) === text) return;
  const scale: Scale = { base: Number(base ?? 0), zero: Number(zero ?? -Infinity), whole: whole !== undefined, unit: unit ?? "" };
  const position = Number(text);
  said.set(handle, textAt(position, scale));
  set(handle, "aria-valuetext", textAt(position, scale));
  set(handle, "aria-valuenow", decimal(valueAt(position, scale)));
  set(handle, "aria-valuemin", decimal(Number(low)));
  set(handle, "aria-valuemax", decimal(Number(high)));
}

/** A number without an exponent, which ARIA does not allow. */
function decimal(value: number): string {
  return value.toLocaleString("en", { useGrouping: false, maximumSignificantDigits: 6, maximumFractionDigits: 20 });
}

function set(element: HTMLElement, attribute: string, text: string): void {
  if (element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
}
