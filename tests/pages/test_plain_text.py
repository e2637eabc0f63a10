"""What an agent wrote reaches the screen by the one plain-text renderer: a page that draws it otherwise fails here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "pages"
# Only here is text made into HTML, every part of it escaped.
RENDERERS = {"rendering.py"}
# Calls that take HTML or Markdown, or draw text as such. Each may hold words of our own, written down in the call.
MARKED_UP = frozenset(
    {"html", "markdown", "write", "write_stream", "metric", "table", "help", "echo", "latex", "badge", "iframe"}
)
# Labels, messages and titles are Markdown as well; these may be composed, but of our own words and numbers alone.
LABELLED = frozenset(
    {
        *(
            "button",
            "link_button",
            "download_button",
            "popover",
            "expander",
            "tabs",
            "toast",
            "success",
            "info",
            "error",
        ),
        *(
            "warning",
            "exception",
            "title",
            "header",
            "subheader",
            "caption",
            "divider",
            "status",
            "spinner",
            "progress",
        ),
        *("dialog", "checkbox", "toggle", "radio", "page_link", "set_page_config", "form_submit_button"),
    }
)
# What agents write, and people to them: by these names it is read from an item, a label or an event.
THEIR_WORDS = frozenset(
    {
        *("args", "content", "context", "description", "error", "message", "metadata", "rationale", "result", "role"),
        *("subject", "proposed", "final", "draft", "edited_action", "confidence_source", "prompt_version"),
    }
)


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of Streamlit in the source, by the name of what is called."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node


def is_written_down(node: ast.expr, constants: frozenset[str]) -> bool:
    """Tell whether the text stands in the source: a literal, a constant of the module, or one of two such."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in constants
        case ast.IfExp(body=one, orelse=other):
            return is_written_down(one, constants) and is_written_down(other, constants)
        case ast.BinOp(left=one, right=other):
            return is_written_down(one, constants) and is_written_down(other, constants)
    return False


def constants_of(source: str) -> frozenset[str]:
    """Return the names that the module itself assigns; what agents write is not there yet when it does."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name) and target.id.isupper()}
    return frozenset(found)


def marked_up(source: str) -> list[str]:
    """Return the calls that would turn text which does not stand in the source into HTML or Markdown."""
    constants = constants_of(source)
    return [
        ast.unparse(call)
        for name, call in calls(source)
        if name in MARKED_UP
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "st"
        and not all(is_written_down(given, constants) for given in call.args)
    ]


def labelled_by_others(source: str) -> list[str]:
    """Return the calls whose labels or messages, which are Markdown, are made of what agents and people wrote."""
    return [
        ast.unparse(call)
        for name, call in calls(source)
        if name in LABELLED
        and any(map(_is_theirs, [*call.args, *(given.value for given in call.keywords if is_label(given))]))
    ]


def is_label(given: ast.keyword) -> bool:
    """Tell whether the argument is drawn, and not handed to a callback or kept as a key."""
    return given.arg in {"label", "body", "text", "help", "title", "placeholder", "caption", "options"}


def _is_theirs(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr in THEIR_WORDS for part in ast.walk(node))


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.py") if path.name not in RENDERERS))
def test_a_page_draws_no_text_as_html_or_markdown(page: str) -> None:
    source = (PAGES / page).read_text(encoding="utf-8")

    assert marked_up(source) == []
    assert labelled_by_others(source) == []
    assert "unsafe_allow_html" not in source
    assert "unsafe_allow_javascript" not in source


@pytest.mark.parametrize(
    "line",
    [
        "st.markdown(item.rationale)",
        "st.html(f'<b>{name}</b>')",
        "st.write(item)",
        "st.metric('Amount', item.amount)",
        "st.table(rows)",
        "st.markdown(ABOUT + item.title)",
    ],
)
def test_the_rule_finds_what_it_is_for(line: str) -> None:
    assert marked_up(f"ABOUT = 'ours'\n{line}\n") == [line]


@pytest.mark.parametrize("line", ["st.markdown(ABOUT)", "st.html('<hr>')", "draw(item.rationale)", "bar.progress(0.5)"])
def test_the_rule_leaves_our_own_words_alone(line: str) -> None:
    assert marked_up(f"ABOUT = 'ours'\n{line}\n") == []


@pytest.mark.parametrize("line", ["st.toast(item.request.rationale)", "bar.button('x', help=note.content)"])
def test_the_rule_finds_labels_of_others_words(line: str) -> None:
    assert labelled_by_others(line) == [line]
