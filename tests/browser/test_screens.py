"""The screens around the review: what waits, what was decided, what it teaches, who did it, and who may act."""

import base64
import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import OKPKey
from playwright.sync_api import Locator, expect
from uuid_utils.compat import uuid7

from agents import Gate, PrivateKeyJwt, ServerRefusedError
from agents.protocol import (
    Action,
    Approve,
    Decision,
    DecisionType,
    Edit,
    Execution,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
    Status,
)
from review.governance import PolicyBook
from review.items import ReasonCode
from review.policy import Queue
from review.verify import MANIFEST
from tests.browser.agent import CALL, WorkingAgent
from tests.browser.house import House
from tests.browser.visitor import Visitor
from tests.builders import a_request, an_action
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.browser

EDIT = Edit(edited_action=Action(name="refund_order", args={**CALL, "amount": "24.50", "channel": "email"}))
DECISIONS: tuple[tuple[Decision, tuple[ReasonCode, ...]], ...] = (
    (Approve(), ()),
    (EDIT, ()),
    (Reject(message="Never paid."), (ReasonCode.NOT_ALLOWED,)),
    (Respond(message="It was refunded on Monday."), ()),
)


def row(visitor: Visitor, text: str) -> Locator:
    return visitor.page.get_by_role("row").filter(has_text=text)


def about(subject: str) -> dict[str, Any]:
    return {"impact": {"amount": "49.00", "currency": "EUR", "subject": subject}}


def decided(house: House, agent: WorkingAgent) -> None:
    """Let the agent propose one action for each kind of decision, and let somebody decide them so."""
    for decision, codes in DECISIONS:
        item_id = agent.proposes(a_request(action=an_action(**CALL, channel="email")))
        house.decide(item_id, decision, codes)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def key_of(house: House, folder: Path) -> Path:
    """Return the console's public key as an outsider keeps it: a file."""
    (key,) = httpx2.get(f"{house.url}/api/v1/.well-known/jwks.json", timeout=PATIENCE_SECONDS).json()["keys"]
    path = folder / "signoff.pub"
    path.write_bytes(OKPKey.import_key(key).as_pem(private=False))
    return path


