// The review surface: paints what is held for the reviewer, at once, and hands over what they decide until the server
// has acknowledged it. Every word becomes a text node, so nothing that an agent wrote is ever markup.

const TICK_MS = 1000;
const RESEND_MS = 2500;
const LATE_MS = 2500; // From when on the reviewer is told that something is not acknowledged yet.
const PATIENCE_MS = 20_000; // How long an answer is waited for before the outbox is sent again.
const NEWS_MS = 5000; // How often there are news to ask for, by somebody who has something to decide,
const EMPTY_NEWS_MS = 2000; // and by somebody who waits for it.
const MOST_SENT = 50;
const SAVE_MS = 800; // How long what is typed waits to be kept by the server, however fast somebody types.
const NEARLY_LAPSED_MS = 5000; // What is held for no longer than this is not begun with.
const HOLD_SOON_MS = 120_000;
const DRAFTS_KEPT = 30;
const NOTICES_KEPT = 4;
const LONGEST_TEXT = 20_000;

const TAGS = new Set(
  (
    "a article button code dd del details div dl dt figcaption figure form h1 h2 h3 img ins li ol p pre section span " +
    "summary table tbody td th thead time tr ul"
  ).split(" "),
);
// Links and forms lead to signing in again, and nowhere else.
const ATTRIBUTES = {
  action: /^\/sign-in\/again\?[\w.%&=+-]*$/, alt: /^/, class: /^[\w -]*$/, datetime: /^[\dT:.+Z-]+$/,
  href: /^\/sign-in\/with\/[\w-]+\?[\w.%&=+-]*$/, method: /^post$/, open: /^open$/, role: /^(alert|status)$/,
  scope: /^(row|col)$/, src: /^\/pictures\/[\w-]+\/\d+$/, style: /^width:\d+%$/, target: /^_self$/, title: /^/,
};

// What goes on with another item, and what outlives the page until it is acknowledged.
const LEAVES = new Set(["decide", "skip"]);
const LASTS = new Set(["decide", "skip", "ask", "extend"]);
const TURNS = new Set(["edit", "plain"]);

// Under which names the server keeps the texts.
const TEXT_NAMES = { reject: "rejection", respond: "answer", ask: "question" };

const SENTENCES = {
  reject: "Say why you reject it: choose a reason or write a message.",
  codes: "This queue asks for a reason: choose one of them.",
  respond: "Write an answer first.",
  ask: "Write a question first.",
};
const FORMS = {
  reject: { label: "What the agent should know (optional with a reason)", does: "Reject", icon: "✕" },
  respond: { label: "Your answer, which stands in for the action's result", does: "Send the answer", icon: "↩" },
  ask: { label: "Your question; the item stays yours while the agent answers", does: "Ask", icon: "?" },
};

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Builds what the server drew, from nested lists of tag, attributes and children; what is not known is left out.
function grown(tree) {
  if (!Array.isArray(tree)) return document.createTextNode(String(tree));
  const [tag, attributes, ...children] = tree;
  const made = document.createElement(TAGS.has(tag) ? tag : "span");
  for (const [name, value] of Object.entries(attributes)) {
    if (Object.hasOwn(ATTRIBUTES, name) && ATTRIBUTES[name].test(value)) made.setAttribute(name, value);
  }
  for (const child of children) made.append(grown(child));
  return made;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours < 48) return hours < 10 && minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

function ago(seconds) {
  if (Math.abs(seconds) < 10) return "just now";
  return seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
}

