"""Precedents: past decisions on the same agent's calls of the same tool, the most alike first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from review.items import ReasonCode, ReviewItem

SHOWN = 4
LOOKED_THROUGH = 20

_BY_POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Precedent:
    """A settled item that is like another one: how much of the two calls is the same, from 0 to 1, and why.

    ``reason_codes`` are those of the decision that settled it.
    """

    item: ReviewItem
    alike: float
    is_same_call: bool
    is_same_subject: bool
    reason_codes: tuple[ReasonCode, ...] = ()


def most_alike(item: ReviewItem, settled: Sequence[ReviewItem], *, limit: int = SHOWN) -> tuple[Precedent, ...]:
    """Return the settled items that say most about this one: the same call, the same subject, then what is alike.

    ``settled`` comes latest first, and of what is equally alike the latest stays first. An item is none of its own
    precedents, and what nobody decided is none either.
    """
    found = [
        _precedent(item, past) for past in settled if past.id != item.id and past.settled_by not in (None, _BY_POLICY)
    ]
    found.sort(key=lambda past: (past.is_same_call, past.is_same_subject, past.alike), reverse=True)
    return tuple(found[:limit])


def _precedent(item: ReviewItem, past: ReviewItem) -> Precedent:
    subject = item.request.impact.subject
    mine, theirs = set(_values(item.request.action.args)), set(_values(past.request.action.args))
    alike = len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0
    return Precedent(
        past,
        alike,
        is_same_call=past.digest == item.digest,
        is_same_subject=subject is not None and subject == past.request.impact.subject,
    )


def _values(value: JsonValue, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _values(member, f"{at}.{name}")
    elif isinstance(value, list):
        for member in value:
            yield from _values(member, f"{at}[]")
    else:
        yield at, repr(value)
