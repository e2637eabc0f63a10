"""The Labels screen: what people's decisions teach, how much of it there is, and the files to train from."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from agents.protocol import DecisionType
from pages.charts import TWO_LINES, TWO_LINES_HIGH, along, bars, channel, coloured, show_chart
from pages.downloads import decisions_address
from pages.rendering import DECISION_WORDS, draw, element, facts, show_refusal, visible
from pages.services import services
from pages.tables import (
    Cell,
    Column,
    Line,
    ask_choice,
    ask_days,
    ask_one,
    rows_words,
    show_empty,
    show_list,
)
from review.items import DecisionFilter, ItemFilter
from review.labels import Label, LabelCount, TrainingFormat, plain_row, training_row
from review.people import Permission, Person
from review.records import LABELS_COUNTED

TITLE = "Labels"
ICON = ":material/label:"
PATH = "labels"
PERMISSION = Permission.EXPORT_LABELS

KEY = "labels"
CHART_ROWS = 20
LOOKED_THROUGH = 5

_FORMATS = {
    TrainingFormat.PREFERENCE: "preference pair: the edit is chosen, the proposal rejected",
    TrainingFormat.UNPAIRED: "unpaired label: the proposal, true or false",
    TrainingFormat.SFT: "completion: the answer that a person gave",
}
_COLUMNS = (
    Column("tool", "Tool"),
    Column("labels", "Labels", "number"),
    *(Column(decision.value, words.capitalize(), "number") for decision, words in DECISION_WORDS.items()),
)

Counts = Mapping[tuple[str, str], Counter[DecisionType]]


def page(person: Person) -> None:
    """Show how many labels there are, what their rows look like, and where to take them from."""
    st.title(TITLE, anchor=False)
    show_refusal()
    counted = services().records.label_counts(person)
    if not counted:
        show_empty("No labels yet", "Every decision that a person makes becomes one. Decide an item on Review.")
        return
    total: Counter[DecisionType] = Counter()
    for each in counted:
        total[each.decision] += each.labels
    _show_figures(total)
    _show_downloads(person)
    _show_counts(counts_of(counted))
    _show_rows(person, [decision for decision in DECISION_WORDS if total[decision]])


def counts_of(counted: Iterable[LabelCount]) -> dict[tuple[str, str], Counter[DecisionType]]:
    """Return how often each decision was made on each tool of each agent, the most decided first."""
    counts: dict[tuple[str, str], Counter[DecisionType]] = {}
    for each in counted:
        counts.setdefault((each.agent, each.tool), Counter())[each.decision] += each.labels
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1].total(), entry[0])))


def _show_downloads(person: Person) -> None:
    with st.container(border=True):
        where = _ask_filter(person)
        count = services().records.count_decisions(person, where)
        st.caption(f"Each file will hold {rows_words(count, 'label')}.")
        shows_values = _ask_values(person)
        plain, lines, archive = st.columns(3, gap="medium")
        with plain:
            _offer("labels.csv", "CSV", where, shows_values=shows_values)
            st.caption(
                "One row a decision: the proposal, the decision, what was let run, reasons, confidence. "
                "Arguments and context are JSON in their cells; opens in any spreadsheet. "
                "The last row, the manifest, says how many rows there are."
            )
        with lines:
            _offer("labels.jsonl", "JSON Lines", where, shows_values=shows_values)
            st.caption(
                "The same rows, one JSON object a line, arguments and context as they were. "
                "For pandas, DuckDB, or a script of your own."
            )
        with archive:
            _offer("labels-hf.zip", "Hugging Face dataset", where, shows_values=shows_values)
            st.caption(
                "Conversational rows that TRL trains on, in a folder that load_dataset reads: an edit is a "
                "preference pair, approve and reject are unpaired labels, an answer is a completion."
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            _offer("decisions.csv", "Decisions (CSV)", where, shows_values=shows_values)
            st.caption("Who decided what, when, how long they looked, and what came of it.", width="content")


def _ask_filter(person: Person) -> DecisionFilter:
    policy = services().policies.in_force(person.workspace).document
    with st.container(horizontal=True, vertical_alignment="bottom"):
        decision = ask_one(
            "Decision made", {kind: words.capitalize() for kind, words in DECISION_WORDS.items()}, key=f"{KEY}.decision"
        )
        agent = ask_choice("Agent", (tool.agent for tool in policy.tools), key=f"{KEY}.agent")
        tool = ask_choice("Tool", (tool.tool for tool in policy.tools), key=f"{KEY}.tool")
        since, until = ask_days("Decided between", key=f"{KEY}.days")
    return DecisionFilter(ItemFilter(agent=agent, tool=tool), decision, since=since, until=until)


def _ask_values(person: Person) -> bool:
    """Ask whether the files are to hold what is masked on the screens; of whoever may have it, and nobody else."""
    if not (person.may(Permission.EXPORT_LABELS) and person.may(Permission.REVEAL)):
        return False
    return st.toggle(
        "With masked values as they are",
        key=f"{KEY}.values",
        help="Secrets, personal data and what is declared sensitive; that you took them is put on record.",
    )


def _offer(name: str, words: str, where: DecisionFilter, *, shows_values: bool) -> None:
    address = decisions_address(name, where, shows_values=shows_values)
    st.link_button(words, address, icon=":material/download:")


def _show_figures(total: Counter[DecisionType]) -> None:
    is_cut = total.total() >= LABELS_COUNTED
    figures = [(words.capitalize(), f"{total[decision]:,}") for decision, words in DECISION_WORDS.items()]
    draw(facts([("Labels", f"{total.total():,}{'+' if is_cut else ''}"), *figures]))
    if is_cut:
        st.caption(f"Counted are the first {LABELS_COUNTED:,}; the downloads hold all.")


def _show_counts(counts: Counts) -> None:
    chart, table = st.columns([5, 6], gap="large")
    with chart:
        _show_bars(counts)
    with table:
        lines = [line_of(agent, tool, made) for (agent, tool), made in counts.items()]
        show_list(f"{KEY}.counts", _COLUMNS, lines, caption="Labels by tool and decision")


def bars_of(counts: Counts) -> list[dict[str, str | int]]:
    """Return the parts of the bars: for each tool, each decision that was made on it, in their order."""
    return [
        {"tool": f"{agent} · {tool}", "decision": words.capitalize(), "labels": made[decision], "place": place}
        for (agent, tool), made in counts.items()
        for place, (decision, words) in enumerate(DECISION_WORDS.items())
        if made[decision]
    ]


def _show_bars(counts: Counts) -> None:
    """Show the counts as bars, one for each tool, coloured by decision; the most decided tools alone."""
    shown = dict(list(counts.items())[:CHART_ROWS])
    chart = bars(
        bars_of(shown),
        {
            "x": along("labels", "Q", axis={"tickMinStep": 1, "format": "d"}),
            "y": along("tool", "N", axis=TWO_LINES, sort=[f"{agent} · {tool}" for agent, tool in shown]),
            "color": coloured("decision", [words.capitalize() for words in DECISION_WORDS.values()]),
            "order": channel("place", "Q"),
            "tooltip": [channel("tool", "N"), channel("decision", "N"), channel("labels", "Q")],
        },
        size=14,
    )
    words = "Labels by tool and decision; the same is in the table beside it."
    show_chart(chart, height={"step": TWO_LINES_HIGH}, words=words, key=f"{KEY}.chart")


def line_of(agent: str, tool: str, made: Counter[DecisionType]) -> Line:
    """Return the row of a tool, with the share of each decision."""
    total = made.total()
    shares = {
        decision.value: Cell(f"{made[decision]:,}", under=f"{made[decision] / total:.0%}")
        if made[decision]
        else Cell("–", tone="quiet")
        for decision in DECISION_WORDS
    }
    return Line(
        id=f"{agent} {tool}",
        name=f"{tool} of {agent}",
        cells={"tool": Cell(tool, under=agent, tone="strong"), "labels": Cell(f"{total:,}"), **shares},
    )


def _show_rows(person: Person, shown: Sequence[DecisionType]) -> None:
    st.subheader("What the rows look like", anchor=False)
    chosen = st.segmented_control(
        "Decision",
        shown,
        default=shown[0],
        format_func=lambda decision: DECISION_WORDS[decision].capitalize(),
        key=f"{KEY}.example",
        label_visibility="collapsed",
        required=True,
    )
    decision = chosen or shown[0]
    label = _example(person, decision)
    if label is None:
        return  # Its content was erased since it was counted.
    form, row = training_row(label)
    plain, training = st.columns(2, gap="large")
    with plain:
        draw(element("p", "CSV and JSON Lines", class_="so-label"))
        _show_row(plain_row(label))
    with training:
        draw(element("p", f"TRL, {_FORMATS[form]}", class_="so-label"))
        _show_row(row)


def _example(person: Person, decision: DecisionType) -> Label | None:
    """Return a label of the decision; another's where none of the latest is one.

    Somebody's approval of an edit is found as an approval, and its label says that the call was edited.
    """
    labels: Sequence[Label] = ()
    for limit in (1, LOOKED_THROUGH):
        labels = services().records.label_preview(person, DecisionFilter(decision=decision), limit=limit)
        for label in labels:
            if label.decision is decision:
                return label
    return labels[0] if labels else None


def _show_row(row: Mapping[str, object]) -> None:
    st.code(visible(json.dumps(row, indent=2, ensure_ascii=False)), language=None, wrap_lines=True)
