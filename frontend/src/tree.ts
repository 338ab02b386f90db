// The tree of branches as an anywidget: one line a trial, a click selects it.

import "./tree.css";

import { keepAll, type Manager } from "./keep";

interface Model {
  get(name: string): unknown;
  on(event: string, callback: () => void): void;
  off(event: string, callback?: () => void): void;
  send(content: unknown): void;
  widget_manager?: Manager;
}

/** before: the lines of the drawing. shown: drawn in the charts. gone: in the trash, not to be selected. */
interface Line {
  trial: number;
  before: string;
  text: string;
  shown: boolean;
  gone: boolean;
}

export default {
  initialize({ model }: { model: Model }): void {
    keepAll(model);
  },
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = document.createElement("div");
    root.className = "wbt";
    el.append(root);

    function draw(): void {
      const focused = [...root.children].indexOf(document.activeElement!);
      root.replaceChildren(...(model.get("lines") as Line[]).map(row));
      (root.children[focused] as HTMLElement | undefined)?.focus();
    }

    function row({ trial, before, text, shown, gone }: Line): HTMLElement {
      const made = document.createElement("button");
      made.type = "button";
      made.className = `wbt-row${shown ? " wbt-shown" : ""}`;
      made.title = text;
      made.disabled = gone;
      if (shown) made.setAttribute("aria-current", "true");
      made.onclick = () => model.send({ kind: "pick", trial });
      made.append(span("wbt-before", before), span("wbt-text", text));
      return made;
    }

    model.on("change:lines", draw);
    draw();
    return () => model.off("change:lines", draw);
  },
};

function span(className: string, text: string): HTMLElement {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
