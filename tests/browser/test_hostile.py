"""Hostile content: whatever an agent writes is text on every screen; it loads nothing, runs nothing, hides nothing."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agents.protocol import Action, ActionRequest, Approve, ContextEntry, ContextKind, Impact, Reject, Usage
from agents.protocol import Run as RunInfo
from pages.rendering import visible
from tests.browser.agent import WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import PATIENCE_MS, Visitor
from tests.builders import a_request

pytestmark = pytest.mark.browser

FOREIGN = "http://foreign.example"
PAYLOADS = (
    f"![picture]({FOREIGN}/md.png)",
    f"[![both]({FOREIGN}/both.png)]({FOREIGN}/)",
    f"[press me]({FOREIGN}/press)",
    "[press me](javascript:alert(1))",
    f"<img src={FOREIGN}/img.png onerror=alert(2)>",
    "<img src=x onerror=\"alert('3')\">",
    "<script>alert(4)</script>",
    f'<script src="{FOREIGN}/evil.js"></script>',
    '<iframe srcdoc="<script>parent.alert(5)</script>"></iframe>',
    f'<iframe src="{FOREIGN}/frame"></iframe>',
    "<svg onload=alert(6)><circle r=9 /></svg>",
    f'<svg><image href="{FOREIGN}/svg.png" /></svg>',
    f'<form action="{FOREIGN}/form"><button>Approve all</button></form>',
    f"<style>@import url({FOREIGN}/style.css); * {{ display: none }}</style>",
    f'<link rel=stylesheet href="{FOREIGN}/link.css">',
    f'<meta http-equiv="refresh" content="0;url={FOREIGN}/meta">',
    f'<object data="{FOREIGN}/object"></object><embed src="{FOREIGN}/embed">',
    f'<video src="{FOREIGN}/video.mp4" autoplay poster="{FOREIGN}/poster.png"></video>',
    f'<base href="{FOREIGN}/"><a href="javascript:alert(7)">here</a>',
    f'<div style="background:url({FOREIGN}/back.png);position:fixed;inset:0">over all</div>',
    "</div></section></template><details open ontoggle=alert(8)>",
    "<a href='data:text/html,<script>alert(9)</script>'>data</a>",
    "{{constructor.constructor('alert(10)')()}} ${alert(11)} #{7*7}",
    "$$\\href{javascript:alert(12)}{x}$$ :material/delete: :red[red] :smile: `code`",
    '=HYPERLINK("http://foreign.example/sheet","open") +cmd|calc @SUM(1)',
    "paid to \u202egnp.exe\u202c and \u2066isolated\u2069",
    "zero\u200bwidth\u2060joined\ufeff soft\u00adhyphen",
    "pay\u0440al.com and \u0430pple.com",
    "bell\u0007 escape\u001b[31m null-like\u2400 tag\U000e0041",
    f"{FOREIGN}/bare-link and www.foreign.example and mailto:a@foreign.example",
    "H\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 tall",
    "w" * 3_000,
)
CHUNKS = 3
HIDING = tuple(
    map(
        chr,
        (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xAD, 0x61C, 0x180E, 0xFEFF, 0xE0041),
    )
)
_BLANK = (
    "\u115f",
    "\u3164",
    "\uffa0",
    "\u2800",
    "\u034f",
    "\ufe0f",
    "\U000e0100",
    "\u17b4",
    "\u2028",
    "\u2029",
    "\x1b",
    "\x08",
)
_TAGS = (
    *("a", "audio", "base", "body", "button", "details", "embed", "form", "frame", "iframe", "img", "input", "link"),
    *("marquee", "math", "meta", "object", "script", "select", "style", "svg", "template", "textarea", "video"),
)
_ENDINGS = ("", "</div></div>", "</textarea>", "</style>", "-->", "]]>")
_SCHEMES = (
    "javascript:alert(%d)",
    "JaVaScRiPt:alert(%d)",
    "data:text/html,<script>alert(%d)</script>",
    "vbscript:alert(%d)",
)
_MARKDOWN = (
    *(
        "![{n}]({url})",
        "[{n}]({url})",
        "[{n}]: {url}",
        "<{url}>",
        "# {n} {url}",
        "> {n} {url}",
        "`{n}` {url}",
        "|{n}|{url}|",
    ),
    *(
        "- [ ] {n} {url}",
        "***{n}*** {url}",
        "~~{n}~~ {url}",
        "[^{n}]: {url}",
        ":red[{n}] {url}",
        ":material/{n}: {url}",
    ),
    *("$\\href{{{url}}}{{{n}}}$", "![{n}]({url} 'title')", "[![{n}]({url})]({url})", "<img src='{url}'>{n}"),
)
# Each tag that loads or runs, each way out of where it might stand, each hiding code point, each way of Markdown.
MANY = (
    *(
        f'{ending}<{tag} src="{FOREIGN}/{tag}{number}" href="{FOREIGN}/{number}" onerror=alert({number}) autofocus>'
        for number, ending in enumerate(_ENDINGS)
        for tag in _TAGS
    ),
    *(f'<{tag} style="background:url({FOREIGN}/s-{tag})" onload=alert(0) onfocus=alert(1)>' for tag in _TAGS),
    *(f"<a href='{scheme % number}'>{number}</a>" for number in range(10) for scheme in _SCHEMES),
    *(form.format(n=f"m{number}", url=f"{FOREIGN}/m{number}") for number, form in enumerate(_MARKDOWN)),
    *(f"pay{character}pal {ord(character):x}" for character in (*HIDING, *_BLANK)),
    *(f"{one}pple.com {number}" for number, one in enumerate("\u0430\u03b1\u0251\u0410\u0391\u13aa\uff41")),
    *(f"%3Cscript%3Ealert({number})%3C/script%3E &#60;img src={FOREIGN}/e{number}&#62;" for number in range(24)),
)
SHORT = tuple(payload[:256] for payload in PAYLOADS)
# What hides in these must stand on the screen as an escape, or as the names of the scripts that a word mixes.
UNCOVERED = ("⟨U+202E⟩", "⟨U+2066⟩", "⟨U+200B⟩", "⟨U+00AD⟩", "⟨U+0007⟩", "⟨U+E0041⟩", "⟨mixes Cyrillic and Latin⟩")
SCREENS = ("/queue", "/history", "/labels", "/audit", "/agents", "/policy")
MADE_OF_TEXT = (
    "iframe, object, embed, video, base, meta[http-equiv], link[href*='foreign'], svg image, details[ontoggle],"
    "img[src*='foreign'], a[href*='foreign'], a[href^='javascript'], a[href^='data'], form[action*='foreign'],"
    "script[src*='foreign'], [onerror], [onload]"
)


def hostile(place: int) -> ActionRequest:
    """Return a request with every payload in its lists and maps, and one of them in each single field."""
    text, short = PAYLOADS[place], SHORT[place]
    args: dict[str, Any] = {f"argument_{number}": payload for number, payload in enumerate(PAYLOADS)}
    args |= dict.fromkeys(SHORT, "named so")
    args["nested"] = {"list": list(SHORT), "map": {payload: [payload] for payload in SHORT[:4]}}
    properties: dict[str, Any] = {
        name: {"title": short, "description": text, "examples": [text], "default": text} for name in args
    }
    properties["argument_0"]["enum"] = list(PAYLOADS)
    context = [
        ContextEntry(kind=kind, role=payload[:200], title=payload[:200], content=payload, media_type=short)
        for kind in ContextKind
        for payload in PAYLOADS
    ]
    return ActionRequest(
        action=Action(name="publish_copy", args=args),
        confidence=0.5,
        confidence_source=short,
        description=text,
        rationale="\n".join(PAYLOADS),
        args_schema={"type": "object", "title": short, "description": text, "properties": properties},
        context=tuple(context),
        impact=Impact(amount="1.00", currency="EUR", subject=short),
        usage=Usage(model=short),
        run=RunInfo(framework=short, thread_id=short, run_id=short),
        agent_version=short,
        prompt_version=short,
        metadata={payload: payload for payload in SHORT},
    )


def shown_text(page: Page) -> str:
    text: str = page.evaluate("document.body.innerText")
    return text


def is_text_only(visitor: Visitor) -> None:
    visitor.wait()
    expect(visitor.page.get_by_test_id("stMain").locator(MADE_OF_TEXT)).to_have_count(0)


def test_the_review_shows_every_payload_as_text(ada: Visitor, agent: WorkingAgent) -> None:
    agent.proposes(hostile(0))
    ada.sees("wants to publish copy")
    ada.look()
    ada.page.get_by_role("button", name="hidden characters").click()
    expect(ada.button("Approve")).to_be_enabled()
    ada.press("Reveal")
    expect(ada.button("Reveal")).to_have_count(0)
    is_text_only(ada)
    ada.page.locator("details").evaluate_all("folds => folds.forEach(fold => { fold.open = true; })")

    shown = shown_text(ada.page)

    is_text_only(ada)
    missing = [payload for payload in PAYLOADS if visible(payload) not in shown]
    assert missing == []
    assert [mark for mark in UNCOVERED if mark not in shown] == []
    assert "\u202e" not in shown


@pytest.mark.parametrize("place", range(0, len(PAYLOADS), 4))
def test_a_payload_in_every_single_field_is_text(ada: Visitor, agent: WorkingAgent, place: int) -> None:
    agent.proposes(hostile(place))
    ada.sees("wants to publish copy")

    is_text_only(ada)
    shown = shown_text(ada.page)
    assert shown.count(visible(SHORT[place])) >= 3
    assert "\u202e" not in shown


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_three_hundred_more_payloads_are_text(ada: Visitor, agent: WorkingAgent, chunk: int) -> None:
    payloads = MANY[chunk::CHUNKS]
    entries = [ContextEntry(kind=ContextKind.MESSAGE, role="user", content=payload) for payload in payloads]
    agent.proposes(
        ActionRequest(
            action=Action(name="publish_copy", args={f"a{number}": payload for number, payload in enumerate(payloads)}),
            description="\n".join(payloads),
            context=tuple(entries),
        )
    )
    ada.sees("wants to publish copy")
    ada.look()
    ada.page.get_by_role("button", name="hidden characters").click()
    expect(ada.button("Approve")).to_be_enabled()

    shown = shown_text(ada.page)

    is_text_only(ada)
    assert len(MANY) >= 300
    assert [payload for payload in payloads if shown.count(visible(payload)) < 3] == []
    assert [character for character in HIDING if character in shown] == []


def test_the_forms_show_every_payload_as_text(ada: Visitor, agent: WorkingAgent) -> None:
    agent.proposes(hostile(1).model_copy(update={"context": ()}))
    ada.sees("wants to publish copy")

    ada.press("Reveal")
    ada.press("Edit")
    # Hundreds of fields: more than any tool has, and more than a busy machine draws in half a minute.
    first = ada.page.get_by_role("textbox", name="argument 1", exact=True)
    expect(first).to_have_value(PAYLOADS[1], timeout=4 * PATIENCE_MS)
    ada.wait(patience_ms=4 * PATIENCE_MS)
    is_text_only(ada)
    ada.page.get_by_text("JSON", exact=True).click()
    written = ada.page.get_by_role("textbox", name="Arguments as JSON")
    expect(written).to_be_visible()

    assert json.loads(written.input_value()) == hostile(1).action.args
    is_text_only(ada)
    ada.press("Back")
    ada.press("Ask the agent")
    is_text_only(ada)


def test_the_other_screens_show_payloads_as_text(ada: Visitor, house: House, agent: WorkingAgent) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    for subject in SHORT:
        request = a_request(impact=Impact(subject=subject))
        house.decide(agent.proposes(request), Reject(message=subject))
        agent.proposes(request)
    whole = agent.proposes(hostile(0))
    house.decide(whole, Approve())

    for path in (*SCREENS, f"/history?item={whole}"):
        ada.open(path)
        ada.reads_title("")
        is_text_only(ada)
        assert "\u202e" not in shown_text(ada.page)
