"""The Overview screen: what the desk did of late, as charts that can be read as tables as well."""

from collections.abc import Sequence
from datetime import timedelta, tzinfo

import streamlit as st

from agents.protocol import DecisionType, Route
from pages.charts import TWO_LINES, TWO_LINES_HIGH, along, bars, channel, coloured, dots, lengths, show_chart, ticks
from pages.rendering import draw, element, facts, span, visible
from pages.services import services
from pages.tables import Cell, Column, Line, count_words, here_zone, show_empty, show_list
from review.figures import FIGURES_LIMIT, DayCount, Figures, Share, Wait, by_day, load, shares
from review.people import Permission, Person
from review.records import FIGURES_KEPT, FIGURES_KEPT_FROM

TITLE = "Overview"
ICON = ":material/monitoring:"
PATH = "overview"
PERMISSION = Permission.SEE_FIGURES

KEY = "overview"
DEFAULT_DAYS = 14
HEIGHT = 240
ROW = 30
DAYS_WIDE = 300  # On a phone the days have about as many pixels, and each bar its share of them.

_WINDOWS = {7: "7 days", 14: "14 days", 30: "30 days", 90: "90 days"}
_ROUTES = {Route.EXECUTE: "Ran alone", Route.REVIEW: "Sent to people", Route.DENY: "Denied"}
_DECISIONS = {
    DecisionType.APPROVE: "Approved",
    DecisionType.EDIT: "Edited",
    DecisionType.REJECT: "Rejected",
    DecisionType.RESPOND: "Answered",
}
_ROUTE_WORDS = {route.value: words for route, words in _ROUTES.items()}
_DECISION_WORDS = {decision.value: words for decision, words in _DECISIONS.items()}


