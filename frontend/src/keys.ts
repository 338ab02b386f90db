// What a key that is pressed inside the workbench means, without the page.

/** The part of a KeyboardEvent that decides. */
export interface Key {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
}

/** press: a selector of the button to press. focus: of the control to go to. help: show this list. */
export interface Shortcut {
  key: string;
  text: string;
  press?: string;
  focus?: string;
  help?: boolean;
}

/** The shortcuts, in the order in which the overlay lists them; they hold while the focus is on no field to type in. */
export const SHORTCUTS: readonly Shortcut[] = [
  { key: "t", text: "Train; during a run: queue the next trial", press: ".wb-panel .wb-train" },
  { key: "p", text: "Pause or resume", press: ".wb-panel .wb-pause" },
  { key: "s", text: "Stop", press: ".wb-panel .wb-stop" },
  { key: "l", text: "Go to the learning rate", focus: ".wb-field-learning_rate input" },
  { key: "g", text: "Go to the tabs; the arrow keys move, Enter opens one", focus: ".wb-tabs .lm-TabBar-tab.lm-mod-current" },
  { key: "/", text: "Search the table of trials", focus: ".wb-table input[type=search]" },
  { key: "?", text: "Show this list; Escape closes it", help: true },
];

/** Whether the notebook may see the key: with Ctrl, Meta or Alt; Tab and Escape; Shift+Enter, which runs the cell. */
export function reachesNotebook({ key, ctrlKey, metaKey, altKey, shiftKey }: Key): boolean {
  return ctrlKey || metaKey || altKey || key === "Tab" || key === "Escape" || (key === "Enter" && shiftKey);
}

/** The shortcut of a key, if it has one. A letter counts without Shift only; symbols are typed as the keyboard has them. */
export function shortcutOf({ key, ctrlKey, metaKey, altKey, shiftKey }: Key): Shortcut | undefined {
  if (ctrlKey || metaKey || altKey) return undefined;
  const letter = /^[a-z]$/i.test(key);
  return letter && shiftKey ? undefined : SHORTCUTS.find((one) => one.key === key.toLowerCase());
}

/** How the position of a slider is to be read: as an exponent of `base`, unless it is 0; below `zero` the value is 0. */
export interface Scale {
  base: number;
  zero: number;
  whole: boolean;
  unit: string;
}

/** The value at a position of a slider, rounded as the control rounds it. */
export function valueAt(position: number, { base, zero, whole }: Scale): number {
  if (position < zero) return 0;
  const value = base ? base ** position : position;
  return whole ? Math.round(value) : Number(value.toPrecision(3));
}

/** The same as text with its unit, for a screen reader. */
export function textAt(position: number, scale: Scale): string {
  return `${valueAt(position, scale)}${scale.unit ? ` ${scale.unit}` : ""}`;
}
