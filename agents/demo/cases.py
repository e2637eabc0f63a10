"""What comes in: the examples that classifiers learn from, and the cases that they have not seen."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources

from pydantic import JsonValue


@dataclass(frozen=True)
class Example:
    """One training text and the tool that its writer had in mind."""

    text: str
    tool: str


@dataclass(frozen=True)
class Case:
    """One incoming message.

    ``sender`` is a client's id, a boutique or a colleague, and None where nobody knows. ``tool`` is what a
    careful colleague would choose (None: none of the agent's tools fits); quality is measured with it, and no
    agent reads it. ``forwarded`` is what somebody outside the house wrote and the sender passed on: anybody may have
    written it.
    """

    id: str
    sender: str | None
    text: str
    tool: str | None
    forwarded: str | None = None


def lines(name: str) -> list[dict[str, JsonValue]]:
    """Return the objects of a JSON Lines file that comes with the house."""
    file = resources.files(__package__).joinpath("data", f"{name}.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def picture(sku: str) -> bytes | None:
    """Return the picture of a piece that comes with the house, a PNG; None where there is none."""
    # A model may call a piece anything; only what the house lists is a file.
    files = {file.name: file for file in resources.files(__package__).joinpath("data", "pictures").iterdir()}
    return files[name].read_bytes() if (name := f"{sku}.png") in files else None


def examples(agent: str) -> list[Example]:
    """Return the texts that this agent's classifier learns from."""
    return [Example(**line) for line in lines(f"{agent}.examples")]  # type: ignore[arg-type]  # the file holds strings


def cases(agent: str) -> list[Case]:
    """Return the cases that come in for this agent, in the order of the file."""
    return [Case(**line) for line in lines(f"{agent}.cases")]  # type: ignore[arg-type]  # strings and nulls


def stream(agent: str, *, position: int = 0) -> Iterator[Case]:
    """Yield this agent's cases from a position on, without an end.

    Each round has an order of its own, the same on every machine. From the second on a case's id carries
    the number of the round, because it stands for another conversation.
    """
    all_cases = cases(agent)
    while True:
        turn, offset = divmod(position, len(all_cases))
        case = _mixed(all_cases, turn)[offset]
        yield case if turn == 0 else replace(case, id=f"{case.id}.{turn + 1}")
        position += 1


def _mixed(all_cases: list[Case], turn: int) -> list[Case]:
    return sorted(all_cases, key=lambda case: hashlib.sha256(f"{turn}:{case.id}".encode()).digest())
