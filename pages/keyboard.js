// Keys that press buttons of the page. They press only what is painted, once, and never while somebody types.

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function listed(keys) {
  const list = element("dl");
  for (const { key, does } of [...keys, { key: "?", does: "Show or hide these keys" }]) {
    const row = element("div");
    const name = element("dt");
    name.append(...key.split("+").map((part) => element("kbd", written(part))));
    row.append(name, element("dd", does));
    list.append(row);
  }
  return list;
}

function draw(sheet, keys) {
  const shut = element("button", "Close");
  shut.type = "button";
  shut.addEventListener("click", () => sheet.close());
  sheet.replaceChildren(element("h2", "Keys"), listed(keys), shut);
  sheet.onclick = (event) => {
    if (event.target === sheet) sheet.close(); // The ground around it.
  };
}

export default function keyboard({ data, parentElement }) {
  const sheet = parentElement.querySelector("dialog");
  if (sheet.painted !== data.painted) {
    sheet.painted = data.painted;
    sheet.paintedAt = performance.now();
    sheet.pressed = new Set();
  }
  const turn = () => {
    if (sheet.open) return sheet.close();
    draw(sheet, data.keys);
    sheet.showModal();
  };
  parentElement.querySelector(".hint").onclick = turn;

  const press = (each, event) => {
    const button = document.querySelectorAll(`.${CSS.escape(each.widget)} button`)[each.number];
    if (!button || button.disabled || !button.checkVisibility()) return;
    event.preventDefault();
    const isSettled = performance.now() - sheet.paintedAt >= SETTLE_MS;
    const isChoice = /^[1-9]$/.test(each.key);
    if (!isSettled || (sheet.pressed.has(each.key) && !isChoice)) return;
    sheet.pressed.add(each.key);
    // Leaving the text hands over what was typed, as it does where somebody goes on to the mouse.
    if (isText(event.composedPath()[0])) document.activeElement.blur();
    button.click();
  };

  const heard = (event) => {
    const key = named(event);
    if (key === null || event.isComposing || !document.hasFocus()) return;
    if (sheet.open && key !== "?") return; // Escape closes it by itself.
    const typing = isText(event.composedPath()[0]);
    if (typing && key === "Escape" && !isCovered()) {
      event.composedPath()[0].blur();
      event.stopImmediatePropagation();
      return;
    }
    if ((typing && key !== "Ctrl+Enter") || isCovered()) return;
    const each = data.keys.find((known) => known.key === key);
    if (!each && key !== "?") return;
    event.stopImmediatePropagation(); // Streamlit has keys of its own, such as R for running the page again.
    if (event.repeat) return;
    if (key === "?") turn();
    else press(each, event);
  };

  sheet.listening?.abort();
  sheet.listening = new AbortController();
  window.addEventListener("keydown", heard, { capture: true, signal: sheet.listening.signal });
  return () => sheet.listening.abort();
}
