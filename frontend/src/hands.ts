// Whether somebody's hands are on the workbench: while they are, the kernel must not have the output made anew, which would take
// away the focus, the text that was typed and the slider that is held.

const AFTER_USE = 2000; // ms for which a key, a character or a slider let go still counts: the next one may follow
const AFTER_BUTTON = 500; // a button pressed is done with, but for a double click
const FORGOTTEN = 120_000; // text that nobody has touched for so long is not waited for: the saved picture would be missing
const REPEAT = 20_000; // the kernel takes hands for gone that were not heard of for 60 s
const LOOK = 250; // how often it is looked whether they have gone
const RETURN = 10_000; // focus comes back to a view made anew within this time

/** What hands do, told by `Watch`; without a page, so that it is tested in Node. now: the time in ms. */
export class Hands {
  private pressed = false;
  private until = -Infinity;
  private used = -Infinity;
  private field: { value: () => string; sent: string } | null = null;

  constructor(private now: () => number) {}

  press(): void {
    this.pressed = true;
  }

  /** The pointer was let go. button: over something that is done with a click. */
  release(button: boolean): void {
    if (!this.pressed) return;
    this.pressed = false;
    this.until = this.now() + (button ? AFTER_BUTTON : AFTER_USE);
  }

  use(): void {
    this.used = this.now();
    this.until = this.used + AFTER_USE;
  }

  /** A text field has got the focus. value: reads what it holds. */
  focus(value: () => string): void {
    this.used = this.now();
    this.field = { value, sent: value() };
  }

  /** What the field holds has been sent. */
  sent(): void {
    if (this.field) this.field.sent = this.field.value();
  }

  blur(): void {
    this.field = null;
  }

  /** The view was taken away: nothing of it is held any more. */
  drop(): void {
    this.pressed = false;
    this.until = -Infinity;
    this.field = null;
  }

  get held(): boolean {
    const now = this.now();
    const unsent = this.field !== null && this.field.value() !== this.field.sent && now - this.used < FORGOTTEN;
    return this.pressed || unsent || now < this.until;
  }
}

const TEXT = "textarea, [contenteditable=true], input:not([type=checkbox], [type=radio], [type=button], [type=range])";
const BUTTON = "button, [role=tab], [role=button], input[type=checkbox], input[type=radio]";

/** Listens to what happens in the views of one model, and tells the kernel when hands come and go. */
export class Watch {
  private hands = new Hands(() => performance.now());
  private roots = new Set<HTMLElement>();
  private stop: AbortController | null = null;
  private timer: ReturnType<typeof setInterval> | undefined;
  private told = -Infinity; // when the kernel was last told of hands; -Infinity: it knows of none
  private last: { element: HTMLElement; address: string; index: number; lost: number } | null = null;

  constructor(private tell: (held: boolean) => void) {}

  get held(): boolean {
    return this.hands.held;
  }

  /** Watches the workbench around a view's element; returns what ends it. */
  add(el: HTMLElement): () => void {
    this.roots.add(el);
    if (!this.stop) this.listen();
    this.giveFocusBack(el);
    return () => {
      this.roots.delete(el);
      this.hands.drop();
      if (this.last) this.last.lost = Math.min(this.last.lost, performance.now());
      this.look();
      if (this.roots.size) return;
      this.stop?.abort();
      this.stop = null;
    };
  }

  private listen(): void {
    this.stop = new AbortController();
    const { signal } = this.stop;
    // Caught at the document before anything in the workbench can stop it on its way.
    const on = (names: string[], action: (event: Event, root: HTMLElement | undefined) => void): void => {
      for (const name of names) {
        document.addEventListener(
          name,
          (event) => {
            action(event, this.rootOf(event.target));
            this.look();
          },
          { capture: true, passive: true, signal },
        );
      }
    };
    on(["pointerdown"], (_, root) => root && this.hands.press());
    on(["pointerup", "pointercancel"], ({ target }) => this.hands.release(target instanceof Element && target.closest(BUTTON) !== null));
    on(["keydown", "input"], (_, root) => root && this.hands.use());
    on(["change"], (_, root) => root && this.hands.sent());
    on(["focusin"], ({ target }, root) => {
      if (!root || !(target instanceof HTMLElement)) return void (this.last = null);
      this.last = { element: target, ...addressOf(root, target), lost: Infinity };
      if (target.matches(TEXT)) this.hands.focus(() => (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement ? target.value : (target.textContent ?? "")));
    });
    on(["focusout"], ({ target }) => {
      this.hands.blur();
      const { last } = this;
      if (!last || last.element !== target) return;
      last.lost = performance.now();
      // Focus that has gone elsewhere is not given back; an element that was taken away had no say.
      setTimeout(() => last.element.isConnected && this.last === last && !document.hidden && document.hasFocus() && (this.last = null), 0);
    });
    // The end of a press is not told where a drop-down list of the browser took it, or outside the window.
    document.addEventListener("pointermove", (event) => event.buttons || this.hands.release(false), { capture: true, passive: true, signal });
  }

  private rootOf(target: EventTarget | null): HTMLElement | undefined {
    return target instanceof Node ? [...this.roots].map(workbenchOf).find((root) => root.contains(target)) : undefined;
  }

  private look(): void {
    const now = performance.now();
    const { held } = this.hands;
    if (held && now - this.told > REPEAT) {
      this.told = now;
      this.tell(true);
    } else if (!held && this.told > -Infinity) {
      this.told = -Infinity;
      this.tell(false);
    }
    if (held) this.timer ??= setInterval(() => this.look(), LOOK);
    else {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }

  /** Gives the focus that an old view had to the same element of the new one, as soon as that is there. */
  private giveFocusBack(el: HTMLElement): void {
    const { last } = this;
    const patience = performance.now() + RETURN;
    const attempt = (): void => {
      const now = performance.now();
      const active = document.activeElement;
      if (!last || last !== this.last || !this.roots.has(el) || now > patience || now - last.lost > RETURN) return;
      const found = last.element.isConnected ? null : workbenchOf(el).querySelectorAll<HTMLElement>(last.address)[last.index];
      if (!found?.getClientRects().length) return void requestAnimationFrame(attempt);
      if (active && active !== document.body && !active.contains(found)) return; // it is in use elsewhere by now
      const caret = caretOf(last.element);
      found.focus({ preventScroll: true });
      if (caret && caretOf(found)) (found as HTMLInputElement).setSelectionRange(...caret);
    };
    if (last) requestAnimationFrame(attempt);
  }
}

/** The whole workbench around the charts, or the charts alone. */
function workbenchOf(el: HTMLElement): HTMLElement {
  return el.closest<HTMLElement>(".wb-root") ?? el;
}

function caretOf(element: HTMLElement): [number, number] | null {
  if (!(element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement)) return null;
  return element.selectionStart === null || element.selectionEnd === null ? null : [element.selectionStart, element.selectionEnd];
}

/** A selector by the workbench's own classes on the way, and which of those that it finds. */
function addressOf(root: HTMLElement, element: HTMLElement): { address: string; index: number } {
  const parts: string[] = [];
  for (let at: HTMLElement | null = element; at && at !== root; at = at.parentElement) {
    const own = [...at.classList].filter((name) => name.startsWith("wb-")).map((name) => `.${CSS.escape(name)}`).join("");
    if (own || at === element) parts.unshift((at === element ? at.tagName.toLowerCase() : "") + own);
  }
  const address = parts.join(" ");
  return { address, index: [...root.querySelectorAll(address)].indexOf(element) };
}
