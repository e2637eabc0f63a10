"""Cards: how a tool's author wants its calls to look to a reviewer; they travel inside the schema of its arguments.

A card is data, never code: which arguments come first, under which labels and in which form, which pictures of the
context stand beside them, and one sentence on what the call does. It arranges and hides nothing: the console shows
every argument, those that the card does not name below the others, and beside each label the argument's own name.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, JsonValue, StringConstraints

from .protocol import Currency, Wire

KEYWORD = "x-signoff-card"
MAX_FIELDS = 40

At = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\r\n]*$")]
Headline = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]*$")]


class Format(StrEnum):
    """How a value is written for the reviewer; one that is not of its kind is shown as it is."""

    TEXT = "text"  # Words to be read as they will be read: prose, with its line breaks.
    CODE = "code"  # An id, a key, an address: letter by letter.
    NUMBER = "number"  # With its thousands set apart.
    CHANGE = "change"  # A number with its sign: what is added, or taken away.
    PERCENT = "percent"
    MONEY = "money"
    DATE = "date"
    DATE_TIME = "date-time"
    PICTURE = "picture"  # With each picture of the context whose title the value is, or an entry of the list.


class CardField(Wire):
    """One argument on the card.

    ``at`` is its name, or a JSON Pointer (RFC 6901) to a place in the arguments, as ``/lines/0/price``. Of money,
    ``currency`` is its code (ISO 4217), or ``currency_at`` the place of the argument that holds it; ``minor_units``
    says that the amount is counted in them: 4900 is 49.00 EUR.
    """

    at: At
    label: Label | None = None
    format: Format | None = None
    currency: Currency | None = None
    currency_at: At | None = None
    minor_units: Annotated[bool, Field(strict=True)] = False


class Card(Wire):
    """How the calls of a tool look: a sentence, and the arguments in their order.

    ``headline`` goes on after "the agent wants to": ``refund {amount} on order {order_id}``. Braces hold a place as
    ``CardField.at`` does, and are doubled where they stand for themselves; the value is written in its field's format.
    """

    headline: Headline | None = None
    fields: Annotated[tuple[CardField, ...], Field(max_length=MAX_FIELDS)] = ()

    def keyword(self) -> dict[str, JsonValue]:
        """Return what a schema of arguments says the card by: ``json_schema_extra`` of a pydantic model, for one."""
        said: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return {KEYWORD: said}
