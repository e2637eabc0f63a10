// What stands before the script of each of our components, which share it: whether a press counts now, and what a key is
// called; nothing presses sooner than somebody can have seen what they press, nor while they type or a dialog is open.

const SETTLE_MS = 300; // A press this soon after painting was meant for what stood there before.
const TEXTS = "textarea, select, [contenteditable]:not([contenteditable=false]), [role=combobox]";
const NOT_TEXT = ["button", "checkbox", "radio", "range", "submit", "reset", "file", "color"];

function isText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.tagName === "INPUT") return !NOT_TEXT.includes(target.type) || target.getAttribute("role") === "combobox";
  return target.closest(TEXTS) !== null;
}

// A calendar that is open holds back what was typed into its field: the page has it once the calendar is closed.
const COVERS =
  '[role="dialog"], [role="listbox"], [data-testid="stPopoverBody"], [data-testid="stDateInputCalendar"], ' +
  '[data-testid="stDateTimeInputCalendar"]';

function isCovered() {
  const covers = document.querySelectorAll(COVERS);
  return [...covers].some((each) => each.checkVisibility());
}

function named(event) {
  if (event.altKey) return null;
  if (event.key === "Enter") return event.ctrlKey || event.metaKey ? "Ctrl+Enter" : null;
  if (event.ctrlKey || event.metaKey) return null;
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function written(key) {
  if (key === "Escape") return "Esc";
  return key.length === 1 ? key.toUpperCase() : key;
}

// While the page runs, its answer may be on the way: what is told once more then begins the run anew, which closes
// dialogs, and a page that takes its time would never come to its end.
function isRunning() {
  return document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === "running";
}

// A dialog gives the focus back to what had it before. Where it knows no better than a whole list, or a menu that is shut
// by then, ``focus`` finds the button that it was opened from.
const OPENS_MS = 10000; // A press that has opened no dialog by then opened none.
const LOOK_MS = 100;

function giveBack(root, focus) {
  const until = performance.now() + OPENS_MS;
  let opened = false;
  clearInterval(root.returning);
  root.returning = setInterval(() => {
    const isOpen = Boolean(document.querySelector('[role="dialog"]'));
    opened ||= isOpen;
    if (isOpen || (!opened && root.isConnected && performance.now() < until)) return;
    clearInterval(root.returning);
    if (opened && root.isConnected && document.activeElement === document.body) focus();
  }, LOOK_MS);
}
