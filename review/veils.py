"""Veils looked up: what of an item is masked by its tool's schema and by the policy in force."""

from collections.abc import Iterable

from agents.protocol import Decision
from review.governance import PolicyBook
from review.items import ReviewItem
from review.masking import Pattern, Veil
from review.store import Reading


def schema_of(tx: Reading, item: ReviewItem) -> dict[str, object] | None:
    """Return the schema that the item's arguments must fit: its own, else its tool's."""
    if item.request.args_schema is not None:
        return dict(item.request.args_schema)
    tool = tx.tool(item.workspace, item.agent, item.request.action.name)
    return tool.args_schema if tool else None


class Veils:
    """The veils of items within one transaction; a tool that many of them share is looked up once."""

    def __init__(self, tx: Reading, policies: PolicyBook) -> None:
        self._tx = tx
        self._policies = policies
        self._schemas: dict[tuple[str, str, str], dict[str, object] | None] = {}

    def of(self, item: ReviewItem, *, decisions: Iterable[Decision] = ()) -> Veil:
        """Return what the item is read through, together with these decisions on it, until it is revealed."""
        return Veil.over(item, self._schema(item), self._declared(item), decisions=decisions)

    def _schema(self, item: ReviewItem) -> dict[str, object] | None:
        if item.request.args_schema is not None:
            return schema_of(self._tx, item)
        place = (item.workspace, item.agent, item.request.action.name)
        if place not in self._schemas:
            self._schemas[place] = schema_of(self._tx, item)
        return self._schemas[place]

    def _declared(self, item: ReviewItem) -> tuple[Pattern, ...]:
        policy = self._policies.in_force(item.workspace, within=self._tx).compiled
        return policy.sensitive(item.request.action.name)
