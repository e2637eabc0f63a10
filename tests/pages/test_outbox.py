"""The outbox of the focus view, over real HTTP: what becomes of what it holds, whose it is, and what is told."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from uuid_utils.compat import uuid7

from agents.protocol import Approve, Reject, Status
from db.store import SqlStore
from pages import outbox, services
from pages.outbox import _ACTS, Act, Entry, hear
from pages.rendering import CUT_AT
from pages.requests import cookie_name
from pages.sitting import Acknowledgement, Sitting, done, refusal, sittings
from review.items import ItemFilter, ReviewItem
from review.people import Person, Role
from tests.builders import a_request, ada, an_action, an_item, grace, keeping, root
from tests.console import Console, serving
from tests.waiting import PATIENCE_SECONDS

UNDO_FOR = timedelta(seconds=60)


def entry(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- whatever an entry takes
    made: dict[str, Any] = {"id": uuid7().hex, "act": "decide", "item": str(uuid7()), "dwell_ms": 2_000}
    return made | ({} if "act" in fields else {"decision": {"type": "approve"}}) | fields


class Answers:
    """Notes what it was asked, and says that it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Entry] = []
        for act in Act:
            monkeypatch.setitem(_ACTS, act, self._answer)

    def _answer(self, _: Sitting, __: Person, asked: Entry) -> Acknowledgement:
        self.asked.append(asked)
        return done(f"Answer {len(self.asked)}")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


@pytest.fixture
def sitting() -> Sitting:
    return Sitting(ada, set())


def test_an_entry_is_answered_once_however_often_it_is_sent(answers: Answers, sitting: Sitting) -> None:
    first, second = entry(), entry(decision={"type": "reject", "message": "no"})

    hear(sitting, ada, [first])
    hear(sitting, ada, [{**first, "tries": 2}])
    hear(sitting, ada, [{**first, "tries": 3}, second])

    assert [asked.decision for asked in answers.asked] == [Approve(), Reject(message="no")]
    assert sitting.acknowledged == {first["id"]: done("Answer 1"), second["id"]: done("Answer 2")}


def test_what_the_outbox_holds_no_more_is_forgotten(answers: Answers, sitting: Sitting) -> None:
    entries = [entry() for _ in range(20)]

    for each in entries:
        hear(sitting, ada, [each])

    assert len(answers.asked) == len(entries)
    assert list(sitting.acknowledged) == [entries[-1]["id"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"act": "approve everything"},
        {"item": "no id"},
        {"decision": {"type": "edit", "edited_action": {"name": "x", "args": {}}}},
        {"codes": ["because"]},
        {"dwell_ms": -1},
        {"dwell_ms": 2**53},
        {"as_person": "grace"},
        {"text": "x" * 20_001},
    ],
)
def test_an_entry_that_cannot_be_read_is_refused_and_holds_up_no_other(
    wrong: dict[str, Any], answers: Answers, sitting: Sitting
) -> None:
    good, bad = entry(), entry() | wrong

    hear(sitting, ada, [bad, good])

    assert [asked.id for asked in answers.asked] == [good["id"]]
    assert sitting.acknowledged[good["id"]]["ok"]
    assert not sitting.acknowledged[bad["id"]]["ok"]
    assert sitting.acknowledged[bad["id"]]["text"].startswith("Nothing was done: ")


@pytest.mark.parametrize("held", [[None], ["text"], [{}], [{"id": 7}]])
def test_an_outbox_that_no_browser_sends_does_nothing(held: list[object], answers: Answers, sitting: Sitting) -> None:
    hear(sitting, ada, held)

    assert answers.asked == []
    assert sitting.acknowledged == {}


def test_a_refusal_is_remembered_as_well(monkeypatch: pytest.MonkeyPatch, sitting: Sitting) -> None:
    asked = entry()
    monkeypatch.setitem(_ACTS, Act.DECIDE, lambda *_: refusal("Gone."))

    hear(sitting, ada, [asked])
    Answers(monkeypatch)
    hear(sitting, ada, [asked])

    assert sitting.acknowledged == {asked["id"]: {"ok": False, "tone": "bad", "text": "Gone."}}


def test_every_act_of_the_browser_has_its_answer() -> None:
    assert set(_ACTS) == set(Act)


