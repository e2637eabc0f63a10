// A list whose rows may be pressed. Every word becomes a text node, so nothing that an agent wrote is ever markup.

const TICK_MS = 1000;
const AGAIN_MS = 2000; // A press that the page has not answered by then, and no longer works on, is told once more.
const TRIES = 10;
const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
];

function span(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  const whole = Math.floor(seconds / size);
  const smaller = UNITS[UNITS.findIndex(([name]) => name === unit) + 1];
  const rest = smaller && whole < 10 ? Math.floor((seconds - whole * size) / smaller[1]) : 0;
  return rest ? `${whole} ${unit} ${rest} ${smaller[0]}` : `${whole} ${unit}`;
}

function told(kind, at, now) {
  const seconds = Math.round((at - now) / 1000);
  if (kind === "due") return seconds < 0 ? [`${span(-seconds)} over`, "bad"] : [`in ${span(seconds)}`, seconds < 900 ? "warn" : ""];
  if (kind === "left") return seconds < 0 ? ["lapsed", "warn"] : [`${span(seconds)} left`, ""];
  return [seconds > -2 ? "now" : `${span(-seconds)} ago`, ""];
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function clocked(kind, at) {
  const time = element("time", "clock");
  time.dateTime = at;
  time.title = `${new Date(at).toLocaleString()}\n${at}`;
  time.dataset.kind = kind;
  return time;
}

function filled(cell, column) {
  const parts = [];
  const tone = cell.tone ?? "";
  if (cell.at && column.kind !== "chip") parts.push(clocked(column.kind === "text" ? "ago" : column.kind, cell.at));
  if (cell.text) parts.push(element("span", column.kind === "chip" ? `chip ${tone}` : `main ${tone}`, cell.text));
  if (cell.snippet) {
    const [before, found, after] = cell.snippet;
    const place = element("span", "main quiet", before);
    place.append(element("mark", "", found), after);
    parts.push(place);
  }
  if (cell.under) parts.push(element("span", "under", cell.under));
  return parts;
}

function line(row, columns, press, anyActs) {
  const made = element("tr", row.current ? "current" : "");
  for (const column of columns) {
    const cell = element("td", column.kind);
    cell.dataset.label = column.label;
    const parts = filled(row.cells[column.name] ?? {}, column);
    if (!parts.length) cell.classList.add("empty");
    cell.append(...parts);
    made.append(cell);
  }
  if (!anyActs) return made;
  const last = element("td", "act");
  if (row.act) {
    last.append(pressable(row, "act"));
    made.classList.add("open");
    made.addEventListener("click", () => {
      if (!window.getSelection()?.toString()) press(row.id, "act");
    });
  }
  if (row.more) {
    const more = pressable(row, "more");
    more.addEventListener("click", (event) => {
      event.stopPropagation();
      press(row.id, "more");
    });
    last.append(more);
  }
  made.append(last);
  return made;
}

function pressable(row, part) {
  const button = element("button", part, row[part]);
  button.type = "button";
  button.dataset.row = row.id;
  button.setAttribute("aria-label", `${row[part]}: ${row.name}`);
  return button;
}

// The arrows go from row to row, to the button of the same kind.
function step(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const here = event.target.closest("button");
  if (!by || !here || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const alike = [...event.currentTarget.querySelectorAll(`button.${here.className}`)];
  const next = alike[alike.indexOf(here) + by];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

function focusOn(root, id, part) {
  root.querySelector(`button.${part}[data-row="${CSS.escape(id)}"]`)?.focus();
}

function heading(columns, anyActs) {
  const head = element("thead");
  const titles = element("tr");
  for (const column of columns) {
    const title = element("th", column.kind, column.label);
    title.scope = "col";
    titles.append(title);
  }
  if (anyActs) {
    const last = element("th", "act");
    last.append(element("span", "unseen", "Action"));
    titles.append(last);
  }
  head.append(titles);
  return head;
}

function paint(root, data, focused, part) {
  const anyActs = data.rows.some((row) => row.act || row.more);
  const table = element("table");
  table.append(element("caption", "unseen", data.caption), heading(data.columns, anyActs));
  const body = element("tbody");
  body.append(...data.rows.map((row) => line(row, data.columns, (id, part) => root.press(id, part), anyActs)));
  body.addEventListener("keydown", step);
  table.append(body);
  root.replaceChildren(table);
  if (focused) focusOn(root, focused, part);
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".list");
  const skew = Date.parse(data.now) - Date.now();
  const tell = (press) => {
    root.untold = { ...press, tries: press.tries + 1, told: performance.now() };
    setStateValue("pressed", { id: press.id, part: press.part, at: press.at, tries: press.tries });
  };
  root.press = (id, part) => {
    if (performance.now() - root.painted < SETTLE_MS) return;
    tell({ id, part, at: Date.now(), tries: 0 });
    giveBack(root, () => focusOn(root, id, part));
  };
  if (root.untold?.at === data.answered) root.untold = null;

  // What is shown already stays as it is: a press on it would be lost with the old rows.
  const shown = JSON.stringify([data.caption, data.columns, data.rows]);
  const isNew = root.shown !== shown;
  if (isNew) {
    root.shown = shown;
    root.painted = performance.now();
    const focused = parentElement.activeElement;
    paint(root, data, focused?.dataset?.row, focused?.className);
  }

  const tick = () => {
    const { untold } = root;
    if (untold && untold.tries < TRIES && performance.now() - untold.told >= AGAIN_MS && !isRunning()) tell(untold);
    const now = Date.now() + skew;
    for (const time of root.querySelectorAll("time.clock")) {
      const [words, tone] = told(time.dataset.kind, Date.parse(time.dateTime), now);
      if (time.textContent !== words) time.textContent = words;
      if (time.className !== `clock ${tone}`) time.className = `clock ${tone}`;
    }
  };
  if (isNew) tick();
  clearInterval(root.ticking);
  root.ticking = setInterval(tick, TICK_MS);
  return () => clearInterval(root.ticking);
}
