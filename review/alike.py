"""Which items may be decided together: those of one template, and none that wants a look of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agents.canonical import NotCanonicalError, canonical, is_same
from agents.protocol import Args, ContextEntry, ContextKind, DecisionType
from review.images import UNINSPECTABLE
from review.items import Purpose, ReviewItem
from review.legibility import visible
from review.masking import Veil, masked_text
from review.policy import Queue, RoutingReason

MOST_TOGETHER = 20
LONGEST_ARGS = 1_500
MOST_ARGS = 20

Place = tuple[str, ...]
# What brings an action before a person as a matter of course. Any other reason is about this very action.
_ORDINARY = frozenset(
    {
        RoutingReason.RULE,
        RoutingReason.SUPERVISED,
        RoutingReason.NO_THRESHOLD,
        RoutingReason.NO_CONFIDENCE,
        RoutingReason.BELOW_THRESHOLD,
    }
)


@dataclass(frozen=True, slots=True)
class Template:
    """What items have in common that may be decided together: they differ in the values of their arguments alone.

    ``places`` are the names of the arguments, those of objects in them included, each with its type. ``reasons`` are
    why people must see them: the rule, word for word, or the code of the tool's autonomy. ``allowed`` is what their
    agent takes for an answer.
    """

    agent: str
    tool: str
    queue: str
    places: frozenset[tuple[Place, str]]
    reasons: frozenset[tuple[str, str]]
    allowed: frozenset[DecisionType]


def template_of(item: ReviewItem) -> Template:
    """Return the template that the item is of."""
    args = item.request.action.args
    return Template(
        agent=item.agent,
        tool=item.request.action.name,
        queue=item.queue,
        places=frozenset((place, type(value_at(args, place)).__name__) for place in leaves(args)),
        # The text of a rule is its author's; that of a threshold names the confidence, which is another each time.
        reasons=frozenset(
            (reason.code, reason.text if reason.code == RoutingReason.RULE else "") for reason in item.reasons
        ),
        allowed=frozenset(item.request.allowed_decisions),
    )


def why_alone(item: ReviewItem, queue: Queue, veil: Veil) -> str | None:
    """Return why the item wants a look of its own, as the end of a sentence about it; None where it does not."""
    action = item.request.action
    wants = (
        (item.purpose is not Purpose.GATE, "no agent waits for it: it is looked at for itself"),
        (queue.one_by_one, "its queue is decided one by one"),
        (item.quorum > 1, "several people must approve it"),
        (item.draft is not None, "a reviewer has edited it"),
        (item.notes > 0, "there is a question or an answer to read"),
        (item.rejections > 0, "it was rejected before"),
        (any(reason.code not in _ORDINARY for reason in item.reasons), "the policy found something of its own in it"),
        (any(map(_is_uninspectable, item.request.context)), "a picture in it cannot be inspected"),
        (not _fits_a_row(action.args), "its arguments are too long to stand beside others"),
        (
            any(reads_like_a_place(name) for place in leaves(action.args) for name in place),
            "a name in its arguments reads like a place in them",
        ),
        (_is_masked(item, veil), "values of it are masked"),
        (any(map(_hides, _texts(item))), "there are characters in it that hide"),
    )
    return next((why for holds, why in wants if holds), None)


def leaves(args: Mapping[str, JsonValue], at: Place = ()) -> Iterator[Place]:
    """Yield the place of each argument; those of an object each by itself, lists as a whole."""
    for name, value in args.items():
        place = (*at, name)
        if isinstance(value, dict) and value:
            yield from leaves(value, place)
        else:
            yield place


def reads_like_a_place(name: str) -> bool:
    """Tell whether the name, written into the path of a place, could be read as another place, or not at all."""
    return not name or any(sign in name for sign in ".[]\n")


def value_at(args: Args, place: Place) -> JsonValue:
    """Return what stands at one of the places that `leaves` yields."""
    value: JsonValue = args
    for name in place:
        value = value[name]  # type: ignore[index,call-overload]  # the place was found in arguments of this template
    return value


def differing(items: Sequence[ReviewItem]) -> tuple[Place, ...]:
    """Return the places at which items of one template do not all say the same, in the order of the first."""
    first, *others = (item.request.action.args for item in items)
    return tuple(
        place
        for place in leaves(first)
        if not all(is_same(value_at(args, place), value_at(first, place)) for args in others)
    )


def _is_masked(item: ReviewItem, veil: Veil) -> bool:
    subject = item.request.impact.subject or ""
    return bool(veil.masks_of(item.request.action)) or masked_text(subject, veil.known) != subject


def _is_uninspectable(entry: ContextEntry) -> bool:
    return entry.kind is ContextKind.IMAGE and entry.media_type == UNINSPECTABLE


def _hides(text: str) -> bool:
    # Blanks at an edge can no more be seen in a row than what draws nothing.
    return visible(text) != text.replace("\r\n", "\n") or text != text.strip()


def _fits_a_row(args: Args) -> bool:
    try:
        return len(canonical(args)) <= LONGEST_ARGS and len(list(leaves(args))) <= MOST_ARGS
    except NotCanonicalError:
        return False


def _texts(item: ReviewItem) -> Iterator[str]:
    yield item.request.impact.subject or ""
    yield from _words(item.request.action.args)


def _words(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _words(member)
    elif isinstance(value, list):
        for member in value:
            yield from _words(member)
    elif isinstance(value, str):
        yield value