def verified(verifier: Path, log: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """Verify the downloaded log with the downloaded verifier, in a process that knows nothing of the house."""
    command = [sys.executable, "-I", str(verifier), str(log), "--key", str(key)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_an_item_is_taken_out_of_the_queue(ada: Visitor, agent: WorkingAgent) -> None:
    ada.open("/queue")
    agent.calls({**CALL, "order_id": "R-0001"}, **about("the first cup"))
    agent.calls({**CALL, "order_id": "R-0002"}, **about("the second cup"))
    agent.holds(2)
    ada.press("Refresh")
    expect(row(ada, "the first cup")).to_contain_text("62%")
    ada.look()

    row(ada, "the second cup").get_by_role("button", name="Take").click()

    ada.sees("R-0002")
    assert {item.status for item in agent.items()} == {Status.CLAIMED, Status.WAITING}
    ada.go("Queue")
    expect(row(ada, "the second cup")).to_contain_text("Continue")
    expect(row(ada, "the first cup")).to_contain_text("Take")


def test_an_item_that_somebody_holds_cannot_be_taken(
    ada: Visitor, people: Callable[[str], Visitor], agent: WorkingAgent
) -> None:
    agent.calls(**about("the only cup"))
    ada.sees("R-1042")
    grace = people("Grace Hopper")

    grace.open("/queue")

    expect(row(grace, "the only cup")).to_contain_text("Ada Lovelace")
    expect(row(grace, "the only cup").get_by_role("button", name="Take")).to_have_count(0)
    grace.open(f"/?item={agent.items()[0].id}")
    grace.sees("Ada Lovelace is looking at this item.")
    expect(grace.button("Approve")).to_have_count(0)


def test_the_queue_is_filtered(ada: Visitor, agent: WorkingAgent) -> None:
    ada.open("/queue")
    agent.calls(**about("a cup"))
    agent.writes("Dear customer.")
    agent.holds(2)
    ada.press("Refresh")
    expect(row(ada, agent.name)).to_have_count(2)

    ada.choose("Tool", "send_letter")

    expect(row(ada, agent.name)).to_have_count(1)
    ada.sees("send_letter")


def test_an_outcome_that_nobody_knows_is_established_by_a_person(
    ada: Visitor, house: House, agent: WorkingAgent
) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    client = agent.gate.client
    item_id = agent.proposes(a_request(action=an_action(**CALL)))
    house.decide(item_id, Approve())
    receipt = client.send(client.status(item_id)).receipt or ""
    client.send(client.consume(item_id, receipt=receipt, args=CALL))
    client.send(client.report(item_id, Outcome(status=OutcomeStatus.UNKNOWN, error="The connection broke.")))
    ada.open("/queue")
    ada.sees("Nobody knows whether it ran")
    ada.go("History")
    ada.sees("Of 1 action nobody knows whether it ran.")

    ada.press("Show only these")
    expect(ada.page.get_by_role("combobox", name="Execution")).to_have_value("Nobody knows")
    expect(row(ada, agent.name)).to_have_count(1)
    ada.look()
    row(ada, agent.name).get_by_role("button").click()
    ada.sees("Nobody knows whether this ran")
    ada.sees("The connection broke.")
    ada.press("It ran")
    ada.sees("Say how you know: write a note first.")
    ada.write("How do you know?", "It stands in the ledger of <b>today</b>.")
    ada.press("It ran")

    ada.sees("Noted. What you found stands from now on.")
    ada.sees("What Ada Lovelace found on")
    ada.sees("It stands in the ledger of <b>today</b>.")
    expect(ada.page.get_by_text("Nobody knows whether this ran")).to_have_count(0)
    with pytest.raises(ServerRefusedError, match="it stands"):
        client.send(client.report(item_id, Outcome(status=OutcomeStatus.FAILED)))
    assert client.send(client.status(item_id)).execution is Execution.SUCCEEDED


def test_a_decided_item_is_found_in_the_history_and_opened(ada: Visitor, house: House, agent: WorkingAgent) -> None:
    mark = f"urn {uuid7().hex[-8:]}"
    answer = agent.calls(context=[{"kind": "message", "role": "user", "content": f"About the {mark}, please."}])
    ada.press("Approve")
    answer.result(PATIENCE_SECONDS)
    ada.go("History")
    search = ada.page.get_by_role("textbox", name="Search", exact=True)

    search.fill("no such thing anywhere")
    search.press("Enter")
    ada.sees("Nothing matches")
    while house.store.read(lambda tx: tx.indexed_to() < tx.last_recorded()):
        ada.page.wait_for_timeout(50)
    search.fill(mark)
    search.press("Enter")
    expect(row(ada, agent.name)).to_have_count(1)
    expect(row(ada, agent.name).locator("mark")).to_have_text(mark)
    expect(row(ada, agent.name)).to_contain_text("Approved")
    expect(row(ada, agent.name)).to_contain_text("ran")
    ada.look()
    row(ada, agent.name).get_by_role("button").click()

    ada.sees("How it ended")
    ada.sees(f"About the {mark}, please.")
    ada.sees("Refunded 49.00 on R-1042.")
    for event in ("Action submitted", "Item claimed", "Item decided", "Receipt consumed", "Outcome reported"):
        expect(row(ada, event)).to_have_count(1)


def test_the_decisions_on_what_history_shows_are_downloaded(
    ada: Visitor, house: House, agent: WorkingAgent, tmp_path: Path
) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    decided(house, agent)
    ada.go("History")

    ada.choose("Agent", agent.name)
    ada.sees("What people decided on the items that match: 4 decisions")
    every = rows_of(ada.downloaded("Download their decisions (CSV)", tmp_path).read_bytes().decode())
    ada.choose("Decision", "Rejected")
    ada.sees("What people decided on the items that match: 1 decision,")
    one = rows_of(ada.downloaded("Download their decisions (CSV)", tmp_path).read_bytes().decode())

    assert sorted(line["decision"] for line in every[:-1]) == sorted(decision.type for decision, _ in DECISIONS)
    assert {line["agent"] for line in every[:-1]} == {agent.name}
    assert [(line["decision"], line["reviewer_name"]) for line in one[:-1]] == [("reject", "Grace Hopper")]
    told = json.loads(one[-1]["message"])
    assert (one[-1]["id"], told["count"], told["filter"]["items"]["agent"]) == (MANIFEST, 1, agent.name)


def test_labels_are_counted_shown_and_downloaded(
    ada: Visitor, house: House, agent: WorkingAgent, tmp_path: Path
) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    decided(house, agent)

    ada.go("Labels")
    expect(row(ada, agent.name)).to_contain_text("25%")
    cells = row(ada, agent.name).get_by_role("cell").all_inner_texts()
    table = rows_of(ada.downloaded("CSV", tmp_path).read_bytes().decode())
    lines = ada.downloaded("JSON Lines", tmp_path).read_text().splitlines()
    archive = zipfile.ZipFile(ada.downloaded("Hugging Face dataset", tmp_path))
    decisions = rows_of(ada.downloaded("Decisions (CSV)", tmp_path).read_bytes().decode())

    kinds = sorted(decision.type for decision, _ in DECISIONS)
    assert [cell.split()[0] for cell in cells[1:]] == ["4", "1", "1", "1", "1"]
    assert sorted(line["decision"] for line in table if line["agent"] == agent.name) == kinds
    assert sorted(line["decision"] for line in decisions if line["agent"] == agent.name) == kinds
    rows = [line for line in map(json.loads, lines) if line["agent"] == agent.name]
    assert sorted(line["decision"] for line in rows) == kinds
    edit = next(line for line in rows if line["decision"] == "edit")
    assert (edit["args"]["amount"], edit["final_args"]["amount"]) == ("49.00", "24.50")
    shards = {"preference/train-00000.jsonl", "unpaired/train-00000.jsonl", "sft/train-00000.jsonl"}
    assert {*archive.namelist()} == {*shards, "README.md"}
    assert all(json.loads(line) for shard in shards for line in archive.read(shard).splitlines())


def test_the_audit_log_is_read_and_downloaded(ada: Visitor, house: House, agent: WorkingAgent, tmp_path: Path) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    decided(house, agent)
    item = agent.items()[0].id
    ada.go("Audit")

    ada.write("Item", str(item))
    expect(row(ada, "Item decided")).to_have_count(1)
    log = ada.downloaded("Download what matches (CSV)", tmp_path)
    verifier = ada.downloaded("Download the verifier", tmp_path)
    ada.look()
    row(ada, "Item decided").get_by_role("button").click()

    dialog = ada.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Grace Hopper")
    expect(dialog).to_contain_text("The story of this item, oldest first")
    *events, manifest = rows_of(log.read_bytes().decode())
    assert {event["kind"] for event in events} >= {"action_submitted", "item_claimed", "item_decided"}
    assert manifest["index"] == MANIFEST
    verdict = verified(verifier, log, key_of(house, tmp_path))
    assert verdict.returncode == 0, verdict.stdout
    for event in events:
        leaf = json.loads(base64.urlsafe_b64decode(event["leaf"] + "=="))
        assert (leaf["id"], leaf["kind"], leaf["item"]) == (event["id"], event["kind"], str(item))


def test_the_audit_log_is_verified_in_the_house(ada: Visitor, house: House, agent: WorkingAgent) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    decided(house, agent)
    ada.go("Audit")

    ada.press("Verify the log")

    ada.sees("events are as they were sealed, and none is missing.")
    ada.sees("the whole log.")


def test_a_key_made_on_the_page_lets_the_agent_in_until_it_is_revoked(ada: Visitor) -> None:
    name = f"made_{uuid7().hex[-8:]}"
    ada.go("Agents")
    another = ada.page.get_by_text("Connect another agent")
    if another.is_visible():
        another.click()
    ada.write("The agent's name", name, leaves=False)
    ada.press("Make a key")
    ada.sees("The new key")
    line = ada.page.get_by_test_id("stCode").filter(has_text="export SIGNOFF_KEY=").inner_text()
    key = line.strip().removeprefix("export SIGNOFF_KEY=")

    with Gate(ada.house.url, key) as gate:
        assert gate.client.send(gate.client.items()).items == ()
        ada.press("I have copied it")
        expect(ada.page.get_by_text(key)).to_have_count(0)
        ada.look()
        row(ada, key.split("_")[1]).get_by_role("button").click()
        ada.press("Revoke it")
        ada.sees("is revoked.")

        with pytest.raises(ServerRefusedError, match="revoked"):
            gate.client.send(gate.client.items())


def test_an_agent_is_let_in_by_its_own_key_pair_and_held_to_limits(ada: Visitor) -> None:
    name, pair = f"made_{uuid7().hex[-8:]}", OKPKey.generate_key("Ed25519")
    ada.house.agent_key("known")  # Before the first key of all, another one is asked for.
    ada.go("Agents")
    ada.page.get_by_text("Let an agent in by its own key pair").click()
    ada.write("Who holds the private half", name, leaves=False)
    ada.write("Its public key", pair.as_pem(private=False).decode())
    ada.press("Register it")
    ada.sees(f"The client id of {name} is")
    client_id = ada.page.get_by_text(f"The client id of {name} is").inner_text().split()[-1]

    with Gate(ada.house.url, PrivateKeyJwt(client_id, pair.as_pem(private=True))) as gate:
        assert gate.client.send(gate.client.items()).items == ()
    ada.press("Done")
    ada.look()
    row(ada, client_id).get_by_role("button").click()
    ada.write("Items waiting at once", "70000000")
    ada.press("Hold it to these")
    dialog = ada.page.get_by_role("dialog")
    expect(dialog.get_by_text("must be at most 10,000,000")).to_have_count(1)
    expect(dialog.get_by_text("The key is as it was.")).to_have_count(1)
    expect(row(ada, client_id)).to_contain_text("the usual")
    ada.write("Items waiting at once", "7", leaves=False)
    ada.press("Hold it to these")

    ada.sees("is held to: 7 waiting.")
    expect(row(ada, client_id)).to_contain_text("7 waiting")


def test_a_pause_without_a_reason_is_refused_where_it_was_asked_for(ada: Visitor, agent: WorkingAgent) -> None:
    ada.open("/queue")
    ada.press("Account")
    ada.press("Pause agents…")
    dialog = ada.page.get_by_role("dialog")
    ada.choose("What to pause", f"Agent {agent.name}")

    ada.press("Pause it")

    refused = dialog.get_by_text("Say why: everybody whose work waits will read it.")
    expect(refused).to_contain_text("Nothing is paused yet.")
    expect(ada.page.get_by_text(f"Agent {agent.name} is paused.")).to_have_count(0)
    ada.write("Why", "It repeats itself.")
    ada.press("Pause it")
    expect(dialog).to_have_count(0)
    ada.sees("It repeats itself.")
    ada.press("Resume")
    expect(ada.page.get_by_text("It repeats itself.")).to_have_count(0)


def test_an_agent_is_not_given_a_name_that_is_none(ada: Visitor) -> None:
    ada.go("Agents")
    another = ada.page.get_by_text("Connect another agent")
    if another.is_visible():
        another.click()

    ada.write("The agent's name", "no such <b>name</b>", leaves=False)
    ada.press("Make a key")

    ada.sees("is not a name: use up to 128 letters, digits")
    expect(ada.page.get_by_role("textbox", name="The agent's name")).to_have_value("no such <b>name</b>")


def test_a_rule_is_written_tried_and_put_in_force(ada: Visitor, agent: WorkingAgent) -> None:
    mark = uuid7().hex[-8:]
    ada.go("Policy")  # First, so that nothing is taken on the screen before.
    before = agent.writes(f"Dear customer, about {mark}.")
    agent.holds(1)
    ada.press("Add a rule")
    ada.write("Name", f"no letters {mark}", leaves=False)
    ada.page.get_by_role("combobox", name="Then").click()
    ada.page.get_by_role("option", name="Deny").click()
    ada.write("When (CEL)", 'action.name == "send_letter" && nobody.knows', leaves=False)
    ada.write("Reason, read by the reviewer and by the agent", "Letters are for people.", leaves=False)

    ada.press("Apply to the draft")
    expect(ada.page.get_by_role("alert").filter(has_text=f"no letters {mark}")).to_contain_text("nobody")
    ada.write("When (CEL)", f'action.name == "send_letter" && args.text.contains("{mark}")', leaves=False)
    ada.press("Apply to the draft")
    expect(ada.page.get_by_role("dialog")).to_have_count(0)
    ada.sees("changes not saved")
    ada.press("Validate")
    ada.sees("It can be used: ")
    ada.press("Preview")
    ada.sees("this draft would change 1")
    assert [item.status for item in agent.items()] == [Status.WAITING]
    ada.write("Why", "Too many letters.")
    ada.press("Put in force")

    ada.sees("is in force.")
    told = agent.writes(f"Dear customer, about {mark}, again.").result(PATIENCE_SECONDS)
    assert told.startswith("The policy does not allow this call to send_letter")
    assert "Letters are for people." in told
    assert not before.done()
    assert agent.runs == []


def test_a_queue_is_described_in_a_form_and_put_in_force(ada: Visitor, house: House) -> None:
    name = f"letters-{uuid7().hex[-8:]}"
    ada.go("Policy")
    ada.page.get_by_role("tab", name="Queues").click()
    ada.press("Add a queue")
    dialog = ada.page.get_by_role("dialog")
    ada.write("Name", "two words", leaves=False)
    ada.write("Guidelines, read by whoever decides in it", "Read it *aloud* once.", leaves=False)
    for label, option in (
        ("Decisions that need a reason", "Reject"),
        ("Decisions that cannot be made here", "Respond"),
    ):
        ada.choose(label, option)
        ada.page.keyboard.press("Tab")  # An open list of options hides the rest of the form.
    dialog.get_by_role("textbox", name="Due in (min)").fill("90")
    dialog.get_by_text("Each item is decided by itself, never several at once").click()

    ada.press("Apply to the draft")
    expect(dialog.get_by_role("alert").filter(has_text="name")).to_have_count(1)
    ada.write("Name", name, leaves=False)
    ada.write("Priority once it is late (0 first)", "10", leaves=False)
    ada.press("Apply to the draft")
    expect(dialog.get_by_text("must be at most 9")).to_have_count(1)
    expect(dialog.get_by_text("The draft is as it was.")).to_have_count(1)
    ada.write("Priority once it is late (0 first)", "", leaves=False)
    ada.press("Apply to the draft")
    expect(dialog).to_have_count(0)
    expect(row(ada, name)).to_contain_text("a reason to reject, no respond, decisions one by one")
    ada.write("Why", "Letters have a desk of their own.")
    ada.press("Put in force")

    ada.sees("is in force.")
    document = PolicyBook(house.store).in_force("default").document
    assert [queue for queue in document.queues if queue.name == name] == [
        Queue(
            name=name,
            guidelines="Read it *aloud* once.",
            reasons_for=(DecisionType.REJECT,),
            hides=(DecisionType.RESPOND,),
            due_in=90 * 60,
            one_by_one=True,
        )
    ]


def test_every_screen_fits_a_phone(ada: Visitor, house: House, agent: WorkingAgent) -> None:
    ada.open("/people")  # Else her Review screen takes what somebody else is to decide.
    decided(house, agent)
    agent.calls()
    ada.page.set_viewport_size({"width": 390, "height": 844})

    for path in ("/", "/queue", "/history", "/labels", "/audit", "/agents", "/policy"):
        ada.open(path)
        ada.look()
        ada.fits(390)


def test_a_dialog_that_was_opened_from_the_accounts_menu_gives_the_focus_back_to_it(ada: Visitor) -> None:
    dialog = ada.page.get_by_role("dialog")

    ada.open("/queue")
    ada.press("Account")
    ada.press("Your sessions…")
    expect(dialog.get_by_text("You are signed in nowhere else.")).to_be_visible()
    ada.look()
    ada.page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    expect(ada.button("Account")).to_be_focused()
