"""Keys for the buttons of a screen: a press of a key presses the button, guarded in the browser.

A key that is held down counts once, as does one press of each key on what is painted; nothing counts sooner than
300 ms after painting, while a dialog is open, or while text is being typed. ``?`` shows the keys.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pages.components import component

_HTML = '<button class="hint" type="button">Keys <kbd>?</kbd></button><dialog aria-label="Keys"></dialog>'


@dataclass(frozen=True, slots=True)
class Key:
    """A key as ``KeyboardEvent.key`` gives it, the widget it presses, and what that does in a few words.

    ``number`` chooses among the widget's buttons, from 0. ``Ctrl+Enter`` works while typing, too, and takes what was
    typed with it; ``Escape`` first leaves the text.
    """

    key: str
    widget: str
    does: str
    number: int = 0


def widget_class(widget: str) -> str:
    """Return the CSS class by which Streamlit marks the widget of this key."""
    return "st-key-" + re.sub(r"[^a-zA-Z0-9_-]", "-", widget.strip())


def show_keys(name: str, keys: Sequence[Key], *, painted: str) -> None:
    """Let the keys press their buttons; ``painted`` names what stands on the screen, so that a press is for that."""
    shown = [{**asdict(key), "widget": widget_class(key.widget)} for key in keys]
    component("keyboard", _HTML)(key=name, data={"keys": shown, "painted": painted}, width="content")
