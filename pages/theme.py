"""The console's look: one style sheet, put into every page."""

from pathlib import Path

import streamlit as st

_SHEET = Path(__file__).with_name("theme.css")


def page_style() -> None:
    """Put the console's style sheet into the page; to be called once a run, before anything is drawn."""
    st.html(_SHEET)