# ---- With a desk, and over the route


@pytest.fixture
def house(sqlite_store: SqlStore) -> Console:
    return Console(sqlite_store, undo_for=UNDO_FOR)


@pytest.fixture
def items(house: Console) -> list[ReviewItem]:
    made = [an_item() for _ in range(4)]
    house.store.write(lambda tx: [keeping(item)(tx) for item in made])
    return made


class Tab:
    """A tab of ada's browser, without the browser."""

    def __init__(self, http: httpx2.Client, sitting: Sitting, cookie: str) -> None:
        self.sitting = sitting
        self._http = http
        self._cookie = cookie

    def sends(self, *entries: dict[str, Any], cookie: str | None = None, to: str = "") -> httpx2.Response:
        return self.sends_raw(json.dumps({"outbox": entries}).encode(), cookie=cookie, to=to)

    def sends_raw(self, body: bytes, *, cookie: str | None = None, to: str = "") -> httpx2.Response:
        headers = {"Cookie": f"{cookie_name(is_secure=False)}={cookie or self._cookie}"}
        return self._http.post(f"/sittings/{to or self.sitting.id}", content=body, headers=headers)

    def asks(self) -> httpx2.Response:
        return self.sends()

    def shows(self) -> dict[str, Any]:
        with self.sitting.turn_taking:
            return self.sitting.told(self.sitting.person)


@pytest.fixture
def tab(house: Console, items: list[ReviewItem], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tab]:
    assert items
    monkeypatch.setattr(services, "_installed", [])
    services.install(house.services())
    cookie = house.sessions.sign_in(house.sessions.create_link(ada))
    here = house.sessions.person(cookie)
    assert here is not None
    sitting = sittings["ada"] = Sitting(here, set())
    sitting.id = "ada"
    with (
        serving(Starlette(routes=outbox.routes())) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        yield Tab(http, sitting, cookie)


def shown_items(told: dict[str, Any]) -> list[str]:
    return [item["key"].split(".")[0] for item in told["items"]]


def look_in(told: dict[str, Any]) -> dict[str, Any]:
    look: dict[str, Any] = json.loads(told["items"][0]["look"])
    return {name: look[name] for name in ("item", "version", "epoch", "digest")}


def kept(house: Console, item_id: str) -> ReviewItem:
    (found,) = [item for item in all_items(house) if str(item.id) == item_id]
    return found


def all_items(house: Console) -> list[ReviewItem]:
    return list(house.store.read(lambda tx: tx.whole_items("default", ItemFilter(), limit=50)).rows)


def test_a_decision_is_made_on_what_was_shown_and_the_next_two_are_told(house: Console, tab: Tab) -> None:
    before = tab.shows()
    decided = entry(**look_in(before))

    answer = tab.sends(decided)

    told = answer.json()
    assert answer.status_code == HTTPStatus.OK
    assert told["acknowledged"] == {decided["id"]: done("")}
    assert shown_items(told)[0] == shown_items(before)[1]
    assert len(told["items"]) == 2
    assert told["undo"]["item"] == shown_items(before)[0]
    assert isinstance((pending := kept(house, shown_items(before)[0]).pending) and pending.decision, Approve)


def test_what_the_browser_has_is_not_sent_again(tab: Tab) -> None:
    before = tab.shows()
    stamps = [item["stamp"] for item in before["items"]]

    told = tab.sitting.told(tab.sitting.person, knows=stamps[1:])

    assert [item["look"] is None for item in told["items"]] == [False, True]
    assert told["number"] == before["number"] + 1


def test_a_decision_is_taken_back_and_its_item_comes_into_view(house: Console, tab: Tab) -> None:
    first = look_in(tab.shows())
    undo = tab.sends(entry(**first)).json()["undo"]

    told = tab.sends(entry(act="undo", item=undo["item"], version=undo["version"], epoch=undo["epoch"])).json()

    assert shown_items(told)[0] == first["item"]
    assert told["undo"] is None
    assert kept(house, first["item"]).status is Status.CLAIMED


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"digest": "0" * 64}, "changed"),
        ({"version": 2}, "changed"),
        ({"epoch": 7}, "no longer hold"),
        ({"dwell_ms": 10}, "still appearing"),
        ({"decision": None}, "Nothing was decided"),
        ({"item": str(uuid7())}, "There is no item"),
    ],
)
def test_what_does_not_fit_what_is_held_is_refused_and_comes_back(
    changed: dict[str, Any], said: str, house: Console, tab: Tab
) -> None:
    look = look_in(tab.shows())
    asked = entry(**look) | changed

    told = tab.sends(asked).json()

    assert not told["acknowledged"][asked["id"]]["ok"]
    assert said in told["acknowledged"][asked["id"]]["text"]
    assert shown_items(told)[0] == look["item"]
    assert all(item.pending is None for item in all_items(house))


