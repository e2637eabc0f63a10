"""The charts: what a page hands to Vega-Lite is what Vega-Lite reads."""

import json

import altair
import pytest
from streamlit.testing.v1 import AppTest

from pages.charts import Spec, along, bars, channel, coloured, dots, lengths, ticks
from tests.waiting import PATIENCE_SECONDS

ROWS = [{"Tool": "refund", "Share": 0.5, "Day": "2026-11-28T00:00:00"}]


@pytest.mark.parametrize(
    "spec",
    [
        bars(
            ROWS,
            {
                "x": along("Share", "Q", stack="zero", axis={"format": "%", "tickCount": 5}),
                "y": along("Tool", "N", sort=["refund"], axis={"labelLimit": 320}),
                "yOffset": channel("Share", "N", sort=["refund"]),
                "color": coloured("Tool", ["refund"]),
                "order": channel("color_Tool_sort_index", "Q"),
                "tooltip": [channel("Day", "T"), channel("Share", "Q", format=".0%")],
            },
            size=14,
        ),
        bars(ROWS, {"x": along("Share", "Q", aggregate="sum", axis={"tickMinStep": 1})}, height={"band": 0.7}),
        ticks(ROWS, {"x": along("Share", "Q", axis={"grid": False})}),
        dots(ROWS, {"x": lengths("Share"), "y": along("Tool", "N", axis={"labelLimit": 140})}),
    ],
    ids=["bars", "sums", "ticks", "dots"],
)
def test_what_is_drawn_is_vega_lites_own_language(spec: Spec) -> None:
    assert altair.Chart.from_dict(spec).to_dict()["mark"] == spec["mark"]
    with pytest.raises(Exception, match="was expected"):
        altair.Chart.from_dict({**spec, "mark": {"type": "barr"}})


def test_colours_are_the_themes_in_the_order_of_the_words() -> None:
    told = coloured("Kind", ["b", "a"])

    assert (told["scale"], told["sort"]) == ({"domain": ["b", "a"]}, ["b", "a"])


def test_layers_share_one_height_and_are_told_in_words() -> None:
    def page() -> None:
        from pages.charts import along, bars, show_chart, ticks

        y = along("Tool", "N", axis={})
        rows = [{"Tool": "refund", "Share": 0.5}]
        show_chart(bars(rows, {"y": y}), ticks(rows, {"y": y}), height={"step": 12}, words="By tool.", key="chart")

    drawn = AppTest.from_function(page, default_timeout=PATIENCE_SECONDS).run()

    spec = json.loads(drawn.main.children[0].proto.spec)
    assert ([layer["mark"]["type"] for layer in spec["layer"]], spec["description"]) == (["bar", "tick"], "By tool.")
    assert spec["height"] == {"step": 12}
