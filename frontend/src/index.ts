// The anywidget module. One call of the default export serves one widget model, hence the state in its closure.

import "./style.css";

import { keepAll, type Manager } from "./keep";
import { Store } from "./store";
import { View, type Settings } from "./view";
import type { Chart, Message } from "./wire";

/** The part of anywidget's model that is used here. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...values: never[]) => void): void;
  off(event: string, callback?: (...values: never[]) => void): void;
  send(content: unknown): void;
  widget_manager?: Manager;
}

function pointOf(value: unknown): Settings["picked"] {
  const [trial, epoch] = (value ?? []) as number[];
  return trial === undefined || epoch === undefined ? null : { trial, epoch };
}

const PATIENCE = 3000; // ms until a checkpoint is requested again

export default function widget(): { initialize(context: { model: Model }): void; render(context: { model: Model; el: HTMLElement }): () => void } {
  const store = new Store();
  const views = new Set<View>();
  let asked = -Infinity;

  function hello(model: Model): void {
    if (performance.now() - asked < PATIENCE) return;
    asked = performance.now();
    try {
      model.send({ kind: "hello" });
    } catch (error) {
      console.warn("[workbench curves] no kernel to ask for the curves", error); // a notebook opened without one
    }
  }

  function receive(model: Model, message: Message, buffers: DataView[]): void {
    if (message.ask) model.send({ kind: "here" });
    try {
      const outcome = store.apply(message, buffers);
      if (outcome === "gap") hello(model);
      if (outcome === "applied") for (const view of views) view.request();
    } catch (error) {
      store.distrust();
      for (const view of views) view.fail(error);
      hello(model);
    }
  }

  return {
    initialize({ model }) {
      model.on("msg:custom", (message: Message, buffers: DataView[]) => receive(model, message, buffers));
      hello(model);
      keepAll(model, () => {
        asked = -Infinity; // the answer to the first hello was dropped
        hello(model);
      });
    },
    render({ model, el }) {
      const settings = (): Settings => ({
        charts: model.get("charts") as Chart[],
        xLabel: model.get("x_label") as string,
        epochs: model.get("epochs") as number,
        emptyText: model.get("empty_text") as string,
        picked: pointOf(model.get("picked")),
        pickHint: (model.get("pick_hint") as string | undefined) ?? "",
      });
      const root = document.createElement("div");
      el.append(root);
      const view = new View(root, store, settings, (trial, epoch) => model.send({ kind: "pick", trial, epoch }));
      views.add(view);
      model.on("change:charts", () => view.build());
      for (const name of ["x_label", "epochs", "empty_text", "picked", "pick_hint"]) model.on(`change:${name}`, () => view.request());
      return () => {
        views.delete(view);
        view.destroy();
      };
    },
  };
}
