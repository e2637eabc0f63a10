"""The house's tools on a real store: each does what it says, once for each call, or nothing at all."""

from pathlib import Path
from threading import Barrier, Thread

import pytest
from pydantic import JsonValue, ValidationError

from agents.demo import AGENT_NAMES, tool_schemas
from agents.demo.store import HouseError, HouseStore, case_in_hand
from agents.demo.tools import house_tools

REFUND: dict[str, JsonValue] = {"order_id": "R-1001", "amount": "450.00", "reason": "A seam came apart."}
CALLS: list[tuple[str, str, dict[str, JsonValue], str]] = [
    ("customer_service", "refund_order", REFUND, "Refunded 450.00 EUR on R-1001; 2000.00 is left."),
    (
        "customer_service",
        "change_delivery_address",
        {"order_id": "R-1020", "address": "Langstrasse 200, 8005 Zürich"},
        "R-1020 (placed) now goes to Langstrasse 200, 8005 Zürich.",
    ),
    (
        "customer_service",
        "send_reply",
        {"client_id": "C-101", "message": "Gladly."},
        "Sent 7 characters to ines.delacroix@example.com.",
    ),
    (
        "inventory",
        "transfer_stock",
        {"sku": "BAG-HEL-01", "quantity": 4, "from_boutique": "Lyon", "to_boutique": "Paris"},
        "Moved 4 × BAG-HEL-01 from Lyon to Paris.",
    ),
    (
        "inventory",
        "reorder_stock",
        {"sku": "SLK-RUB-03", "quantity": 60},
        "Ordered 60 × SLK-RUB-03 from Soieries Perrin.",
    ),
    (
        "inventory",
        "adjust_stock",
        {"sku": "SLK-RUB-03", "boutique": "Paris", "change": -2, "reason": "Counted."},
        "Paris now counts 6 × SLK-RUB-03 (-2).",
    ),
    (
        "personal_shopping",
        "propose_look",
        {"client_id": "C-108", "skus": ["SHO-PMP-61", "JWL-ECL-20"], "note": "For the benefit."},
        "Proposed SHO-PMP-61, JWL-ECL-20 to Grace Whitfield.",
    ),
    (
        "personal_shopping",
        "hold_piece",
        {"client_id": "C-106", "sku": "WAT-AST-05", "boutique": "Geneva", "days": 3},
        "Geneva keeps one WAT-AST-05 for C-106 for 3 days.",
    ),
    (
        "personal_shopping",
        "offer_discount",
        {"client_id": "C-105", "sku": "LEA-BLT-80", "percent": 15},
        "Offered LEA-BLT-80 to Layla Al Nuaimi for 408.00 EUR (15 % less).",
    ),
    (
        "creative_copy",
        "publish_copy",
        {"asset_id": "A-309", "channel": "social", "text": "Light has a weight."},
        "Published A-309 (Éclat ring, campaign line) on social.",
    ),
    (
        "creative_copy",
        "translate_copy",
        {"asset_id": "A-310", "language": "Arabic", "instructions": "Keep it short."},
        "A-310 (Éclat earrings, product page) is being translated into Arabic.",
    ),
    (
        "creative_copy",
        "retire_asset",
        {"asset_id": "A-319", "reason": "Summer is over."},
        "Withdrew A-319 (Summer sale banner).",
    ),
]
REFUSED: list[tuple[str, str, dict[str, JsonValue], str]] = [
    ("customer_service", "refund_order", {**REFUND, "order_id": "R-9999"}, "There is no order R-9999."),
    (
        "customer_service",
        "refund_order",
        {**REFUND, "amount": "2450.01"},
        "R-1001 has 2450.00 EUR left to refund, not 2450.01.",
    ),
    (
        "customer_service",
        "refund_order",
        {**REFUND, "amount": "0.00"},
        "R-1001 has 2450.00 EUR left to refund, not 0.00.",
    ),
    (
        "customer_service",
        "change_delivery_address",
        {"order_id": "R-1001", "address": "Elsewhere"},
        "R-1001 is already delivered.",
    ),
    ("customer_service", "send_reply", {"client_id": "C-0", "message": "Hello."}, "There is no client C-0."),
    (
        "inventory",
        "transfer_stock",
        {"sku": "BAG-HEL-01", "quantity": 1, "from_boutique": "Paris", "to_boutique": "Lyon"},
        "Paris has 0 × BAG-HEL-01, 1 cannot be taken from it.",
    ),
    (
        "inventory",
        "transfer_stock",
        {"sku": "BAG-HEL-01", "quantity": 1, "from_boutique": "Lyon", "to_boutique": "Lyon"},
        "Lyon cannot send pieces to itself.",
    ),
    (
        "inventory",
        "adjust_stock",
        {"sku": "BAG-XYZ-77", "boutique": "Paris", "change": 1, "reason": "?"},
        "There is no piece BAG-XYZ-77 in Paris.",
    ),
    (
        "personal_shopping",
        "propose_look",
        {"client_id": "C-101", "skus": ["SHO-BOT-99"], "note": "Boots."},
        "There is no piece SHO-BOT-99.",
    ),
    (
        "personal_shopping",
        "hold_piece",
        {"client_id": "C-101", "sku": "BAG-HEL-01", "boutique": "Paris", "days": 3},
        "Paris has no free BAG-HEL-01: 0 there, 0 kept for others.",
    ),
    (
        "creative_copy",
        "retire_asset",
        {"asset_id": "A-301", "reason": "Old."},
        "A-301 (Hélianthe tote, product page) is not public, it is draft.",
    ),
]


