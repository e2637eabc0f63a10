"""Ask back: a reviewer's question is answered by the agent while it waits, without any effect on the decision."""

import logging
from collections.abc import Awaitable, Callable

from .client import Client, Local, Pause, Steps
from .errors import ServerAwayError, ServerRefusedError
from .protocol import MAX_LONG_TEXT, ActionStatus, Args, Note, sendable

Answer = Callable[[str, Args], str | Awaitable[str | None] | None]

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0
_TOO_MANY = 429

_logger = logging.getLogger(__name__)


class Answering:
    """Answers the questions about one call with ``answer``, each once.

    A question that the agent answered before it was restarted is known by the agent's note behind it. One that
    ``answer`` fails on, or has no answer to, stays open, and is told in the log.
    """

    def __init__(self, answer: Answer, args: Args) -> None:
        self._answer = answer
        self._args = args
        self._seen: set[int] | None = None

    def answered(self, item: ActionStatus, client: Client) -> Steps[ActionStatus]:
        """Answer what is asked and not answered yet; return the item as it stands after that."""
        if self._seen is None:
            self._seen = _answered_before(item.notes)
        asked = [
            number for number, note in enumerate(item.notes) if note.author == "reviewer" and number not in self._seen
        ]
        if not asked:
            return item
        said = []
        for number in asked:
            self._seen.add(number)
            said += yield from self._said(item, item.notes[number].text)
        if not said:
            return item
        # One note for all, so that a crash cannot come between the answers.
        return (yield from _noted(item, "\n\n".join(said)[:MAX_LONG_TEXT], client))

    def _said(self, item: ActionStatus, question: str) -> Steps[list[str]]:
        try:
            text = yield Local(lambda: self._answer(question, dict(self._args)))
        except Exception:
            _logger.warning("A question about item %s could not be answered; it stays open.", item.id, exc_info=True)
            return []
        if isinstance(text, str) and text.strip():
            return [sendable(text)]
        _logger.warning("The agent has no answer to a question about item %s; it stays open.", item.id)
        return []


def _answered_before(notes: tuple[Note, ...]) -> set[int]:
    last = max((number for number, note in enumerate(notes) if note.author == "agent"), default=-1)
    return set(range(last + 1))


def _noted(item: ActionStatus, text: str, client: Client) -> Steps[ActionStatus]:
    before = _times_said(item, text)
    for _ in range(_ATTEMPTS):
        try:
            return (yield from client.note(item.id, text, attempts=1))
        except ServerRefusedError as refusal:
            if refusal.status != _TOO_MANY:
                _logger.warning("The answer about item %s was not taken: %s", item.id, refusal)
                return (yield from client.status(item.id))
        except ServerAwayError:
            # A note has no key to be known by, so it is looked up before it is sent again.
            item = yield from client.status(item.id)
            if _times_said(item, text) > before:
                return item
        yield Pause(_PAUSE_SECONDS)
    _logger.warning("The answer about item %s did not reach the console.", item.id)
    return item


def _times_said(item: ActionStatus, text: str) -> int:
    return sum(note.author == "agent" and note.text == text for note in item.notes)
