"""Where the policy cannot be read or the signer cannot sign, nothing is permitted (the log: test_audit_trail.py)."""

import pytest
from joserfc.errors import UnsupportedKeyOperationError
from joserfc.jwk import OKPKey
from sqlalchemy import text

from agents.protocol import Approve, Execution, Status
from db.store import SqlStore
from review.desk import Seen
from review.errors import ReceiptRefusedError
from tests.builders import ada, an_action
from tests.console import Console
from tests.review.steps import a_document, caller, claim, events, items, kept, submit

WORDLESS = "Invalid key_op 'sign' for public key"


@pytest.fixture
def wordless(store: SqlStore) -> Console:
    """An installation whose signer has lost the half of its key that signs."""
    house = Console(store)
    house.receipts._key = OKPKey.import_key(house.signing_key.as_dict(private=False))  # noqa: SLF001 -- lost while it ran
    return house


def test_without_a_signer_a_persons_approval_permits_nothing(wordless: Console) -> None:
    status = submit(wordless)
    item = claim(wordless)
    before = events(wordless)

    with pytest.raises(UnsupportedKeyOperationError, match=WORDLESS):
        wordless.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    left = kept(wordless, status.id)
    assert (left.status, left.decision, left.execution) == (Status.CLAIMED, None, Execution.NONE)
    assert events(wordless) == before


def test_without_a_signer_the_policy_permits_nothing(wordless: Console) -> None:
    agent = caller(wordless)
    wordless.save_policy(a_document())

    with pytest.raises(UnsupportedKeyOperationError, match=WORDLESS):
        submit(wordless, agent, confidence=1.0)

    assert items(wordless) == ()


def test_a_receipt_of_a_lost_key_permits_nothing_and_keeps_no_other_item_from_its_agent(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    before = Console(store)
    agent = caller(before)
    before.save_policy(a_document())
    lost = submit(before, agent, key="lost", confidence=1.0)
    house = Console(store)
    fresh = submit(house, agent, confidence=1.0)

    answers = [
        house.intake.status(agent, lost.id),
        submit(house, agent, key="lost", confidence=1.0),
        *house.intake.statuses(agent, status=None, limit=10).items,
    ]

    assert lost.receipt is not None
    assert [(each.id, each.execution, each.receipt) for each in answers] == [
        *[(lost.id, Execution.PERMITTED, None)] * 2,
        (fresh.id, Execution.PERMITTED, fresh.receipt),
        (lost.id, Execution.PERMITTED, None),
    ]
    told = f"item {lost.id} is permitted by a receipt that permits nothing"
    assert [record.levelname for record in caplog.records if told in record.message] == ["WARNING"]
    with pytest.raises(ReceiptRefusedError):
        house.intake.consume(agent, lost.id, lost.receipt, an_action().args)


def test_without_a_policy_nothing_is_taken_in(store: SqlStore) -> None:
    house = Console(store)
    agent = caller(house)
    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- policies that cannot be read any more
        connection.execute(text("ALTER TABLE policies RENAME TO lost_policies"))

    with pytest.raises(Exception, match="policies"):
        submit(house, agent, confidence=1.0)

    assert items(house) == ()
