"""Search: the words that an item is found by, and where in what it says they stand."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from agents.protocol import ContextKind, Edit, Reject, Respond
from review.items import ReviewItem

TEXT_CHARS = 32_000
WORD_CHARS = 64
ASKED_TERMS = 12
_BEFORE, _AFTER = 40, 80

# East Asian scripts set no blanks between words: there each character is one, and a run of them a phrase.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

Term = tuple[str, ...]


class Word(NamedTuple):
    """A word as it is compared, and where it stands in its text."""

    folded: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Snippet:
    """The place where a search found something: the words that were found, and what stands around them."""

    before: str
    found: str
    after: str


def words_in(text: str) -> Iterator[Word]:
    """Yield the words of a text in their order, without case, accents and width."""
    for match in _WORD.finditer(text):
        folded = _folded(match.group())
        if folded:
            yield Word(folded[:WORD_CHARS], match.start(), match.end())


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", word).casefold()))


def asked_terms(text: str) -> list[Term]:
    """Return what a search asks for: terms that must all stand there, each of words in a row, the last one begun."""
    terms = (tuple(word.folded for word in words_in(chunk)) for chunk in text.split())
    return [term for term in terms if term][:ASKED_TERMS]


def text_of(item: ReviewItem) -> str:
    """Return what the item says, as far as it is searched: a line for each thing, up to TEXT_CHARS."""
    lines: list[str] = []
    room = TEXT_CHARS
    for line in _lines(item):
        lines.append(unicodedata.normalize("NFC", line[:room]))
        room -= len(line) + 1
        if room <= 0:
            break
    return "\n".join(lines)


def search_words(item: ReviewItem) -> str:
    """Return the words that the item is found by, blanks between them."""
    text = text_of(item)
    if text.isascii():  # Then no word is another length in lower case, and none is empty.
        return " ".join([word[:WORD_CHARS] for word in _WORD.findall(text.lower())])
    return " ".join(word.folded for word in words_in(text))


def snippet(text: str, terms: Sequence[Term]) -> Snippet | None:
    """Return the first place in the text where terms stand in a row, with a little of its line; None without one."""
    words = list(words_in(text))
    for place in range(len(words)):
        end = _end_of_run(words, place, terms)
        if end > place:
            return _cut(text, words[place].start, words[end - 1].end)
    return None


def _end_of_run(words: Sequence[Word], place: int, terms: Sequence[Term]) -> int:
    end = place
    while (found := next((term for term in terms if _stands_at(words, end, term)), None)) is not None:
        end += len(found)
    return end


def _stands_at(words: Sequence[Word], place: int, term: Term) -> bool:
    run = [word.folded for word in words[place : place + len(term)]]
    return len(run) == len(term) and run[:-1] == list(term[:-1]) and run[-1].startswith(term[-1])


def _cut(text: str, start: int, end: int) -> Snippet:
    begin = text.rfind("\n", 0, start) + 1
    close = text.find("\n", end)
    line_end = len(text) if close < 0 else close
    left, right = max(begin, start - _BEFORE), min(line_end, end + _AFTER)
    return Snippet(
        ("…" if left > begin else "") + text[left:start],
        text[start:end],
        text[end:right] + ("…" if right < line_end else ""),
    )


def _lines(item: ReviewItem) -> Iterator[str]:
    request = item.request
    yield from _values([request.impact.subject, request.action.args])
    yield f"{request.action.name} {item.agent}"
    yield from _values([request.description, request.rationale])
    decision = item.decision
    if isinstance(decision, Edit):
        yield from _values(decision.edited_action.args)
    if isinstance(decision, Reject | Respond):
        yield from _values(decision.message)
    if decision is not None:
        yield decision.type
    yield from _values(item.settled_by)
    for entry in request.context:
        if entry.kind is not ContextKind.IMAGE:
            yield from _values([entry.title, entry.content])
    yield str(item.id)


def _values(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, dict | list):
                yield name
                yield from _values(member)
            elif member is not None:
                yield f"{name}: {member}"
    elif isinstance(value, list):
        for member in value:
            yield from _values(member)
    elif value is not None and value != "":
        yield str(value)
