"""Stored JSON documents: each says its version, so that a later release knows what it reads."""

import json
from typing import Any

from pydantic import BaseModel

VERSION = 1

_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_OPENING = f'{{"version":{VERSION},'


class DocumentVersionError(Exception):
    """A stored document is of a version that this release does not know."""

    def __init__(self, text: str) -> None:
        super().__init__(f"A stored document starts with {text[:40]!r}; this release reads version {VERSION}.")


def written(value: BaseModel) -> str:
    """Return the model as a document."""
    return _OPENING + value.model_dump_json()[1:]


def opening_of(kind: str) -> str:
    """Return how the document begins of a model whose first field is its ``type``, of this kind."""
    return f'{_OPENING}"type":"{kind}"'


def written_under(name: str, value: object) -> str:
    """Return a document whose only member beside its version is the value, under the name."""
    return _PLAIN.encode({"version": VERSION, name: value})


def body(text: str) -> str:
    """Return the JSON of what was written, without its version."""
    if not text.startswith(_OPENING):
        raise DocumentVersionError(text)
    return "{" + text[len(_OPENING) :]


def read_under(name: str, text: str) -> Any:  # noqa: ANN401 -- JSON is whatever was written
    """Return the value that was written under the name."""
    return json.loads(body(text))[name]
