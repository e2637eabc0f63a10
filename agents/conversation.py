"""A conversation in LangChain's messages, told to the console as the context of a call."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from .protocol import MAX_SHORT_TEXT, ContextEntry, ContextKind, sendable

MOST_ENTRIES = 50
MOST_BYTES = 64 * 1024


def context_of(state: object, *, untrusted: Collection[str] = ()) -> tuple[ContextEntry, ...]:
    """Return the ``messages`` of an agent's state as context, oldest first; the latest where they are too many.

    They are what the user and the agent said and what tools returned, up to the message that proposed the latest calls:
    so the context is the same when a call is asked again after others of its step have run.
    Results of the tools in ``untrusted`` are marked so that what a call takes from them alone is put before a person:
    tools that read mail, web pages or files that anybody may have written. The system's message is the house's own
    word and is left out. At most 50 entries and 64 KiB; an entry that is too long is cut.
    """
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    known = _before_the_call([message for message in messages or () if isinstance(message, BaseMessage)])
    kept: list[ContextEntry] = []
    left = MOST_BYTES
    for entry in _entries(reversed(known), frozenset(untrusted)):
        content = entry.content.encode()[:left].decode(errors="ignore")
        kept.append(entry.model_copy(update={"content": content}))
        left -= len(content.encode())
        if not left or len(kept) == MOST_ENTRIES:
            break
    return tuple(reversed(kept))


def _before_the_call(messages: list[BaseMessage]) -> list[BaseMessage]:
    proposals = [at for at, message in enumerate(messages) if isinstance(message, AIMessage) and message.tool_calls]
    return messages[: proposals[-1] + 1] if proposals else messages


def _entries(messages: Iterable[BaseMessage], untrusted: frozenset[str]) -> Iterator[ContextEntry]:
    for message in messages:
        text = sendable(str(message.text))
        match message:
            case _ if not text:
                continue
            case HumanMessage():
                yield ContextEntry(kind=ContextKind.MESSAGE, role="user", content=text)
            case AIMessage():
                yield ContextEntry(kind=ContextKind.MESSAGE, role="agent", content=text)
            case ToolMessage():
                trusted = False if message.name in untrusted else None
                title = sendable(message.name or "")[:MAX_SHORT_TEXT] or None
                yield ContextEntry(kind=ContextKind.TOOL_RESULT, title=title, content=text, trusted=trusted)
