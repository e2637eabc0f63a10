"""What was typed on an item, carried between this browser's session and the database, so that neither loses it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import streamlit as st
from pydantic import JsonValue

from pages.services import services
from review.errors import DraftTooLargeError
from review.items import ReasonCode
from review.people import Person

_KEPT = "typed.kept"  # By the item's name in the session: what the database holds.
_TEXTS = ("mode", "rejection", "answer", "question")


def restore(person: Person, item_id: UUID, version: int, *, key: str) -> None:
    """Put back what the person had typed on this version of the item, where this session shows it for the first time.

    ``key`` is what the names of the item's widgets begin with. What the session holds itself is newer, and stays.
    """
    kept: dict[str, Mapping[str, JsonValue]] = st.session_state.setdefault(_KEPT, {})
    if key in kept:
        return
    kept.clear()
    kept[key] = written = services().desk.drafts.read(person, item_id, version)
    for name in _TEXTS:
        if isinstance(text := written.get(name), str):
            st.session_state.setdefault(f"{key}.{name}", text)
    if isinstance(codes := written.get("codes"), list):
        known = [ReasonCode(code) for code in codes if code in list(ReasonCode)]
        st.session_state.setdefault(f"{key}.codes", known)
    if isinstance(edit := written.get("edit"), dict):
        st.session_state.setdefault(f"{key}.form.base", edit)


def keep(person: Person, item_id: UUID, version: int, *, key: str, edit: Callable[[], JsonValue]) -> None:
    """Keep what is typed on the item by now, if it is not what is kept already: Streamlit tells when a field is left.

    ``edit`` returns the arguments as they are edited, None where they are not, or cannot be read.
    """
    kept: dict[str, Mapping[str, JsonValue]] = st.session_state.setdefault(_KEPT, {})
    written: dict[str, JsonValue] = {}
    for name in _TEXTS:
        if text := st.session_state.get(f"{key}.{name}"):
            written[name] = str(text)
    codes: Sequence[ReasonCode] = st.session_state.get(f"{key}.codes") or ()
    if codes:
        written["codes"] = [code.value for code in codes]
    before = kept.get(key, {})
    # What cannot be read just now is on its way to something; the last that could be read is kept.
    if (args := edit() or before.get("edit")) is not None:
        written["edit"] = args
    if written == before:
        return
    with suppress(DraftTooLargeError):  # It is in the session still, and can be sent.
        services().desk.drafts.keep(person, item_id, version, written)
    kept[key] = written
