"""The pages that stand before the console, each whole in itself, in its face: signing in, and what refuses it."""

from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

from pages.rendering import Markup, element

_HERE = Path(__file__).parent
_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signoff</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>"""
_BODY = '</style></head><body class="stApp so-doorstep">'


@cache
def _style() -> str:
    return "".join((_HERE / name).read_text() for name in ("theme.css", "doorstep.css"))


@cache
def _wordmark() -> Markup:
    return Markup((_HERE / "wordmark.svg").read_text())


def door(title: str, *parts: Markup) -> Markup:
    """Return what stands before the console: one title, and what can be done about it."""
    return element("section", element("h1", title), *parts, class_="so-door")


def door_page(title: str, *parts: Markup, status: int = 200, leads_to: str = "") -> HTMLResponse:
    """Return the answer with a whole page of that under the house's name, which nobody keeps.

    With ``leads_to`` the browser goes on to that address by itself.
    """
    main = element("main", _wordmark(), door(title, *parts))
    going = element("meta", http_equiv="refresh", content=f"0;url={leads_to}") if leads_to else ""
    page = f"{_HEAD}{_style()}{_BODY}{going}{main}</body></html>"
    return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})
