"""A person at a browser: what they do on every screen, and what no page may ever make their browser do."""

import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    Response,
    WebError,
    expect,
)

from pages.headers import CONTENT_SECURITY_POLICY
from tests.browser.house import House
from tests.waiting import eventually

PATIENCE_MS = 60_000
# A press sooner than 300 ms after something appeared counts for what stood there before, and is refused.
A_LOOK_MS = 350
# Tells since when a page stands still: no element came or went, in components either, and no run began or ended.
STILLNESS = """(() => {
  window.stillSince = performance.now();
  const seen = (records) => {
    const isMoved = ({ type, addedNodes, removedNodes }) =>
      type === "attributes" || [...addedNodes, ...removedNodes].some((node) => node instanceof Element);
    if (records.some(isMoved)) window.stillSince = performance.now();
  };
  const watch = (root) => new MutationObserver(seen).observe(root, {
    subtree: true, childList: true, attributes: true, attributeFilter: ["data-test-script-state"],
  });
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) {
    const root = attach.call(this, options);
    watch(root);
    return root;
  };
  watch(document);
})()"""


class Watch:
    """Notes what a browser must never do on our pages; ``faults`` stays empty where all is well."""

    def __init__(self, url: str, context: BrowserContext) -> None:
        self.context = context
        self.faults: list[str] = []
        self._host = urlsplit(url).netloc
        self.known_hosts = {self._host}
        context.on("request", self._requested)
        context.on("response", self._answered)
        context.on("dialog", self._asked)
        context.on("weberror", self._failed)
        context.on("console", self._said)

    def end(self) -> None:
        """Close the tabs, forget who was signed in, and watch no longer."""
        for page in self.context.pages:
            page.close()
        self.context.clear_cookies()
        self.context.remove_listener("request", self._requested)
        self.context.remove_listener("response", self._answered)
        self.context.remove_listener("dialog", self._asked)
        self.context.remove_listener("weberror", self._failed)
        self.context.remove_listener("console", self._said)

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self.known_hosts:
            self.faults.append(f"asked for {request.url}")

    def _answered(self, response: Response) -> None:
        if urlsplit(response.url).netloc != self._host:
            return
        if response.headers.get("content-security-policy") != CONTENT_SECURITY_POLICY:
            self.faults.append(f"no security headers on {response.url}")

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    def _failed(self, error: WebError) -> None:
        self.faults.append(f"a script failed: {error.error}")

    def _said(self, message: ConsoleMessage) -> None:
        # What the policy stops never becomes a request, so the browser's own complaint is the sign of it.
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)


class Visitor:
    """Somebody in front of one tab."""

    def __init__(self, house: House, page: Page) -> None:
        self.house = house
        self.page = page

    def open(self, path: str = "/") -> None:
        """Go to an address of the console and wait until it is drawn."""
        self.page.goto(self.house.url + path)
        self.wait()

    def wait(self, *, patience_ms: float = PATIENCE_MS) -> None:
        """Wait until the page is drawn to its end, and every press in Review is confirmed."""
        idle = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        expect(self.page.locator(idle)).to_be_attached(timeout=patience_ms)
        unconfirmed = '.focus[data-unconfirmed]:not([data-unconfirmed="0"])'
        expect(self.page.locator(unconfirmed)).to_have_count(0, timeout=patience_ms)

    def look(self) -> None:
        """Look until the page stands still as long as a press needs to count."""
        until = time.monotonic() + PATIENCE_MS / 1000
        while (left := A_LOOK_MS - self._still_ms()) > 0 and time.monotonic() < until:
            self.page.wait_for_timeout(left)

    def press(self, name: str) -> None:
        """Look, then press the button of this name."""
        button = self.button(name)
        expect(button.last).to_be_enabled()
        self.look()
        button.click()

    def _still_ms(self) -> float:
        """Return for how many milliseconds the page has stood still, drawn to its end."""
        self.wait()
        return float(self.page.evaluate("performance.now() - window.stillSince"))

    def button(self, name: str) -> Locator:
        """Return the button of this name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def write(self, label: str, text: str, *, leaves: bool = True) -> None:
        """Write into the field of this name in place of what it held; with ``leaves`` go on to the next."""
        field = self.page.get_by_role("textbox", name=label, exact=True)
        field.fill(text)
        if leaves:
            field.press("Tab")
            self.wait()

    def go(self, screen: str) -> None:
        """Go to a screen by the navigation."""
        self.page.get_by_role("link", name=screen, exact=True).click()
        expect(self.page.get_by_role("heading", name=screen, level=1)).to_be_visible()
        self.wait()

    def choose(self, label: str, option: str) -> None:
        """Type an option into the selection of this name and take it."""
        field = self.page.get_by_role("combobox", name=label)
        field.fill(option)
        field.press("Enter")
        self.wait()

    def fits(self, width: int) -> None:
        """Expect the page, once it is laid out, to need no more than the width."""
        assert eventually(lambda: self.page.evaluate("document.documentElement.scrollWidth") <= width), self.page.url

    def reads_title(self, text: str) -> None:
        """Expect the text in the screen's one title; while a view gives way to another, two stand there."""
        titles = self.page.get_by_role("heading", level=1)
        expect(titles).to_have_count(1)
        expect(titles.first).to_contain_text(text)

    def sees(self, text: str) -> None:
        """Expect the text on the screen."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def another_tab(self, path: str = "/") -> "Visitor":
        """Open a second tab of the same browser."""
        other = Visitor(self.house, self.page.context.new_page())
        other.open(path)
        return other

    def downloaded(self, name: str, folder: Path) -> Path:
        """Press a download link and return where the file is kept."""
        with self.page.expect_download() as coming:
            self.page.get_by_role("link", name=name, exact=True).click()
        path = folder / coming.value.suggested_filename
        coming.value.save_as(path)
        return path
