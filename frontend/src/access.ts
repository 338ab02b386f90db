// Keyboard and names of the workbench around it, as an anywidget that shows only links to skip to, when they have the focus.

import "./access.css";

import { keepAll, type Manager } from "./keep";
import { reachesNotebook, SHORTCUTS, shortcutOf } from "./keys";
import { nameAll } from "./names";

interface Model {
  get(name: string): unknown;
  on(event: string, callback: () => void): void;
  send(content: unknown): void;
  widget_manager?: Manager;
}

const WAIT = 50; // ms until the root is looked for again: a view is rendered before it is inserted
const TYPED = "input[type=text], input[type=number], input[type=search], textarea, select, [contenteditable=true]";
const WATCHED = { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-valuetext", "class", "title"] };

export default {
  initialize({ model }: { model: Model }): void {
    keepAll(model);
  },
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    let leave = (): void => {};
    let timer = 0;
    function send(content: unknown): void {
      try {
        model.send(content);
      } catch (error) {
        console.warn("[workbench] no kernel to train with", error); // a notebook opened without one
      }
    }
    function find(): void {
      const root = el.closest<HTMLElement>(".wb-root");
      if (root) leave = enter(root, el, send);
      else timer = window.setTimeout(find, WAIT);
    }
    find();
    return () => {
      window.clearTimeout(timer);
      leave();
    };
  },
};

/** Takes over the keys of a root and names its controls; returns what ends it. */
function enter(root: HTMLElement, el: HTMLElement, send: (content: unknown) => void): () => void {
  const help = overlay();
  const links = document.createElement("div");
  links.className = "wba-links";
  links.append(
    action("Go to Train", () => go(root, ".wb-panel .wb-train")),
    action("Go to the learning rate", () => go(root, ".wb-field-learning_rate input")),
    action("Keyboard shortcuts", () => help.showModal()),
  );
  el.append(links, help);
  root.tabIndex = -1; // a click beside the controls leaves the focus in here, not in the notebook

  // before ipywidgets' text fields, which keep their keys to themselves
  function typed(event: KeyboardEvent): void {
    const input = event.target as HTMLInputElement;
    const field = fieldOf(input);
    if (event.key !== "Enter" || !field || event.isComposing || event.shiftKey || event.repeat || reachesNotebook(event)) return;
    event.preventDefault();
    input.dispatchEvent(new Event("change", { bubbles: true }));
    // with its text: ipywidgets holds a change back while the one before it is under way
    send({ kind: "enter", field, text: input.value });
  }

  function pressed(event: KeyboardEvent): void {
    if (help.open || !reachesNotebook(event)) event.stopPropagation();
    if (help.open || event.defaultPrevented || event.repeat || (event.target as HTMLElement).matches(TYPED)) return;
    const shortcut = shortcutOf(event);
    if (!shortcut) return;
    event.preventDefault();
    if (shortcut.help) help.showModal();
    if (shortcut.press) root.querySelector<HTMLElement>(shortcut.press)?.click();
    if (shortcut.focus) go(root, shortcut.focus);
  }

  let frame = 0;
  function name(): void {
    frame = 0;
    nameAll(root);
  }
  const observer = new MutationObserver(() => (frame ||= window.requestAnimationFrame(name)));
  observer.observe(root, WATCHED);
  name();
  root.addEventListener("keydown", typed, true);
  root.addEventListener("keydown", pressed);
  return () => {
    observer.disconnect();
    window.cancelAnimationFrame(frame);
    root.removeEventListener("keydown", typed, true);
    root.removeEventListener("keydown", pressed);
  };
}

/** What a text or number field of the controls sets: a hyperparameter, "name" or "seeds"; the ends of a range are not trained with. */
function fieldOf(input: HTMLElement): string | undefined {
  if (!(input instanceof HTMLInputElement) || !input.matches("[type=text], [type=number]") || input.closest(".wb-range")) return undefined;
  const field = input.closest(".wb-field");
  if (field) return /wb-field-(\w+)/.exec(field.className)?.[1];
  return input.closest(".wb-name") ? "name" : input.closest(".wb-seeds") ? "seeds" : undefined;
}

function go(root: HTMLElement, selector: string): void {
  const control = root.querySelector<HTMLElement>(selector);
  control?.focus();
  control?.scrollIntoView({ block: "nearest" });
}

function action(label: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.onclick = act;
  return made;
}

function overlay(): HTMLDialogElement {
  const dialog = document.createElement("dialog");
  dialog.className = "wba-help";
  dialog.setAttribute("aria-label", "Keyboard shortcuts");
  const list = document.createElement("dl");
  const lines = [{ key: "Enter", text: "In a field: train (with the branch bar open: branch); during a run: apply the value" }, ...SHORTCUTS];
  for (const { key, text } of lines) {
    const [term, meaning, shown] = [document.createElement("dt"), document.createElement("dd"), document.createElement("kbd")];
    shown.textContent = key.length === 1 ? key.toUpperCase() : key;
    meaning.textContent = text;
    term.append(shown);
    list.append(term, meaning);
  }
  const heading = document.createElement("h2");
  heading.textContent = "Keyboard shortcuts";
  const about = document.createElement("p");
  about.textContent = "Letters act while the focus is in the workbench and not in a field to type in.";
  dialog.append(heading, list, about, action("Close", () => dialog.close()));
  return dialog;
}
