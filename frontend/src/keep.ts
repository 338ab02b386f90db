// Reconnects widget models that anywidget has given up.
//
// anywidget holds a model's messages back until its module has been loaded. If that takes more than two seconds (a slow machine,
// a page that is restored) it gives up waiting and from then on drops every message to the model, though the view still appears:
// charts that stay empty, a table that no longer changes. The models named here get their messages from the base class instead, and
// their state is sent again.

/** The part of the page's widget model that is used here. */
export interface Kept {
  _handle_comm_msg(message: unknown): Promise<void>;
  comm?: { send(data: unknown): unknown; on_msg(callback: (message: unknown) => Promise<void>): void };
}

export interface Manager {
  get_model(id: string): Promise<Kept> | undefined;
}

const PROBE = { content: { data: { method: "" } } }; // a message that every model ignores
const TRIES = 60;
const PAUSE = 1000; // ms between them: in a page that is restored, another model may come late

/** Connects a model with the kernel; returns whether it had been given up. Does nothing if the page hides its models. */
export async function keep(manager: Manager, id: string, pause = PAUSE): Promise<boolean> {
  const model = await find(manager, id, pause);
  if (typeof model?._handle_comm_msg !== "function") return false;
  try {
    await model._handle_comm_msg(PROBE);
    return false;
  } catch {
    // two steps up: from the model to anywidget's class, and to the one that it extends
    const base = Object.getPrototypeOf(Object.getPrototypeOf(model)) as Partial<Kept> | null;
    if (typeof base?._handle_comm_msg !== "function" || !model.comm) return false;
    model.comm.on_msg(base._handle_comm_msg.bind(model)); // replaces the handler that drops them
    model.comm.send({ method: "request_state" });
    return true;
  }
}

async function find(manager: Manager, id: string, pause: number): Promise<Kept | undefined> {
  for (let i = 0; i < TRIES; i++) {
    try {
      const model = await manager.get_model(id);
      if (model) return model;
    } catch {
      // not there yet
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return undefined;
}

/** The part of anywidget's model that is used here. */
interface Proxy {
  get(name: string): unknown;
  on(event: string, callback: () => void): void;
  widget_manager?: Manager;
}

/** Connects all models listed in a model's `kept`, itself first. again: called if the model itself had been given up. */
export function keepAll(model: Proxy, again: () => void = () => {}): void {
  const known = new Set<string>();
  const look = (): void => {
    const manager = model.widget_manager;
    if (!manager) return;
    const ids = (model.get("kept") as string[] | undefined) ?? [];
    for (const id of ids) {
      if (known.has(id)) continue;
      known.add(id);
      keep(manager, id).then((lost) => lost && id === ids[0] && again()).catch((error) => console.warn("[workbench] a model is not kept", error));
    }
  };
  model.on("change:kept", look);
  look();
}
