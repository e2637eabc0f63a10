"""Bar charts as Vega-Lite specifications (vega.github.io/vega-lite): what is drawn, and in which words and colours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

Spec = dict[str, Any]
Row = Mapping[str, object]

_TYPES = {"T": "temporal", "Q": "quantitative", "N": "nominal"}
_LINE = "#8c8577"


def channel(name: str, kind: str, **more: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a channel
    """Return an encoding of a field: ``kind`` is T for times, Q for quantities and N for names."""
    return {"field": name, "type": _TYPES[kind], **more}


def along(name: str, kind: str, *, axis: Spec, **more: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a channel
    """Return an encoding along an axis that has no title: a chart's own words say what it counts."""
    return channel(name, kind, title=None, axis=axis, **more)


def coloured(name: str, words: Iterable[str], colours: Iterable[str] = (), **legend: int) -> Spec:
    """Return an encoding as colours, the theme's own unless they are given, with a legend above the chart."""
    domain, given = list(words), list(colours)
    told = {"title": None, "orient": "top", "symbolType": "square", "offset": 4, **legend}
    scale = {"domain": domain} | ({"range": given} if given else {})
    return channel(name, "N", sort=domain, scale=scale, legend=told)


def bars(rows: Sequence[Row], encoding: Spec, **mark: Any) -> Spec:  # noqa: ANN401 -- whatever Vega-Lite knows of a mark
    """Return bars of the rows; ``tooltip`` in the encoding are the channels that are told under the pointer."""
    return {"data": {"values": list(rows)}, "mark": {"type": "bar", **mark}, "encoding": encoding}


def ticks(rows: Sequence[Row], encoding: Spec) -> Spec:
    """Return a line across each bar."""
    mark = {"type": "tick", "thickness": 2, "color": _LINE, "size": 26}
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def show_chart(*layers: Spec, height: int | Spec, words: str, key: str) -> None:
    """Draw the layers over each other, as wide as their place; the words are for who does not see them."""
    spec: Spec = layers[0] if len(layers) == 1 else {"layer": list(layers)}
    st.vega_lite_chart({**spec, "height": height, "description": words}, width="stretch", key=key)
