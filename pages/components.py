"""Components of our own: a little HTML, with the style and the script that stand beside this file under its name.

What their scripts share stands in ``guards.js``, and is sent as the beginning of each.
"""

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer


@cache
def component(name: str, html: str, *, is_isolated: bool = True) -> ComponentRenderer:
    """Return the component of ``name.css`` and ``name.js``, registered once for the process.

    One that is not isolated has the styles of the page around it, and the page has its.
    """
    here = Path(__file__).with_name(name)
    scripts = here.with_name("guards.js"), here.with_suffix(".js")
    return st.components.v2.component(
        f"signoff.{name}",
        html=html,
        css=here.with_suffix(".css").read_text(),
        js="\n".join(script.read_text() for script in scripts),
        isolate_styles=is_isolated,
    )