def test_what_hides_a_part_of_its_arguments_is_not_approved_before_that_was_opened(house: Console, tab: Tab) -> None:
    long = an_item(request=a_request(action=an_action(text="x" * CUT_AT + "y")), priority=0)
    house.store.write(keeping(long))
    look = look_in(tab.shows())
    assert look["item"] == str(long.id)

    unopened = tab.sends(asked := entry(**look)).json()["acknowledged"][asked["id"]]
    still_claimed = kept(house, look["item"])
    opened = tab.sends(again := entry(**look, is_opened=True)).json()["acknowledged"][again["id"]]

    assert (unopened["ok"], unopened["text"]) == (False, "Open the hidden characters to approve.")
    assert (still_claimed.status, still_claimed.pending) == (Status.CLAIMED, None)
    assert (opened["ok"], kept(house, look["item"]).pending is None) == (True, False)


def test_nobody_looked_for_longer_than_the_browser_had_the_item(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [100.0]
    monkeypatch.setattr("pages.sitting.time.monotonic", lambda: moments[0])
    look = look_in(tab.shows())
    moments[0] += 0.1

    here = tab.sends(too_soon := entry(**look, dwell_ms=60_000, session=tab.sitting.id)).json()
    before_the_restart = tab.sends(late := entry(**look, dwell_ms=60_000, session="before")).json()

    assert not here["acknowledged"][too_soon["id"]]["ok"]
    assert before_the_restart["acknowledged"][late["id"]]["ok"]


def test_there_are_news_only_when_something_is_new(house: Console, tab: Tab) -> None:
    shown = tab.shows()
    quiet = tab.asks()
    house.desk.release(tab.sitting.person, kept(house, shown_items(shown)[0]).id, epoch=1)

    changed = tab.asks()

    assert quiet.status_code == HTTPStatus.NO_CONTENT
    assert changed.status_code == HTTPStatus.OK
    assert "Your hold on the item had lapsed" in changed.json()["gone"][shown_items(shown)[0]]


def test_an_empty_tab_hears_of_what_comes(house: Console, tab: Tab) -> None:
    for _ in all_items(house):
        tab.sends(entry(**look_in(tab.shows())))
    empty = tab.shows()
    quiet = tab.asks()
    house.store.write(keeping(fresh := an_item()))

    told = tab.asks().json()

    assert (empty["state"], empty["items"], quiet.status_code) == ("empty", [], HTTPStatus.NO_CONTENT)
    assert shown_items(told) == [str(fresh.id)]


def test_who_pauses_holds_nothing_until_they_go_on(house: Console, tab: Tab) -> None:
    tab.shows()

    paused = tab.sends(entry(act="pause")).json()
    held = [item.status for item in all_items(house)]
    on = tab.sends(entry(act="resume")).json()

    assert (paused["state"], paused["items"]) == ("paused", [])
    assert set(held) == {Status.WAITING}
    assert (on["state"], len(on["items"])) == ("open", 2)


def test_who_turns_to_another_view_is_told_so_until_it_is_drawn_and_nothing_is_held_for_it(tab: Tab) -> None:
    look = look_in(tab.shows())

    told = tab.sends(entry(act="edit", **look)).json()
    again = tab.asks().json()

    assert told["is_turned"]
    assert again["is_turned"]
    assert "items" not in told
    assert tab.sitting.turned is not None
    assert str(tab.sitting.turned.item) == look["item"]


def test_what_arrives_after_the_screen_was_left_is_done_and_holds_nothing_more(house: Console, tab: Tab) -> None:
    look = look_in(tab.shows())
    tab.sitting.leave(tab.sitting.person)

    told = tab.sends(entry(**look)).json()

    assert told["is_turned"]
    assert tab.asks().status_code == HTTPStatus.NO_CONTENT
    assert [item.status for item in all_items(house)].count(Status.CLAIMED) == 1
    assert kept(house, look["item"]).pending is not None


def test_a_sitting_is_its_persons_alone(house: Console, tab: Tab) -> None:
    look = look_in(tab.shows())
    other, elsewhere = (
        house.sessions.sign_in(house.sessions.create_link(person))
        for person in (grace, replace(ada, workspace="elsewhere"))
    )

    answers = [
        tab.sends(entry(**look), to="nobody"),
        *(tab.sends(*sent, cookie=cookie) for cookie in (other, elsewhere) for sent in ((entry(**look),), ())),
    ]

    assert [answer.status_code for answer in answers] == [HTTPStatus.GONE] * 5
    assert all(item.pending is None for item in all_items(house))


def test_who_is_signed_out_or_may_not_decide_is_refused(house: Console, tab: Tab) -> None:
    look = look_in(tab.shows())
    auditor = Person(grace.iss, "otto", "Otto", frozenset({Role.AUDITOR}))
    cookie = house.sessions.sign_in(house.sessions.create_link(auditor))

    signed_out, unfit = tab.sends(entry(**look), cookie="nobody"), tab.sends(entry(**look), cookie=cookie)

    assert (signed_out.status_code, unfit.status_code) == (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    assert all(item.pending is None for item in all_items(house))


def test_a_lost_role_and_an_ended_session_are_felt_by_the_very_next_thing_that_is_sent(
    house: Console, tab: Tab
) -> None:
    look = look_in(tab.shows())

    house.roster.change_roles(root, ada.iss, ada.sub, roles={Role.AUDITOR})
    without_the_role = [tab.sends(entry(**look)), tab.asks()]
    house.roster.change_roles(root, ada.iss, ada.sub, roles={Role.REVIEWER})
    house.roster.end_sessions(root, ada.iss, ada.sub)
    signed_out = [tab.sends(entry(**look)), tab.asks()]

    assert [answer.status_code for answer in without_the_role] == [HTTPStatus.FORBIDDEN] * 2
    assert [answer.status_code for answer in signed_out] == [HTTPStatus.UNAUTHORIZED] * 2
    assert all(item.pending is None for item in all_items(house))


def test_what_was_recorded_on_its_way_and_is_sent_again_later_decides_nothing_more(house: Console, tab: Tab) -> None:
    decided = entry(**look_in(tab.shows()))
    tab.sends(decided)
    tab.sends(entry(act="extend"))  # With it the browser has dropped the first, whose answer is forgotten here.
    before = all_items(house)

    tab.sends(decided)
    after = all_items(house)
    tab.sends(entry(act="undo", **{name: decided[name] for name in ("item", "version", "epoch")}))
    taken_back = tab.sends(decided).json()["acknowledged"][decided["id"]]

    assert after == before
    assert not taken_back["ok"]
    assert kept(house, decided["item"]).pending is None


def test_who_has_other_roles_by_now_is_to_have_the_page_drawn_anew(tab: Tab) -> None:
    tab.shows()
    tab.sitting.person = Person(ada.iss, ada.sub, ada.name, frozenset({Role.LEAD}))

    assert tab.asks().status_code == HTTPStatus.CONFLICT


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", HTTPStatus.BAD_REQUEST),
        (b"[]", HTTPStatus.BAD_REQUEST),
        (b'{"outbox": {}}', HTTPStatus.BAD_REQUEST),
        (b'{"outbox": [' + b"[" * 10_000, HTTPStatus.BAD_REQUEST),
        (b'{"outbox": ["\\ud800"]}', HTTPStatus.BAD_REQUEST),
        (json.dumps({"outbox": [{}] * 51}).encode(), HTTPStatus.BAD_REQUEST),
        (b" " * (2 * 1024 * 1024 + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_what_no_browser_sends_is_refused(body: bytes, status: HTTPStatus, tab: Tab) -> None:
    assert tab.sends_raw(body).status_code == status
