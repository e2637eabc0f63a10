"""Charts as Vega-Lite specifications (vega.github.io/vega-lite): what is drawn, and in which words and colours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from pages.rendering import draw, element

Spec = dict[str, Any]
Row = Mapping[str, object]

_TYPES = {"T": "temporal", "Q": "quantitative", "N": "nominal"}
_LINE = "#8c8577"
# A name of two parts, such as an agent's and its tool's, in two lines: so bars beside it have room on a phone, too.
TWO_LINES: Spec = {"labelExpr": "split(datum.label, ' · ')", "labelLimit": 180}
TWO_LINES_HIGH = 36
# Times of which some are seconds and others days: each ten times as long as the last is as far from it.
_LENGTHS = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600)
_LENGTH_WORDS = (
    "datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ? datum.value / 60 + ' min'"
    " : datum.value < 86400 ? datum.value / 3600 + ' h' : datum.value / 86400 + ' d'"
)


def channel(name: str, kind: str, **more: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a channel
    """Return an encoding of a field: ``kind`` is T for times, Q for quantities and N for names."""
    return {"field": name, "type": _TYPES[kind], **more}


def along(name: str, kind: str, *, axis: Spec, **more: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a channel
    """Return an encoding along an axis that has no title: a chart's own words say what it counts."""
    return channel(name, kind, title=None, axis=axis, **more)


def lengths(name: str) -> Spec:
    """Return an encoding of times in seconds, of which none may be less than one, along an axis of all lengths."""
    return along(name, "Q", axis={"values": list(_LENGTHS), "labelExpr": _LENGTH_WORDS}, scale={"type": "log"})


def coloured(name: str, words: Iterable[str]) -> Spec:
    """Return an encoding as the theme's colours, in the order of the words; the legend above the chart names them."""
    domain = list(words)
    return channel(name, "N", sort=domain, scale={"domain": domain}, legend=None)


def bars(rows: Sequence[Row], encoding: Spec, **mark: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a mark
    """Return bars of the rows; ``tooltip`` in the encoding are the channels that are told under the pointer."""
    return _layer(rows, encoding, type="bar", **mark)


def dots(rows: Sequence[Row], encoding: Spec) -> Spec:
    """Return a dot for each row, where an axis has no zero for a bar to begin at."""
    return _layer(rows, encoding, type="point", filled=True, size=90, opacity=1)


def ticks(rows: Sequence[Row], encoding: Spec) -> Spec:
    """Return a line across each bar, or each row of dots."""
    return _layer(rows, encoding, type="tick", thickness=2, color=_LINE, size=26)


def _layer(rows: Sequence[Row], encoding: Spec, **mark: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a mark
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def show_chart(*layers: Spec, height: int | Spec, words: str, key: str) -> None:
    """Draw the layers over each other, as wide as their place; the words are for who does not see them."""
    # A legend of Vega's is cut off where the bars are short; this one goes on in a new line.
    coloured_by = [layer["encoding"]["color"] for layer in layers if "color" in layer["encoding"]]
    if coloured_by:
        draw(element("ul", *(element("li", name) for name in coloured_by[0]["scale"]["domain"]), class_="so-legend"))
    # As a layer even where there is one: Streamlit makes a data frame of what stands outside of layers, at every run.
    st.vega_lite_chart({"layer": list(layers), "height": height, "description": words}, width="stretch", key=key)