def page(person: Person) -> None:
    """Show what was proposed and decided of late, how long it waited, what is late, and who decided."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title(TITLE, anchor=False)
        days = st.segmented_control(
            "Of the last",
            list(_WINDOWS),
            format_func=lambda value: _WINDOWS[value],
            default=DEFAULT_DAYS,
            required=True,
            key=f"{KEY}.days",
            persist_state="session",
        )
    figures = services().records.figures(person, days=days or DEFAULT_DAYS)
    if not figures.items:
        show_empty("Nothing was proposed in this time", "What agents propose from now on is counted here, day by day.")
        return
    _show_head(figures)
    zone = here_zone()
    left, right = st.columns(2, gap="large")
    with left:
        _show_days("Actions proposed", by_day(figures.proposed, zone), _ROUTE_WORDS, zone, what="proposed")
        _show_waits(figures.waits)
    with right:
        _show_days("Decisions of people", by_day(figures.decided, zone), _DECISION_WORDS, zone, what="decided")
        _show_load(load(figures.made))
    _show_shares(shares(figures.made))
    if figures.items == FIGURES_LIMIT:
        st.caption(f"Of the latest {FIGURES_LIMIT:,} items; there are more in this time.")
    if figures.items >= FIGURES_KEPT_FROM:
        st.caption(f"Counted at most {span(FIGURES_KEPT)} ago.")


def _show_head(figures: Figures) -> None:
    wait = figures.wait
    told = {
        "Actions proposed": f"{sum(each.times for each in figures.proposed):,}",
        "Decided by people": f"{wait.decided if wait else 0:,}",
        "Half were decided within": span(wait.median) if wait else "–",
        "Nine of ten within": span(wait.p90) if wait else "–",
        "Waiting now": count_words(figures.waiting),
        "Of these past their time": count_words(figures.late),
    }
    draw(element("div", facts(list(told.items())), class_="so-strip"))


def _show_days(title: str, counts: Sequence[DayCount], words: dict[str, str], zone: tzinfo, *, what: str) -> None:
    _head(title, f"items a day, by the day they were {what} ({zone})")
    if not counts:
        _nothing()
        return
    dates = [each.day for each in counts]
    rows = [{"Day": f"{day}T00:00:00", "Kind": words[kind], "Items": number} for day, kind, number in counts]
    chart = bars(
        rows,
        {
            "x": along("Day", "T", axis={"format": "%d %b", "grid": False, "tickCount": 7}),
            "y": along("Items", "Q", aggregate="sum", axis={"tickMinStep": 1, "tickCount": 4}),
            "color": coloured("Kind", words.values()),
            "tooltip": [channel("Day", "T"), channel("Kind", "N"), channel("Items", "Q")],
        },
        size=min(14, DAYS_WIDE / ((max(dates) - min(dates)).days + 1)),
    )
    told = f"{title}, items a day; the same is in the table below."
    show_chart(chart, height=HEIGHT, words=told, key=f"{KEY}.chart.{what}")
    lines = [
        Line(str(n), f"{day}", {"day": Cell(f"{day}"), "kind": Cell(words[kind]), "count": Cell(f"{number:,}")})
        for n, (day, kind, number) in enumerate(counts)
    ]
    columns = (Column("day", "Day"), Column("kind", "Kind"), Column("count", "Items", "number"))
    _table(title, columns, lines, key=what)


def _drawn(time: timedelta) -> float:
    return max(time.total_seconds(), 1.0)


def _show_waits(found: Sequence[tuple[str, Wait]]) -> None:
    title = "How long items wait"
    _head(title, "from proposal to a person's decision, by queue; the line is the time that they were given")
    if not found:
        _nothing()
        return
    rows = [
        {"Queue": visible(name), "Share": words, "Time": span(time), "Seconds": _drawn(time)}
        for name, wait in found
        for words, time in (("Half within", wait.median), ("Nine of ten within", wait.p90))
    ]
    given = [{"Queue": visible(name), "Seconds": _drawn(wait.allowed)} for name, wait in found]
    seconds = lengths("Seconds")
    queue = along("Queue", "N", axis={"labelLimit": 140})
    shares_of = ("Half within", "Nine of ten within")
    tooltip = [channel("Queue", "N"), channel("Share", "N"), channel("Time", "N")]
    chart = dots(
        rows,
        {
            "x": seconds,
            "y": queue,
            "color": coloured("Share", shares_of),
            "tooltip": tooltip,
        },
    )
    told = f"{title}, by queue; the same is in the table below."
    show_chart(
        chart, ticks(given, {"x": seconds, "y": queue}), height={"step": ROW}, words=told, key=f"{KEY}.chart.waits"
    )
    lines = [
        Line(
            name,
            name,
            {
                "queue": Cell(name),
                "decided": Cell(f"{wait.decided:,}"),
                "median": Cell(span(wait.median)),
                "p90": Cell(span(wait.p90)),
                "allowed": Cell(span(wait.allowed)),
                "late": Cell(f"{wait.late:,}", tone="bad" if wait.late else ""),
            },
        )
        for name, wait in found
    ]
    columns = (
        Column("queue", "Queue"),
        Column("decided", "Decided", "number"),
        Column("median", "Half within", "number"),
        Column("p90", "Nine of ten", "number"),
        Column("allowed", "Given", "number"),
        Column("late", "Late", "number"),
    )
    _table(title, columns, lines, key="waits")


def _show_load(found: Sequence[tuple[str, int]]) -> None:
    title = "Who decides"
    _head(title, "items that each person settled")
    if not found:
        _nothing()
        return
    chart = bars(
        [{"Reviewer": visible(name), "Items": count} for name, count in found],
        {
            "x": along("Items", "Q", axis={"tickMinStep": 1, "tickCount": 5}),
            "y": along("Reviewer", "N", sort="-x", axis={"labelLimit": 140}),
            "tooltip": [channel("Reviewer", "N"), channel("Items", "Q")],
        },
        size=14,
    )
    told = f"{title}, items a person; the same is in the table below."
    show_chart(chart, height={"step": ROW}, words=told, key=f"{KEY}.chart.load")
    lines = [
        Line(str(n), name, {"name": Cell(name), "count": Cell(f"{count:,}")}) for n, (name, count) in enumerate(found)
    ]
    _table(title, (Column("name", "Reviewer"), Column("count", "Items", "number")), lines, key="load")


def _show_shares(found: Sequence[Share]) -> None:
    title = "What people decide, by agent and tool"
    _head(title, "share of people's decisions")
    if not found:
        _nothing()
        return
    rows = [
        {
            "Tool": visible(f"{share.agent} · {share.tool}"),
            "Decision": _DECISIONS[share.decision],
            "Share": share.times / share.of,
            "Items": share.times,
        }
        for share in found
    ]
    tools = list(dict.fromkeys(row["Tool"] for row in rows))
    tooltip = [
        channel("Tool", "N"),
        channel("Decision", "N"),
        channel("Share", "Q", format=".0%"),
        channel("Items", "Q"),
    ]
    chart = bars(
        rows,
        {
            "x": along("Share", "Q", stack="zero", axis={"format": "%", "tickCount": 5}),
            "y": along("Tool", "N", sort=tools, axis=TWO_LINES),
            "color": coloured("Decision", _DECISIONS.values()),
            "order": channel("color_Decision_sort_index", "Q"),
            "tooltip": tooltip,
        },
        size=14,
    )
    told = f"{title}, in shares; the same is in the table below."
    show_chart(chart, height={"step": TWO_LINES_HIGH}, words=told, key=f"{KEY}.chart.shares")
    lines = [
        Line(
            str(n),
            share.tool,
            {
                "tool": Cell(share.tool, under=share.agent),
                "decision": Cell(_DECISIONS[share.decision]),
                "share": Cell(f"{share.times / share.of:.0%}"),
                "count": Cell(f"{share.times:,} of {share.of:,}"),
            },
        )
        for n, share in enumerate(found)
    ]
    columns = (
        Column("tool", "Tool"),
        Column("decision", "Decision"),
        Column("share", "Share", "number"),
        Column("count", "Items", "number"),
    )
    _table(title, columns, lines, key="shares")


def _head(title: str, unit: str) -> None:
    draw(element("div", element("h2", title), element("p", unit, class_="so-quiet so-small"), class_="so-figure"))


def _nothing() -> None:
    draw(element("p", "There is nothing of it in this time.", class_="so-quiet"))


def _table(title: str, columns: Sequence[Column], lines: Sequence[Line], *, key: str) -> None:
    with st.expander("As a table"):
        show_list(f"{KEY}.table.{key}", columns, lines, caption=title)
