"""Precedents: past decisions on the same agent's calls of the same tool, the most alike first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from review.items import ReasonCode, ReviewItem, SettledCall

SHOWN = 4
LOOKED_THROUGH = 20

_BY_POLICY = "policy"

_Place = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like another call a settled one is: how much of the two is the same, from 0 to 1."""

    item_id: UUID
    alike: float
    is_same_call: bool
    is_same_subject: bool


@dataclass(frozen=True, slots=True)
class Precedent:
    """A settled item that is like another one, and why it was settled so.

    ``reason_codes`` are those of the decision that settled it.
    """

    item: ReviewItem
    likeness: Likeness
    reason_codes: tuple[ReasonCode, ...] = ()


def most_alike(item: ReviewItem, settled: Sequence[SettledCall], *, limit: int = SHOWN) -> tuple[Likeness, ...]:
    """Return which settled calls say most about this item: the same call, the same subject, then what is alike.

    ``settled`` comes latest first, and of what is equally alike the latest stays first. An item is none of its own
    precedents, and what nobody decided is none either.
    """
    mine = set(_values(item.request.action.args))
    found = [
        _likeness(item, mine, past)
        for past in settled
        if past.item_id != item.id and past.settled_by not in (None, _BY_POLICY)
    ]
    found.sort(key=lambda past: (past.is_same_call, past.is_same_subject, past.alike), reverse=True)
    return tuple(found[:limit])


def _likeness(item: ReviewItem, mine: set[tuple[_Place, str]], past: SettledCall) -> Likeness:
    subject, theirs = item.request.impact.subject, set(_values(past.args))
    return Likeness(
        past.item_id,
        len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0,
        is_same_call=past.digest == item.digest,
        is_same_subject=subject is not None and subject == past.subject,
    )


def _values(value: JsonValue, at: _Place = ()) -> Iterator[tuple[_Place, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _values(member, (*at, name))
    elif isinstance(value, list):
        for member in value:
            yield from _values(member, (*at, None))  # Whatever its number.
    else:
        yield at, repr(value)
