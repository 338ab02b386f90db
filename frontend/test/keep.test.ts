import assert from "node:assert/strict";
import { test } from "node:test";

import { keep, keepAll, type Kept, type Manager } from "../src/keep";

/** As ipywidgets' model: it hears of the kernel by its comm, whose listener is set once, and messages change the state. */
class Base implements Kept {
  heard: unknown[] = [];
  sent: unknown[] = [];
  receive = (message: unknown): Promise<void> => this._handle_comm_msg(message);
  comm = {
    send: (data: unknown) => this.sent.push(data),
    on_msg: (callback: (message: unknown) => Promise<void>) => void (this.receive = callback),
  };
  async _handle_comm_msg(message: unknown): Promise<void> {
    this.heard.push(message);
  }
}

/** As anywidget's: all waits for the module. */
class Any extends Base {
  constructor(private ready: Promise<void>) {
    super();
    ready.catch(() => {});
  }
  override async _handle_comm_msg(message: unknown): Promise<void> {
    await this.ready;
    return super._handle_comm_msg(message);
  }
}

const managerOf = (models: Record<string, Kept>): Manager => ({ get_model: async (id) => models[id]! });
const late = () => new Any(Promise.reject(new Error("Failed to initialize model.")));
const UPDATE = { content: { data: { method: "update" } } };

test("a model that was given up hears again and is sent its state", async () => {
  const model = late();
  await assert.rejects(model.receive(UPDATE));
  assert.equal(await keep(managerOf({ model }), "model"), true);
  await model.receive(UPDATE);
  assert.deepEqual(model.heard, [UPDATE]);
  assert.deepEqual(model.sent, [{ method: "request_state" }]);
});

test("a model that was loaded in time is left as it is", async () => {
  const model = new Any(Promise.resolve());
  const { receive } = model;
  assert.equal(await keep(managerOf({ model }), "model"), false);
  assert.equal(model.receive, receive);
  assert.deepEqual(model.sent, []);
});

test("a model that comes late is waited for", async () => {
  const model = late();
  let asked = 0;
  const manager: Manager = {
    get_model: (id) => {
      asked++;
      if (asked === 1) return undefined;
      return asked === 2 ? Promise.reject(new Error(`no ${id}`)) : Promise.resolve(model);
    },
  };
  assert.equal(await keep(manager, "model", 1), true);
  assert.equal(asked, 3);
});

test("all that are named are kept, those that are named later too, each once", async () => {
  const models = { own: late(), table: late(), fine: new Any(Promise.resolve()) };
  let kept = ["own", "fine"];
  let changed = (): void => {};
  let told = 0;
  const proxy = {
    get: () => kept,
    on: (_: string, callback: () => void) => (changed = callback),
    widget_manager: managerOf(models),
  };
  keepAll(proxy, () => told++);
  kept = ["own", "fine", "table"];
  changed();
  await new Promise((resolve) => setTimeout(resolve)); // all that waits for promises alone is done then
  assert.deepEqual([models.own.sent.length, models.table.sent.length, models.fine.sent.length], [1, 1, 0]);
  assert.equal(told, 1); // of itself; the table is another library's
});

test("a page that shows no models is left alone", () => {
  keepAll({ get: () => ["own"], on: () => {} });
});