function fresh() {
  return crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}-${Math.random()}`;
}

function nameOf({ item, version }) {
  return `${item}.${version}`;
}

class Surface {
  constructor(root) {
    this.root = root;
    this.looks = new Map(); // What was painted of each stamp, as the server told it.
    this.bodies = new Map(); // The same, built ahead.
    this.outbox = [];
    this.drafts = {};
    this.unsaved = new Set(); // The names of the drafts of which the server does not have the newest.
    this.notices = [];
    this.painted = null;
    this.paintedAt = 0;
    this.pressed = new Set();
    this.askedAt = 0;
    this.life = new AbortController();
    this.notes = element("div", "focus-notices");
    this.flash = element("div", "focus-flash");
    this.item = element("article", "focus-item");
    this.item.tabIndex = -1;
    this.bar = element("section", "focus-bar");
    this.bar.setAttribute("aria-label", "Your decision");
    this.live = element("p", "focus-unseen");
    this.live.setAttribute("aria-live", "polite");
    this.late = element("p", "focus-late");
    this.late.setAttribute("role", "status");
    this.sheet = element("dialog", "focus-keys");
    this.sheet.setAttribute("aria-label", "Keys");
    this.offer = element("div", "focus-undo");
    this.hold = element("span", "focus-hold");
    this.hold.setAttribute("role", "timer");
    root.replaceChildren(this.offer, this.notes, this.item, this.bar, this.flash, this.live, this.sheet);
    const { signal } = this.life;
    window.addEventListener("keydown", (event) => this.struck(event), { capture: true, signal });
    window.addEventListener("online", () => this.send(), { signal });
    window.addEventListener("resize", () => this.fit(), { signal });
    window.addEventListener("pagehide", () => this.leaveOpen(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden && this.leaveOpen(), { signal });
    window.addEventListener("beforeunload", (event) => this.isLate() && event.preventDefault(), { signal });
    this.ticking = setInterval(() => this.tick(), TICK_MS);
  }

  end() {
    this.life.abort();
    clearInterval(this.ticking);
  }

  // ---- What the server says

  hear(data) {
    // What the page says and what comes in answer to the outbox may overtake each other.
    if (this.session === data.session && data.number < this.number) return;
    const isAnew = this.session !== data.session;
    if (isAnew) this.isByPage = false;
    this.session = data.session;
    this.number = data.number;
    if (data.is_turned) {
      this.acknowledge(data.acknowledged);
      this.root.dataset.unconfirmed = "1"; // Until another view stands here.
      return this.redraw();
    }
    const isFirst = !this.data;
    this.data = data;
    this.heardAt = performance.now();
    this.skew = Date.parse(data.now) - Date.now();
    if (isFirst) this.remember();
    for (const { stamp, look } of data.items) if (look && !this.looks.has(stamp)) this.looks.set(stamp, JSON.parse(look));
    if (data.items.some(({ stamp }) => !this.looks.has(stamp))) return this.redraw(); // Let go of meanwhile.
    const known = new Set([...data.items.map(({ stamp }) => stamp), this.painted?.stamp]);
    for (const stamp of this.looks.keys()) if (!known.has(stamp)) this.looks.delete(stamp);
    for (const stamp of this.bodies.keys()) if (!known.has(stamp)) this.bodies.delete(stamp);
    this.takeDrafts();
    this.acknowledge(data.acknowledged);
    // A session that began anew, after a reload or a restart, knows nothing of what was handed over to the one before.
    if (isAnew && this.outbox.length) setTimeout(() => this.send());
    this.offerUndo(data.undo);
    this.show();
    this.fit();
  }

  acknowledge(answers) {
    const answered = this.outbox.filter(({ id }) => Object.hasOwn(answers, id));
    if (!answered.length) return;
    this.outbox = this.outbox.filter((entry) => !answered.includes(entry));
    for (const entry of answered) this.answered(entry, answers[entry.id]);
    this.count();
    this.keep();
  }

  // How many presses the server has not confirmed yet, for whoever watches.
  count() {
    this.root.dataset.unconfirmed = String(this.outbox.length);
  }

  answered(entry, { ok, tone, text }) {
    if (!ok) {
      // What was typed for it is there again, if it is still to be decided; if not, it can be read in the notice.
      if (entry.draft) this.drafts[nameOf(entry)] = entry.draft;
      this.notify(tone, text, { about: entry.name, typed: entry.typed, item: entry.item });
      this.back = entry.item;
      return;
    }
    if (entry.act === "ask") {
      const draft = this.draftOf(entry);
      draft.texts.ask = "";
      if (draft.mode === "ask") draft.mode = "choose";
      this.changed(entry);
      if (this.painted?.item === entry.item) this.drawBar();
    }
    // As long as it can be undone, what was written for it is not given away.
    if (entry.act === "decide" && entry.draft) this.given = { ...entry.draft, name: nameOf(entry) };
    if (entry.act === "extend") this.pressed.delete("h");
    if (text) this.tell(text);
  }

  // ---- What is on the screen

  show() {
    const left = new Set(this.outbox.filter(({ act }) => LEAVES.has(act)).map(({ key }) => key));
    const isPausing = this.outbox.some(({ act }) => act === "pause");
    const open = isPausing ? [] : this.data.items.filter(({ key }) => !left.has(key));
    const kept = open.find(({ key }) => key === this.painted?.key);
    // What was refused comes back, but not under the hand of somebody who writes.
    const back = open.find(({ stamp }) => this.back && this.looks.get(stamp)?.item === this.back);
    const isBack = back && (!kept || this.modeOf(this.painted) === "choose");
    if (isBack || !back) this.back = null;
    const next = (isBack && back) || kept || open.find((each) => this.leftOf(each) > NEARLY_LAPSED_MS);
    if (!next) return this.showCalm(isPausing);
    if (this.painted && !kept) this.tellWhyGone();
    if (next.key !== this.painted?.key) this.paint(next);
    else if (next.stamp !== this.painted.stamp) this.repaint(next);
    this.painted.left_ms = next.left_ms;
    this.drawClocks();
    this.buildAhead(open.find(({ key }) => key !== next.key));
  }

  tellWhyGone() {
    const why = this.data.gone[this.painted.item];
    if (why && !this.outbox.some(({ item }) => item === this.painted.item)) {
      const { texts } = this.draftOf(this.painted);
      this.notify("warn", why, { about: this.painted.look.name, typed: Object.values(texts).filter(Boolean).join("\n") });
    }
  }

  paint({ key, stamp, left_ms: leftMs }) {
    const look = this.looks.get(stamp);
    const hadFocus = this.root.contains(document.activeElement);
    this.painted = { key, stamp, look, left_ms: leftMs, item: look.item, version: look.version };
    if (this.given?.name === nameOf(look)) this.take(this.given.name, this.given);
    this.item.replaceChildren(...this.bodyOf(stamp, look));
    this.item.className = "focus-item";
    this.drawArgs();
    this.drawBar();
    this.paintedAt = this.lookedAt = performance.now();
    document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0, behavior: "instant" });
    // From a button of the item before, reading goes on at the top of this one.
    if (hadFocus) this.item.focus({ preventScroll: true });
    this.item.setAttribute("aria-label", look.name);
    this.live.textContent = `Before you: ${look.name}`;
  }

  // The same look, with a note more, or another sign-in asked for: what is open, scrolled or typed stays as it is.
  // Revealed, it is drawn anew.
  repaint({ stamp }) {
    const look = this.looks.get(stamp);
    const { masked: wasMasked, head } = this.painted.look;
    this.painted.stamp = stamp;
    this.painted.look = look;
    if (wasMasked && !look.masked) {
      this.item.replaceChildren(...this.bodyOf(stamp, look));
      this.drawArgs();
      this.drawBar();
      return;
    }
    if (JSON.stringify(head) !== JSON.stringify(look.head)) {
      this.item.querySelector(".focus-head").replaceChildren(...[...look.head, ...look.facts].map(grown));
    }
    this.item.querySelector(".focus-beside").replaceChildren(...look.right.map(grown));
    if (look.masked !== wasMasked) this.drawArgs();
  }

  bodyOf(stamp, look) {
    const built = this.bodies.get(stamp);
    if (built) return built;
    const side = (name, label, ...parts) => {
      const made = element("div", name, ...parts);
      made.tabIndex = 0;
      made.setAttribute("role", "region");
      made.setAttribute("aria-label", label);
      return made;
    };
    const args = element("div", "focus-args");
    const main = side("focus-main", "What would run, and why you see it", args, ...[...look.left, ...look.why].map(grown));
    if (look.repeats) main.append(this.button("Open the earlier decision", "earlier", () => this.hand("earlier"), { isQuiet: true }));
    const body = [
      element("header", "focus-head", ...[...look.head, ...look.facts].map(grown)),
      element("div", "focus-sides", main, side("focus-beside", "What the agent said and saw", ...look.right.map(grown))),
    ];
    this.bodies.set(stamp, body);
    return body;
  }

  buildAhead(next) {
    if (!next || this.bodies.has(next.stamp)) return;
    clearTimeout(this.building);
    this.building = setTimeout(() => {
      const look = this.looks.get(next.stamp);
      if (look) this.bodyOf(next.stamp, look);
    }, 30);
  }

  drawArgs() {
    const { look } = this.painted;
    const args = this.item.querySelector(".focus-args");
    args.replaceChildren(grown(this.isOpened() ? (look.whole ?? look.cut) : look.cut));
    if (!this.isOpened()) {
      args.append(this.button(`Show the ${look.hidden.toLocaleString("en")} hidden characters`, "o", () => this.open()));
    }
    if (look.masked) {
      const veil = element("p", "focus-masked", element("span", "so-hidden", look.masked));
      if (look.reveals) veil.append(this.button("Reveal", "v", () => this.hand("reveal"), { isQuiet: true }));
      args.append(veil);
    }
  }

  showCalm(isPausing) {
    const wasPainted = this.painted;
    if (wasPainted) this.tellWhyGone();
    this.painted = null;
    const isFetching = this.outbox.some(({ act }) => LEAVES.has(act) || act === "resume");
    const state = isPausing || isFetching ? (isPausing ? "pausing" : "fetching") : this.data.state;
    if (this.calmIs === state && !wasPainted && !["empty", "paused"].includes(state)) return;
    this.calmIs = state;
    this.item.className = "focus-item focus-calm";
    this.item.removeAttribute("aria-label");
    if (this.data.calm && !isFetching && !isPausing) this.item.replaceChildren(grown(this.data.calm));
    else this.item.replaceChildren(element("p", "focus-fetching", isPausing ? "Giving back what you hold…" : "Fetching the next item…"));
    this.drawBar();
    if (wasPainted) this.paintedAt = performance.now();
  }

  // What was decided last, and the button that takes it back: gone when it is too late, or when it was pressed.
  offerUndo(undo) {
    clearTimeout(this.withdrawing);
    const isPressed = undo && this.outbox.some(({ act, item }) => act === "undo" && item === undo.item);
    if (!undo || isPressed || undo.left_ms <= 0) {
      this.undoing = null;
      return this.offer.replaceChildren();
    }
    this.withdrawing = setTimeout(() => this.offerUndo(null), undo.left_ms);
    if (this.undoing === `${undo.item}.${undo.epoch}`) return;
    this.undoing = `${undo.item}.${undo.epoch}`;
    const told = element("p", "so-plain", element("strong", "", undo.did), ": ", element("code", "", undo.tool));
    told.setAttribute("role", "status");
    this.offer.replaceChildren(told, this.button("Undo", "u", () => this.takeBack(undo), { isFree: true, isHarmless: true }));
  }

  takeBack({ item, version, epoch }) {
    this.put("undo", {}, { item, version, epoch, digest: "", dwell_ms: 0, session: this.session });
    this.offerUndo(null);
    setTimeout(() => this.send());
  }

  // ---- The bar

  drawBar() {
    this.paintedAt = performance.now();
    this.pressed = new Set();
    this.errors = null;
    if (!this.painted) {
      const isPaused = this.data.state === "paused" && !this.outbox.length;
      this.bar.replaceChildren(
        ...(isPaused ? [this.button("Take the next item", "n", () => this.hand("resume"), { isPrimary: true })] : []),
        this.late,
      );
      this.bar.className = "focus-bar focus-bar-calm";
      return;
    }
    const mode = this.modeOf(this.painted);
    this.bar.className = `focus-bar focus-bar-${mode}`;
    this.bar.replaceChildren(...(mode === "choose" ? this.choices() : this.form(mode)), this.late);
    this.drawClocks();
  }

  choices() {
    const { look } = this.painted;
    const made = [];
    // Whoever approves has no form to write into; where the queue has reasons for it, they stand above the buttons.
    const codes = this.codes("approve");
    if (codes) made.push(codes);
    const takes = (decision) => look.allows.includes(decision);
    if (takes("approve")) {
      const approve = this.button("Approve", "a", () => this.approve(), { isPrimary: true, isFree: this.isAsked("approve") });
      approve.disabled = !this.isOpened();
      made.push(approve);
    }
    if (takes("reject")) made.push(this.button("Reject", "r", () => this.turn("reject"), { tone: "bad" }));
    if (takes("edit")) {
      const edit = this.button("Edit", "e", () => this.hand("edit"));
      edit.disabled = !look.editable;
      made.push(edit);
    }
    if (takes("respond")) made.push(this.button("Respond", "w", () => this.turn("respond")));
    if (takes("approve") && !this.isOpened()) made.push(element("span", "so-hidden", "Open the hidden characters to approve."));
    made.push(element("span", "focus-space"));
    if (look.asks) made.push(this.button("Ask the agent", "q", () => this.turn("ask"), { isQuiet: true }));
    made.push(
      this.button("Skip", "s", () => this.leave("skip"), { isQuiet: true }),
      this.button("Pause", "p", () => this.pause(), { isQuiet: true }),
      this.button("Hold longer", "h", () => this.hand("extend"), { isQuiet: true }),
      this.hold,
      this.button("Keys", "?", () => this.turnSheet(), { isQuiet: true, isFree: true }),
    );
    return made;
  }

  form(mode) {
    const { label, does } = FORMS[mode];
    const draft = this.draftOf(this.painted);
    const made = [];
    const codes = this.codes(mode);
    if (codes) made.push(codes);
    const text = element("textarea", "focus-text");
    text.rows = mode === "reject" ? 2 : 3;
    text.maxLength = LONGEST_TEXT;
    text.value = draft.texts[mode] ?? "";
    text.addEventListener("input", () => {
      draft.texts[mode] = text.value;
      this.changed(this.painted);
    });
    const error = this.complaints();
    made.push(
      element("label", "focus-field", element("span", "focus-label", label), text),
      element(
        "div",
        "focus-row",
        this.button(does, "Ctrl+Enter", () => this.finish(mode), { isPrimary: mode !== "reject", tone: mode === "reject" ? "bad-strong" : "", isFree: true }),
        this.button("Back", "Escape", () => this.turn("choose"), { isFree: true }),
        error,
        element("span", "focus-space"),
        this.hold,
      ),
    );
    if (mode !== "reject") setTimeout(() => text.isConnected && text.focus());
    return made;
  }

  // The reasons to choose from, each with its number, where the queue has some for this decision.
  codes(decision) {
    const offered = this.painted.look.reasons[decision] ?? [];
    if (!offered.length) return null;
    const isAsked = this.isAsked(decision);
    const label = decision === "reject" ? "Why is it wrong?" : isAsked ? "Why? This queue asks for a reason." : "Why? (optional)";
    const pills = element("div", "focus-codes");
    pills.setAttribute("role", "group");
    pills.setAttribute("aria-label", label);
    const chosen = this.draftOf(this.painted).codes;
    offered.forEach(([code, text], number) => {
      const pill = this.button(text, String(number + 1), () => this.toggle(code, pill), { isFree: true, isHarmless: true });
      pill.classList.add("focus-pill");
      pill.setAttribute("aria-pressed", String(chosen.includes(code)));
      pills.append(pill);
    });
    const field = element("div", "focus-field", element("span", "focus-label", label), pills);
    if (decision === "approve") field.append(this.complaints());
    return field;
  }

  complaints() {
    this.errors = element("p", "focus-error");
    this.errors.setAttribute("role", "alert");
    return this.errors;
  }

  isAsked(decision) {
    return this.painted.look.needs.includes(decision);
  }

  // What was chosen of the reasons that the decision can be given.
  chosen(decision) {
    const offered = (this.painted.look.reasons[decision] ?? []).map(([code]) => code);
    return (this.drafts[nameOf(this.painted)]?.codes ?? []).filter((code) => offered.includes(code));
  }

  // A button of the bar, and its key; what is free may be pressed again on the same item, what is harmless at once.
  button(text, key, press, { isPrimary = false, isQuiet = false, isFree = false, isHarmless = false, tone = "" } = {}) {
    const made = element("button", ["focus-button", isPrimary && "primary", isQuiet && "quiet", tone].filter(Boolean).join(" "));
    made.type = "button";
    made.append(element("span", "", text));
    if (key.length === 1 || key === "Ctrl+Enter" || key === "Escape") {
      const hint = element("kbd", "", key === "Ctrl+Enter" ? "Ctrl ↵" : written(key));
      hint.setAttribute("aria-hidden", "true");
      made.append(hint);
      made.setAttribute("aria-keyshortcuts", key === "Ctrl+Enter" ? "Control+Enter" : written(key));
    }
    made.does = { key, press, isFree, isHarmless, text };
    made.addEventListener("click", (event) => {
      if (event.detail > 1) return; // The second half of a double click was meant for what stood there before.
      this.pressOnce(made);
    });
    return made;
  }

  pressOnce(button) {
    const { key, press, isFree, isHarmless } = button.does;
    if (button.disabled || (performance.now() - this.paintedAt < SETTLE_MS && !isHarmless)) return;
    if (this.pressed.has(key) && !isFree) return;
    this.pressed.add(key);
    press();
  }

  // ---- What the reviewer does

  modeOf(painted) {
    return this.drafts[nameOf(painted)]?.mode ?? "choose";
  }

  draftOf(painted) {
    const name = nameOf(painted);
    this.drafts[name] ??= { mode: "choose", codes: [], texts: {}, isOpened: false, at: 0 };
    return this.drafts[name];
  }

  isOpened() {
    return !this.painted.look.hidden || Boolean(this.drafts[nameOf(this.painted)]?.isOpened);
  }

  open() {
    this.draftOf(this.painted).isOpened = true;
    this.keep();
    this.drawArgs();
    this.drawBar();
  }

  turn(mode) {
    this.draftOf(this.painted).mode = mode;
    this.changed(this.painted);
    this.drawBar();
    if (mode === "choose") this.item.focus({ preventScroll: true });
  }

  toggle(code, pill) {
    const draft = this.draftOf(this.painted);
    const isOn = !draft.codes.includes(code);
    draft.codes = isOn ? [...draft.codes, code] : draft.codes.filter((each) => each !== code);
    pill.setAttribute("aria-pressed", String(isOn));
    this.changed(this.painted);
  }

  approve() {
    if (this.isAsked("approve") && !this.chosen("approve").length) {
      this.errors.textContent = SENTENCES.codes;
      return;
    }
    this.decide({ type: "approve" });
  }

  finish(mode) {
    const draft = this.draftOf(this.painted);
    const text = (draft.texts[mode] ?? "").trim();
    const codes = this.chosen(mode);
    const isSaid = text || (mode === "reject" && codes.length);
    if (!isSaid || (this.isAsked(mode) && !codes.length)) {
      this.errors.textContent = isSaid ? SENTENCES.codes : SENTENCES[mode];
      return;
    }
    if (mode === "ask") return this.hand("ask", { text });
    this.decide(mode === "reject" ? { type: "reject", message: text || null } : { type: "respond", message: text });
  }

  decide(decision) {
    this.leave("decide", { decision, codes: this.chosen(decision.type), typed: decision.message ?? "" });
  }

  // Hands over what ends the look, and goes on to the item that is held ahead.
  leave(act, more = {}) {
    const name = nameOf(this.painted);
    this.put(act, { ...more, draft: this.drafts[name], is_opened: this.isOpened() });
    // It may come back: what was typed is with the server by then, whatever becomes of this browser.
    this.save({ isLast: true });
    delete this.drafts[name];
    this.keep();
    this.show();
    setTimeout(() => this.send());
  }

  pause() {
    this.put("pause");
    this.show();
    setTimeout(() => this.send());
  }

  hand(act, more = {}) {
    if (act === "ask" && this.outbox.some((entry) => entry.act === "ask" && entry.item === this.painted.item)) return;
    this.put(act, more);
    this.keep();
    if (!this.painted) this.show();
    // What the page draws next instead of this surface begins with what was typed here.
    if (TURNS.has(act) && this.unsaved.size) this.save().finally(() => this.send());
    else setTimeout(() => this.send());
  }

  put(act, more = {}, of = this.looked()) {
    this.outbox.push({ id: fresh(), act, at: Date.now(), tries: 0, ...of, ...more });
    this.count();
  }

  looked() {
    const { painted } = this;
    return painted && {
      key: painted.key,
      name: painted.look.name,
      item: painted.item,
      version: painted.version,
      epoch: painted.look.epoch,
      digest: painted.look.digest,
      dwell_ms: Math.round(performance.now() - this.lookedAt),
      session: this.session,
    };
  }

  send() {
    if (this.outbox.length) this.exchange();
  }

  // Hands over what the outbox holds, and takes in what the server says; without an outbox it says only what is new.
  // One at a time, so that nothing overtakes what was pressed before it.
  async exchange() {
    this.askedAt = performance.now();
    this.isToSend = Boolean(this.exchanging);
    if (this.isToSend) return;
    if (this.isByPage && !this.outbox.length) return this.redraw();
    const sent = this.outbox.slice(0, MOST_SENT);
    for (const entry of sent) entry.tries += 1;
    // The rest of an entry is for this browser alone.
    const outbox = sent.map(({ id, act, item, version, epoch, digest, session, decision, codes, text, dwell_ms, is_opened, tries }) => ({
      id, act, tries,
      ...(item && { item, version, epoch, digest, dwell_ms, session }),
      ...(decision && { decision }), ...(codes && { codes }), ...(text && { text }), ...(is_opened && { is_opened }),
    }));
    if (this.isByPage) return this.setStateValue("outbox", outbox);
    this.exchanging = this.answerTo({ outbox, knows: [...this.looks.keys()] });
    const { status, data, text } = await this.exchanging;
    this.exchanging = null;
    if (this.life.signal.aborted) return;
    if (status === 200) this.hear(data);
    else if (status === 400 || status === 413) this.acknowledge(Object.fromEntries(sent.map(({ id }) => [id, { ok: false, tone: "bad", text }])));
    // Signed out, or in other roles: the page knows what to draw.
    else if ([401, 403, 409].includes(status)) this.redraw();
    else if (status > 400 && status < 500) this.goByPage();
    if (this.isToSend || (status === 200 && this.outbox.some((entry) => !sent.includes(entry)))) this.exchange();
  }

  // The route led nowhere, or to a server that does not know this tab: one that began anew, or another than the page's.
  // The page's own connection leads to the right one, by a run of the page for each press.
  goByPage() {
    this.isByPage = true;
    this.exchange();
  }

  async answerTo(sent) {
    try {
      const answer = await fetch(`/sittings/${this.session}`, {
        method: "POST", body: JSON.stringify(sent), headers: { "Content-Type": "application/json" },
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const { status } = answer;
      return status === 200 ? { status, data: await answer.json() } : { status, text: await answer.text() };
    } catch {
      return { status: 0 }; // No way to the server just now; it is tried again until there is one.
    }
  }

  // Lets the page run: what is to be drawn otherwise, it finds out by itself.
  redraw() {
    this.setStateValue("redraw", fresh());
  }

  // ---- What is said

  tell(text) {
    const said = element("p", "so-flash", text);
    said.setAttribute("role", "status");
    this.flash.replaceChildren(said);
  }

  notify(tone, text, { about, typed, item } = {}) {
    this.notices = [...this.notices, { tone, text, about, typed, item }].slice(-NOTICES_KEPT);
    this.drawNotices();
  }

  drawNotices() {
    this.notes.replaceChildren(
      ...this.notices.map((notice) => {
        const made = element("div", `so-notice so-notice-${notice.tone} focus-notice`);
        made.setAttribute("role", notice.tone === "bad" ? "alert" : "status");
        const words = element("div", "focus-notice-words", element("p", "", notice.text));
        if (notice.about) words.prepend(element("p", "so-plain so-strong", notice.about));
        if (notice.typed) words.append(element("p", "so-plain focus-typed", `You had written: ${notice.typed}`));
        const shut = element("button", "focus-button quiet", "Dismiss");
        shut.type = "button";
        shut.addEventListener("click", () => this.dismiss(notice));
        made.append(words, shut);
        return made;
      }),
    );
    this.fit();
  }

  dismiss(notice) {
    this.notices = this.notices.filter((each) => each !== notice);
    this.drawNotices();
  }

  turnSheet() {
    if (this.sheet.open) return this.sheet.close();
    const list = element("dl");
    const buttons = [...this.root.querySelectorAll("button")].filter(({ does, disabled }) => does && !disabled && does.key !== "earlier");
    const keys = buttons.map(({ does }) => [does.key, does.text]);
    keys.sort(([one], [other]) => (one === "?") - (other === "?"));
    for (const [key, does] of keys) {
      const name = element("dt", "", ...key.split("+").map((part) => element("kbd", "", written(part))));
      list.append(element("div", "", name, element("dd", "", key === "?" ? "Show or hide these keys" : does)));
    }
    const shut = element("button", "focus-button", "Close");
    shut.type = "button";
    shut.addEventListener("click", () => this.sheet.close());
    const plain = element("button", "focus-button quiet", "Plain view, without this surface");
    plain.type = "button";
    plain.addEventListener("click", () => {
      this.sheet.close();
      this.hand("plain");
    });
    this.sheet.replaceChildren(element("h2", "", "Keys"), list, element("div", "focus-row", shut, plain));
    this.sheet.onclick = (event) => event.target === this.sheet && this.sheet.close(); // The ground around it.
    this.sheet.showModal();
  }

  // ---- Keys

  struck(event) {
    const key = named(event);
    const target = event.composedPath()[0];
    // A button that is held down by its key counts once, too.
    if (event.repeat && !isText(target) && ["Enter", " "].includes(event.key)) return event.preventDefault();
    if (key === null || event.isComposing || !document.hasFocus()) return;
    if (this.sheet.open && key !== "?") return; // Escape closes it by itself.
    const typing = isText(target);
    if (typing && key === "Escape" && target.value && !isCovered()) {
      target.blur();
      event.stopImmediatePropagation();
      return;
    }
    if ((typing && key !== "Ctrl+Enter" && key !== "Escape") || isCovered()) return;
    const button = [...this.root.querySelectorAll("button")].find(({ does }) => does?.key === key);
    if (!button && !(key === "n" && this.notices.length)) return;
    event.stopImmediatePropagation(); // Streamlit has keys of its own, such as R for running the page again.
    event.preventDefault();
    if (event.repeat) return;
    if (key === "?") this.turnSheet();
    else if (button) this.pressOnce(button);
    else this.dismiss(this.notices[0]);
  }

  // ---- Time

  leftOf({ left_ms: leftMs }) {
    return leftMs - (performance.now() - this.heardAt);
  }

  tick() {
    this.drawClocks();
    const quiet = performance.now() - this.askedAt;
    const patience = this.outbox.length ? RESEND_MS : this.painted ? NEWS_MS : EMPTY_NEWS_MS;
    if (this.session && !this.exchanging && quiet > patience && !(this.isByPage && isRunning())) this.exchange();
    if (this.unsaved.size) this.saveSoon();
    const count = this.outbox.length;
    const words = this.isLate() ? `${count === 1 ? "One press is" : `${count} presses are`} not confirmed yet; kept here and sent again until ${count === 1 ? "it is" : "they are"}.` : "";
    if (this.late.textContent !== words) this.late.textContent = words;
  }

  isLate() {
    return this.outbox.some(({ at, act }) => LASTS.has(act) && Date.now() - at > LATE_MS);
  }

  drawClocks() {
    const now = Date.now() + (this.skew ?? 0);
    for (const time of this.root.querySelectorAll("time[datetime]")) {
      const words = ago((now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== words) time.textContent = words;
    }
    if (!this.painted) return;
    const left = this.leftOf(this.painted);
    const seconds = Math.ceil(left / 1000);
    const words = left <= 0 ? "Your hold has lapsed" : `Yours for ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    if (this.hold.textContent !== words) this.hold.textContent = words;
    this.hold.dataset.state = left <= 0 ? "over" : left < HOLD_SOON_MS ? "soon" : "long";
  }

  // The surface fills what the page leaves of the window, so that the bar stands still and each side scrolls by itself.
  fit() {
    const top = this.root.getBoundingClientRect().top + (document.querySelector('[data-testid="stMain"]')?.scrollTop ?? 0);
    this.root.style.setProperty("--focus-top", `${Math.round(top)}px`);
  }

  // ---- What outlives a reload of the page, in this tab and for this person alone

  get storeKey() {
    return `signoff.review.${this.data.person}`;
  }

  remember() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.storeKey) ?? "{}");
      this.outbox = Array.isArray(kept.outbox) ? kept.outbox : [];
      this.drafts = kept.drafts ?? {};
    } catch {
      this.outbox = [];
    }
  }

  keep() {
    const names = Object.keys(this.drafts);
    for (const name of names.slice(0, Math.max(names.length - DRAFTS_KEPT, 0))) delete this.drafts[name];
    const lasting = this.outbox.filter(({ act }) => LASTS.has(act));
    try {
      sessionStorage.setItem(this.storeKey, JSON.stringify({ outbox: lasting, drafts: this.drafts }));
    } catch {
      // A full or forbidden store loses nothing as long as the page stays open.
    }
  }

  // ---- What outlives the browser: the same drafts, kept by the server

  changed(painted) {
    this.draftOf(painted).at = Math.round(Date.now() + this.skew);
    this.unsaved.add(nameOf(painted));
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.keep(), 200);
    this.saveSoon();
  }

  saveSoon() {
    this.saveTimer ??= setTimeout(() => {
      this.saveTimer = null;
      this.save();
    }, SAVE_MS);
  }

  // The page may never come back: what is typed goes out now, if need be beside what is on its way.
  leaveOpen() {
    if (!this.data) return;
    this.keep();
    this.save({ isLast: true });
  }

  async save({ isLast = false } = {}) {
    if (this.isSaving && !isLast) return this.isSaving;
    const names = [...this.unsaved].filter((name) => this.drafts[name]);
    this.unsaved.clear();
    const sending = Promise.all(names.map((name) => this.saveOne(name, isLast))).finally(() => {
      if (this.isSaving === sending) this.isSaving = null;
    });
    this.isSaving = sending;
    return sending;
  }

  async saveOne(name, isLast) {
    const { at, mode, codes, texts } = this.drafts[name];
    const typed = { at, mode, codes: codes.length ? codes : null };
    for (const [form, kept] of Object.entries(TEXT_NAMES)) typed[kept] = texts[form] || null;
    try {
      const answer = await fetch(`/drafts/${name.replace(".", "/")}`, {
        method: "PUT", body: JSON.stringify(typed), headers: { "Content-Type": "application/json" }, keepalive: isLast,
      });
      if (answer.status >= 500) this.unsaved.add(name);
    } catch {
      this.unsaved.add(name); // No way to the server just now; it is tried again until there is one.
    }
  }

  // Of what was typed here and elsewhere, in another browser or before, the newest is what counts, on both sides.
  takeDrafts() {
    for (const [name, kept] of Object.entries(this.data.drafts)) {
      const texts = Object.fromEntries(Object.entries(TEXT_NAMES).map(([form, of]) => [form, kept[of] ?? ""]));
      const mode = Object.hasOwn(FORMS, kept.mode) ? kept.mode : "choose";
      this.take(name, { at: kept.at ?? 0, mode, codes: kept.codes ?? [], texts });
      const here = this.drafts[name];
      if (here?.at > (kept.at ?? 0) && !this.unsaved.has(name)) {
        this.unsaved.add(name);
        this.saveSoon();
      }
    }
  }

  take(name, draft) {
    const here = this.drafts[name];
    if (here && here.at >= draft.at) return;
    this.drafts[name] = { ...draft, isOpened: here?.isOpened ?? draft.isOpened ?? false };
    const isPainted = this.painted && nameOf(this.painted) === name;
    if (isPainted && !this.bar.contains(document.activeElement)) this.drawBar();
  }
}

export default function focus({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".focus");
  root.surface ??= new Surface(root);
  root.surface.setStateValue = setStateValue;
  root.surface.hear(data);
  return () => root.surface.end();
}