@pytest.fixture
def store(tmp_path: Path) -> HouseStore:
    return HouseStore(tmp_path / "house.sqlite")


@pytest.mark.parametrize(("agent", "tool", "args", "did"), CALLS, ids=[call[1] for call in CALLS])
def test_a_tool_does_what_it_says_and_writes_it_into_the_ledger_once(
    store: HouseStore, agent: str, tool: str, args: dict[str, JsonValue], did: str
) -> None:
    tools = house_tools(agent, store)

    answer = tools[tool].invoke(args)

    assert answer == did
    assert [(run.tool, run.args, run.did) for run in store.runs()] == [(tool, args, did)]


@pytest.mark.parametrize(("agent", "tool", "args", "why"), REFUSED)
def test_what_the_house_refuses_leaves_no_trace(
    store: HouseStore, agent: str, tool: str, args: dict[str, JsonValue], why: str
) -> None:
    tools = house_tools(agent, store)

    with pytest.raises(HouseError) as refusal:
        tools[tool].invoke(args)

    assert str(refusal.value) == why
    assert store.runs() == []


def test_every_tool_of_the_house_is_tried_above() -> None:
    tried = {(agent, tool) for agent, tool, _, _ in CALLS}

    tools = {(agent, tool) for agent in AGENT_NAMES for tool in tool_schemas(agent)}

    assert tried == tools


def test_arguments_beyond_the_schema_run_nothing(store: HouseStore) -> None:
    tools = house_tools("customer_service", store)

    for wrong in (
        {"amount": "450"},
        {"amount": 450.0},
        {"order_id": "1001"},
        {"reason": ""},
        {"urgent": True},
    ):
        with pytest.raises(ValidationError):
            tools["refund_order"].invoke({**REFUND, **wrong})

    assert store.runs() == []


def test_refunds_at_the_same_moment_never_exceed_the_order(store: HouseStore) -> None:
    start, refused = Barrier(8), []

    def refund() -> None:
        start.wait()
        try:
            store.refund_order(order_id="R-1003", amount="100.00", reason="Race.")
        except HouseError as error:
            refused.append(error)

    threads = [Thread(target=refund) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    order = store.order("R-1003")
    assert order is not None
    assert (order.refunded, len(store.runs()), len(refused)) == ("400.00", 4, 4)


def test_the_ledger_names_the_case_that_the_agent_had_in_hand(store: HouseStore) -> None:
    tools = house_tools("inventory", store)
    token = case_in_hand.set("IN-014")

    tools["reorder_stock"].invoke({"sku": "BAG-HEL-02", "quantity": 15})
    case_in_hand.reset(token)
    tools["reorder_stock"].invoke({"sku": "BAG-HEL-02", "quantity": 15})

    assert [run.case_id for run in store.runs(tool="reorder_stock")] == ["IN-014", None]
    assert len(store.runs(case_id="IN-014")) == 1


def test_a_store_that_is_opened_again_keeps_what_was_done(store: HouseStore, tmp_path: Path) -> None:
    store.refund_order(order_id="R-1001", amount="450.00", reason="A seam came apart.")
    store.advance("inventory", 7)
    store.begin("inventory", "IN-001", "{}")

    again = HouseStore(tmp_path / "house.sqlite")

    order = again.order("R-1001")
    assert order is not None
    assert order.refunded == "450.00"
    assert (again.house_id, again.position("inventory"), again.position("creative_copy")) == (
        store.house_id,
        7,
        0,
    )
    assert again.unfinished("inventory") == ["{}"]
