"""Where the policy cannot be read or the signer cannot sign, nothing is permitted (the log: test_audit_trail.py)."""

import pytest
from joserfc.errors import UnsupportedKeyOperationError
from joserfc.jwk import OKPKey
from sqlalchemy import text

from agents.protocol import Approve, Execution, Status
from db.store import SqlStore
from review.desk import Seen
from tests.builders import ada
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


def test_without_a_policy_nothing_is_taken_in(store: SqlStore) -> None:
    house = Console(store)
    agent = caller(house)
    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- policies that cannot be read any more
        connection.execute(text("ALTER TABLE policies RENAME TO lost_policies"))

    with pytest.raises(Exception, match="policies"):
        submit(house, agent, confidence=1.0)

    assert items(house) == ()
