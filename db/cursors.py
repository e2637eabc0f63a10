"""Cursors of keyset pages: where a list goes on, as text that a client hands back unread."""

import base64
import json
from typing import Any
from uuid import UUID

from review.errors import InvalidCursorError

MAX_CURSOR_CHARS = 256
_INT_64 = 2**63


def cursor_at(order: str, *key: int | UUID) -> str:
    """Return the cursor that continues behind the row with this key."""
    parts = [order, *(part.hex if isinstance(part, UUID) else part for part in key)]
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).rstrip(b"=").decode()


def id_after(cursor: str, *, order: str) -> UUID:
    """Return the id that the list continues behind. Raises InvalidCursorError."""
    parts = _parts(cursor, order, length=2)
    return _uuid(parts[1])


def number_and_id_after(cursor: str, *, order: str) -> tuple[int, UUID]:
    """Return the number and the id that the list continues behind. Raises InvalidCursorError."""
    parts = _parts(cursor, order, length=3)
    number = parts[1]
    if type(number) is not int or not -_INT_64 <= number < _INT_64:
        raise InvalidCursorError
    return number, _uuid(parts[2])


def _parts(cursor: str, order: str, *, length: int) -> list[Any]:
    if len(cursor) > MAX_CURSOR_CHARS or not cursor.isascii():
        raise InvalidCursorError
    try:
        parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError as error:
        raise InvalidCursorError from error
    if not isinstance(parts, list) or len(parts) != length or parts[0] != order:
        raise InvalidCursorError
    return parts


def _uuid(part: object) -> UUID:
    if not isinstance(part, str):
        raise InvalidCursorError
    try:
        return UUID(hex=part)
    except ValueError as error:
        raise InvalidCursorError from error
