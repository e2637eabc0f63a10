"""Every state change has exactly one audit event, in its own transaction: without the event nothing changes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from sqlalchemy import text

from agents.credentials import PrivateKeyJwt
from agents.protocol import Approve, Outcome, OutcomeStatus, Reject, Respond, Route
from db.store import SqlStore
from review.audit import SYSTEM, EventFilter, EventKind
from review.desk import ReviewDesk, Seen
from review.erasure import Retention
from review.intake import Intake, Submission
from review.items import CLAIM_DURATION, ReviewItem
from review.people import AgentKey, Emergency, Limits, Role, SignInProof
from review.policy import DEFAULT_OUTCOME_WITHIN, Autonomy, PolicyDocument, Rule
from review.sessions import LOCAL_OPERATOR, Sessions
from tests.builders import WORKSPACE, a_member, a_request, ada, an_action, grace, keeping, root
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import a_document, all_rows, an_edit, caller, claim, decide, events, kept, submit

ARGS = a_request().action.args
KEY = OKPKey.generate_key("Ed25519")
PUBLIC_KEY = KEY.as_pem(private=False).decode()
RETENTION = timedelta(days=180)
SECRETS = (
    "A-1001",
    "49.90",
    "arrived broken",
    "My cup",
    "photo of the broken cup",
    "B-2002",
    "Which order?",
    "Out of stock",
)
FOUR_EYES = a_document(Autonomy.SUPERVISED, Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2))
DENY = a_document(Autonomy.AUTONOMOUS, Rule(name="never", when="true", route=Route.DENY))


class Scene:
    """A house with what a use case needs to be there before it."""

    def __init__(self, house: Console, clock: MovableClock) -> None:
        self.house = house
        self.clock = clock
        self.agent: AgentKey = caller(house)
        self.sessions = Sessions(house.store)

    def under(self, document: PolicyDocument) -> "Scene":
        self.house.save_policy(document)
        return self

    def waiting(self, **fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the request takes
        return kept(self.house, submit(self.house, self.agent, **fields).id)

    def held(self, **fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the request takes
        self.waiting(**fields)
        return claim(self.house)

    def permitted(self) -> ReviewItem:
        self.waiting()
        return decide(self.house, Approve())

    def started(self) -> ReviewItem:
        item = self.permitted()
        self.house.intake.consume(self.agent, item.id, item.receipt or "", ARGS)
        return kept(self.house, item.id)

    def lost(self) -> ReviewItem:
        item = self.started()
        self.passing(timedelta(seconds=DEFAULT_OUTCOME_WITHIN))()
        return kept(self.house, item.id)

    def deciding(self, decision: Any) -> Callable[[], object]:  # noqa: ANN401 -- any of the four decisions
        item = self.held()
        return lambda: self.house.desk.decide(item.id, decision, ada, seen=Seen.of(item))

    def with_grace(self) -> "Scene":
        self.house.desk = ReviewDesk(
            self.house.store, self.house.receipts, self.house.policies, undo_for=timedelta(seconds=5)
        )
        return self

    def decided(self) -> ReviewItem:
        """Approve, so that it can still be taken back."""
        self.with_grace().waiting()
        return decide(self.house, Approve())

    def passing(self, time: timedelta) -> Callable[[], object]:
        self.clock.advance(time)
        return self.house.intake.sweep

    def drawing(self) -> Callable[[], object]:
        self.under(a_document())
        drawn = Intake(self.house.store, self.house.receipts, self.house.policies, draw=lambda: 0.0)
        return lambda: drawn.submit(self.agent, Submission(a_request(), "k", "body"))


Prepare = Callable[[Scene], Callable[[], object]]


def _on(prepare: Callable[[Scene], ReviewItem], act: Callable[[Scene, ReviewItem], object]) -> Prepare:
    def prepared(scene: Scene) -> Callable[[], object]:
        item = prepare(scene)
        return lambda: act(scene, item)

    return prepared


def _lapsed(scene: Scene) -> Callable[[], object]:
    scene.held()
    return scene.passing(CLAIM_DURATION)


def _overdue(scene: Scene) -> Callable[[], object]:
    scene.waiting(expires_in=1)
    return scene.passing(timedelta(seconds=1))


def _approved_by_silence(scene: Scene) -> Callable[[], object]:
    scene.under(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    scene.waiting(on_expiry="approve")
    return scene.passing(timedelta(hours=24))


def _missed(scene: Scene) -> Callable[[], object]:
    scene.started()
    return scene.passing(timedelta(seconds=DEFAULT_OUTCOME_WITHIN))


def _past_the_grace(scene: Scene) -> Callable[[], object]:
    scene.decided()
    scene.clock.advance(timedelta(seconds=5))
    return scene.house.desk.settling.tick


def _paused_in_the_grace(scene: Scene) -> Callable[[], object]:
    act = _past_the_grace(scene)
    scene.house.switch.pause(grace, reason="Out of stock")
    return act


def _undone_with_another_held(scene: Scene) -> Callable[[], object]:
    item = scene.decided()
    scene.held()
    return lambda: scene.house.desk.undo(ada, item.id, epoch=item.epoch)


def _assigned(scene: Scene) -> ReviewItem:
    item = scene.waiting()
    scene.house.store.write(keeping(a_member(grace)))
    return scene.house.board.assign(grace, item.id, to=grace)


def _handed_over(scene: Scene) -> Callable[[], object]:
    item = scene.held()
    scene.house.store.write(keeping(a_member(grace)))
    return lambda: scene.house.board.hand_over(ada, item.id, epoch=item.epoch, to=grace)


def _snoozed(scene: Scene) -> ReviewItem:
    item = scene.waiting()
    return scene.house.board.snooze(ada, item.id, until=scene.clock() + timedelta(hours=1))


def _slept_enough(scene: Scene) -> Callable[[], object]:
    _snoozed(scene)
    return scene.passing(timedelta(hours=1))


def _late(scene: Scene) -> Callable[[], object]:
    scene.waiting()
    return scene.passing(timedelta(hours=4))


def _swapped(scene: Scene) -> Callable[[], object]:
    scene.held()
    other = scene.waiting()
    return lambda: scene.house.desk.claim_item(ada, other.id)


def _taken_over(scene: Scene) -> Callable[[], object]:
    scene.held()
    scene.clock.advance(CLAIM_DURATION)
    return lambda: scene.house.desk.claim(grace)


def _signed_in(scene: Scene) -> Callable[[], object]:
    secret = scene.sessions.create_link()
    return lambda: scene.sessions.sign_in(secret)


def _signed_out(scene: Scene) -> Callable[[], object]:
    secret = scene.sessions.sign_in(scene.sessions.create_link())
    return lambda: scene.sessions.sign_out(secret)


def _ending_own(scene: Scene) -> Callable[[], object]:
    for _ in range(3):
        scene.sessions.admit(ada, SignInProof(None))
    just_now = replace(ada, authenticated_at=scene.clock())
    return lambda: scene.sessions.end_others(just_now, kept=scene.sessions.own(just_now)[0].id)


def _broken(scene: Scene) -> Emergency:
    hero = replace(ada, roles=frozenset({Role.BREAK_GLASS}))
    return scene.house.emergencies.break_glass(hero, reason="Out of stock", ticket="A-1001", minutes=5)


def _ending(scene: Scene) -> Callable[[], object]:
    emergency = _broken(scene)
    return lambda: scene.house.emergencies.end(root, emergency.id)


def _looking(scene: Scene) -> Callable[[], object]:
    emergency = _broken(scene)
    scene.house.emergencies.end(root, emergency.id)
    return lambda: scene.house.emergencies.review(root, emergency.id, "Out of stock")


def _revoked(scene: Scene) -> Callable[[], object]:
    key, _ = scene.house.keys.create("another", WORKSPACE, SYSTEM)
    return lambda: scene.house.keys.revoke_by(LOCAL_OPERATOR, key.prefix)


def _proving(scene: Scene) -> Callable[[], object]:
    client = scene.house.keys.register("another", WORKSPACE, SYSTEM, public_key=PUBLIC_KEY)
    mine = PrivateKeyJwt(client.prefix, KEY.as_pem(private=True), clock=client.created_at.timestamp)
    return lambda: scene.house.keys.exchange(mine.assertion(scene.house.url), admit=scene.house.pace.require)


def _erasing(scene: Scene, item: ReviewItem) -> Callable[[], object]:
    plan = scene.house.eraser.plan_item(root, item.id)
    return lambda: scene.house.eraser.erase(root, plan)


def _grown_old(scene: Scene) -> Callable[[], object]:
    scene.permitted()
    scene.clock.advance(RETENTION)
    return Retention(scene.house.store, RETENTION - timedelta(seconds=1)).tick


def _present(act: Callable[[Scene], object]) -> Prepare:
    def prepared(scene: Scene) -> Callable[[], object]:
        scene.sessions.admit(ada, SignInProof(None))
        return lambda: act(scene)

    return prepared


def _paused(scene: Scene) -> Callable[[], object]:
    scene.house.switch.pause(grace, reason="Out of stock")
    return lambda: scene.house.switch.resume(grace)


K = EventKind
CHANGES: dict[str, tuple[Prepare, list[EventKind]]] = {
    "submit, reviewed": (lambda scene: scene.waiting, [K.ACTION_SUBMITTED]),
    "submit, executed": (lambda scene: scene.under(a_document()).waiting, [K.ACTION_SUBMITTED]),
    "submit, denied": (lambda scene: scene.under(DENY).waiting, [K.ACTION_SUBMITTED]),
    "submit, executed and drawn": (Scene.drawing, [K.ACTION_SUBMITTED, K.AUDIT_QUEUED]),
    "claim": (_on(Scene.waiting, lambda scene, _: scene.house.desk.claim(ada)), [K.ITEM_CLAIMED]),
    "claim what another let lapse": (_taken_over, [K.CLAIM_LAPSED, K.ITEM_CLAIMED]),
    "claim this one": (
        _on(Scene.waiting, lambda scene, item: scene.house.desk.claim_item(ada, item.id)),
        [K.ITEM_CLAIMED],
    ),
    "claim this one instead": (_swapped, [K.CLAIM_RELEASED, K.ITEM_CLAIMED]),
    "extend": (
        _on(Scene.held, lambda scene, item: scene.house.desk.extend(ada, item.id, epoch=item.epoch)),
        [K.CLAIM_EXTENDED],
    ),
    "release": (
        _on(Scene.held, lambda scene, item: scene.house.desk.release(ada, item.id, epoch=item.epoch)),
        [K.CLAIM_RELEASED],
    ),
    "lapse": (_lapsed, [K.CLAIM_LAPSED]),
    "assign": (
        _on(_assigned, lambda scene, item: scene.house.board.assign(grace, item.id, to=grace, note="Soon.")),
        [K.ITEM_ASSIGNED],
    ),
    "take back": (
        _on(_assigned, lambda scene, item: scene.house.board.put_back(grace, item.id)),
        [K.ASSIGNMENT_ENDED],
    ),
    "hand over": (_handed_over, [K.ITEM_HANDED_OVER]),
    "snooze": (
        _on(_snoozed, lambda scene, item: scene.house.board.snooze(ada, item.id, until=item.due_at)),
        [K.ITEM_SNOOZED],
    ),
    "wake": (_on(_snoozed, lambda scene, item: scene.house.board.put_back(ada, item.id)), [K.ITEM_WOKEN]),
    "sleep enough": (_slept_enough, [K.ITEM_WOKEN]),
    "be overdue": (_late, [K.DEADLINE_BREACHED]),
    "expire": (_overdue, [K.ITEM_EXPIRED]),
    "expire, approved": (_approved_by_silence, [K.ITEM_EXPIRED]),
    "approve": (lambda scene: scene.deciding(Approve()), [K.ITEM_DECIDED]),
    "edit": (lambda scene: scene.deciding(an_edit(order_id="B-2002")), [K.ITEM_DECIDED]),
    "reject": (lambda scene: scene.deciding(Reject(message="Out of stock")), [K.ITEM_DECIDED]),
    "respond": (lambda scene: scene.deciding(Respond(message="Out of stock")), [K.ITEM_DECIDED]),
    "approve as the first of two": (lambda scene: scene.under(FOUR_EYES).deciding(Approve()), [K.APPROVAL_GIVEN]),
    "edit before the others": (
        lambda scene: scene.under(FOUR_EYES).deciding(an_edit(order_id="B-2002")),
        [K.EDIT_PROPOSED],
    ),
    "approve, with a grace": (lambda scene: scene.with_grace().deciding(Approve()), [K.DECISION_MADE]),
    "undo": (
        _on(Scene.decided, lambda scene, item: scene.house.desk.undo(ada, item.id, epoch=item.epoch)),
        [K.DECISION_TAKEN_BACK],
    ),
    "undo, giving back what is held": (_undone_with_another_held, [K.CLAIM_RELEASED, K.DECISION_TAKEN_BACK]),
    "let the grace be over": (_past_the_grace, [K.ITEM_DECIDED]),
    "let the grace be over in a pause": (_paused_in_the_grace, [K.DECISION_VOIDED]),
    "withdraw in the grace": (
        _on(Scene.decided, lambda scene, item: scene.house.intake.cancel(scene.agent, item.id)),
        [K.ITEM_CANCELLED],
    ),
    "reveal": (
        _on(
            lambda scene: scene.waiting(action=an_action("send_letter", to="ada@example.com")),
            lambda scene, item: scene.house.desk.reveal(ada, item.id),
        ),
        [K.VALUES_REVEALED],
    ),
    "ask": (
        _on(Scene.waiting, lambda scene, item: scene.house.desk.ask(ada, item.id, "Which order?")),
        [K.NOTE_ADDED],
    ),
    "answer": (
        _on(Scene.waiting, lambda scene, item: scene.house.intake.add_note(scene.agent, item.id, "A-1001")),
        [K.NOTE_ADDED],
    ),
    "cancel": (
        _on(Scene.waiting, lambda scene, item: scene.house.intake.cancel(scene.agent, item.id)),
        [K.ITEM_CANCELLED],
    ),
    "consume": (
        _on(
            Scene.permitted,
            lambda scene, item: scene.house.intake.consume(scene.agent, item.id, item.receipt or "", ARGS),
        ),
        [K.RECEIPT_CONSUMED],
    ),
    "report": (
        _on(
            Scene.started,
            lambda scene, item: scene.house.intake.report_outcome(
                scene.agent, item.id, Outcome(status=OutcomeStatus.FAILED, error="Out of stock")
            ),
        ),
        [K.OUTCOME_REPORTED],
    ),
    "miss an outcome": (_missed, [K.OUTCOME_MISSED]),
    "reconcile": (
        _on(
            Scene.lost,
            lambda scene, item: scene.house.desk.reconcile(ada, item.id, OutcomeStatus.FAILED, "Out of stock"),
        ),
        [K.OUTCOME_RECONCILED],
    ),
    "erase": (lambda scene: _erasing(scene, scene.started()), [K.CONTENT_ERASED]),
    "erase what nobody decided": (
        lambda scene: _erasing(scene, scene.held()),
        [K.ITEM_CANCELLED, K.CONTENT_ERASED],
    ),
    "grow too old to be kept": (_grown_old, [K.CONTENT_EXPIRED]),
    "save a policy": (lambda scene: lambda: scene.house.save_policy(a_document()), [K.POLICY_SAVED]),
    "create a key": (lambda scene: lambda: scene.house.keys.create_by(LOCAL_OPERATOR, "new"), [K.KEY_CREATED]),
    "renew a key": (
        lambda scene: lambda: scene.house.keys.renew_by(root, scene.agent.prefix),
        [K.KEY_RENEWED],
    ),
    "register a public key": (
        lambda scene: lambda: scene.house.keys.register_by(root, "new", PUBLIC_KEY),
        [K.KEY_CREATED],
    ),
    "prove an agent": (_proving, [K.TOKEN_ISSUED]),
    "limit a key": (
        lambda scene: lambda: scene.house.keys.limit(scene.agent.prefix, WORKSPACE, SYSTEM, limits=Limits(5, 5)),
        [K.KEY_LIMITED],
    ),
    "break the glass": (lambda scene: lambda: _broken(scene), [K.GLASS_BROKEN]),
    "end an emergency": (_ending, [K.EMERGENCY_ENDED]),
    "look at an emergency": (_looking, [K.EMERGENCY_REVIEWED]),
    "revoke a key": (_revoked, [K.KEY_REVOKED]),
    "rotate the signing key": (
        lambda scene: lambda: scene.house.sealer.announce(Ed25519PrivateKey.generate().public_key(), SYSTEM),
        [K.KEY_ROTATED],
    ),
    "create a link": (lambda scene: scene.sessions.create_link, [K.LINK_CREATED]),
    "sign in": (_signed_in, [K.SIGNED_IN]),
    "sign out": (_signed_out, [K.SIGNED_OUT]),
    "sign in with a provider": (
        lambda scene: lambda: scene.sessions.admit(ada, SignInProof(None, "sid", "token")),
        [K.SIGNED_IN],
    ),
    "be signed out by the provider": (
        _present(lambda scene: scene.sessions.sign_out_everywhere(ada.iss, sub=ada.sub)),
        [K.SIGNED_OUT],
    ),
    "end a session of one's own": (_ending_own, [K.SESSIONS_ENDED]),
    "end a person's sessions": (
        _present(lambda scene: scene.house.roster.end_sessions(root, ada.iss, ada.sub)),
        [K.SESSIONS_ENDED],
    ),
    "change roles": (
        _present(lambda scene: scene.house.roster.change_roles(root, ada.iss, ada.sub, roles=())),
        [K.ROLES_CHANGED],
    ),
    "record training": (
        _present(
            lambda scene: scene.house.roster.record_training(
                root, ada.iss, ada.sub, trained_until={"high": scene.clock()}
            )
        ),
        [K.TRAINING_CHANGED],
    ),
    "pause": (lambda scene: lambda: scene.house.switch.pause(grace, reason="Out of stock"), [K.PAUSED]),
    "resume": (_paused, [K.RESUMED]),
    "export labels": (lambda scene: lambda: scene.house.records.labels(LOCAL_OPERATOR), [K.EXPORT_MADE]),
    "export decisions": (lambda scene: lambda: scene.house.records.decisions(LOCAL_OPERATOR), [K.EXPORT_MADE]),
    "export events": (
        lambda scene: lambda: scene.house.records.audit_events(LOCAL_OPERATOR, EventFilter()),
        [K.EXPORT_MADE],
    ),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_writes_its_events_and_no_others(either_house: Console, clock: MovableClock, change: str) -> None:
    prepare, expected = CHANGES[change]
    act = prepare(Scene(either_house, clock))
    before = events(either_house)

    act()

    written = events(either_house)[len(before) :]
    assert [event.kind for event in written] == expected
    told = b"".join(event.leaf for event in written).decode()
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize("change", list(CHANGES))
def test_without_its_event_nothing_is_changed(
    either_house: Console, store: SqlStore, clock: MovableClock, change: str
) -> None:
    act = CHANGES[change][0](Scene(either_house, clock))
    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- a log that takes nothing any more
        connection.execute(text("ALTER TABLE audit_events RENAME TO lost_audit_events"))
    before = all_rows(store)

    with pytest.raises(Exception, match="audit_events"):
        act()

    assert all_rows(store) == before


def test_every_kind_of_event_is_written_by_some_change() -> None:
    written = {kind for _, expected in CHANGES.values() for kind in expected}

    # How much an agent submits is counted in memory; test_pace.py sees to these events.
    assert set(EventKind) - written == {EventKind.PACE_EXCEEDED, EventKind.SHARE_EXCEEDED}
