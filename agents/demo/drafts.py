"""From a case and a chosen tool to the arguments: what the text and the records say, and otherwise a guess.

A guess is called one in the notes, which become the agent's rationale; a reviewer sees if it is right.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import JsonValue

from . import reading
from .cases import Case, lines, picture
from .store import BOUTIQUES, Asset, Client, HouseStore, Order, Piece

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_HOLD_DAYS = 3
DEFAULT_REORDER = 10
LOOK_SIZE = 3
CENT = Decimal("0.01")


@dataclass
class Draft:
    """Arguments in the making: how each was found, the records that were looked up, and what is at stake."""

    args: dict[str, JsonValue] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, JsonValue]] = field(default_factory=list)
    impact: dict[str, JsonValue] = field(default_factory=dict)

    def look_at(self, title: str, record: "DataclassInstance | dict[str, int] | None") -> None:
        """Keep a record that was looked up, or that it was not there."""
        if record is None:
            self.records.append({"kind": "tool_result", "title": title, "content": "Nothing on record."})
            return
        content = json.dumps(record if isinstance(record, dict) else asdict(record), ensure_ascii=False, indent=2)
        entry: dict[str, JsonValue] = {"kind": "record", "title": title, "content": content}
        self.records.append({**entry, "media_type": "application/json"})


def draft(case: Case, tool: str, store: HouseStore) -> Draft:
    """Return the arguments that this agent would call the tool with."""
    work = Draft()
    if tool in _FOR_CLIENTS and case.sender is not None:
        work.look_at(f"client {case.sender}", store.client(case.sender))
    _DRAFTERS[tool](work, case, store)
    return work


def pictures(args: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    """Return the pictures of the pieces that the arguments name, each under the piece's own name."""
    named = args.get("skus")
    skus = named if isinstance(named, list) else [args.get("sku")]
    shown = {sku: picture(sku) for sku in skus if isinstance(sku, str)}
    return [
        {"kind": "image", "title": sku, "content": base64.b64encode(png).decode(), "media_type": "image/png"}
        for sku, png in shown.items()
        if png is not None
    ]


def _refund_order(work: Draft, case: Case, store: HouseStore) -> None:
    order_id, order = _order(work, case, store)
    named, share = reading.amount(case.text), reading.per_cent(case.text)
    total = Decimal(order.total) if order is not None else Decimal(100)
    if named is not None:
        sum_of_money = named
        work.notes.append(f"amount {named.quantize(CENT)}: named in the message")
    elif share is not None:
        sum_of_money = total * share / 100
        work.notes.append(f"amount: {share} % of {total}")
    else:
        sum_of_money = total
        work.notes.append(f"amount {total}: none was named, so the whole order" if order else "amount: a guess")
    amount = str(sum_of_money.quantize(CENT))
    work.args = {"order_id": order_id, "amount": amount, "reason": _shortened(case.text, 300)}
    currency = order.currency if order is not None else "EUR"
    work.impact = {"amount": amount, "currency": currency, "reversible": False, "subject": order_id}


def _change_delivery_address(work: Draft, case: Case, store: HouseStore) -> None:
    order_id, order = _order(work, case, store)
    address = reading.address(case.text)
    if address is None:
        address = _shortened(case.text, 120)
        work.notes.append("address: nothing looks like one, so the message as it stands")
    else:
        work.notes.append("address: the part of the message that looks like one")
    work.args = {"order_id": order_id, "address": address}
    work.impact = {"reversible": order is None or order.status != "shipped", "subject": order_id}
    if order is not None:
        work.impact |= {"amount": order.total, "currency": order.currency}


def _send_reply(work: Draft, case: Case, store: HouseStore) -> None:
    client = _client(work, case, store)
    text = reading.fold(case.text)
    answers = [line for line in lines("answers") if any(str(word) in text for word in _strings(line["words"]))]
    paragraphs = [str(answer["text"]) for answer in answers[:2]]
    orders = store.orders_of(client.client_id)
    mentioned = [order for order in orders if order.order_id in reading.order_ids(case.text)] or orders[:1]
    if mentioned and ("the status and the date" in " ".join(paragraphs) or reading.order_ids(case.text)):
        order = mentioned[0]
        work.look_at(f"order {order.order_id}", order)
        paragraphs.append(f"Order {order.order_id}, placed on {order.placed_on}: {order.status}.")
    if paragraphs:
        work.notes.append(f"message: {len(paragraphs)} of the house's standing answers fit the words of the message")
    else:
        paragraphs = ["Thank you for your message. A colleague will come back to you within a day."]
        work.notes.append("message: no standing answer fits, so only that we will come back to it")
    body = "\n\n".join([f"Dear {client.name},", *paragraphs, "With our compliments\nMaison Aurel"])
    work.args = {"client_id": client.client_id, "message": body}
    work.impact = {"reversible": False, "subject": client.client_id}


def _transfer_stock(work: Draft, case: Case, store: HouseStore) -> None:
    sku, piece = _piece(work, case, store)
    quantity = _quantity(work, case, fallback=1)
    stock = store.stock(sku)
    work.look_at(f"stock of {sku}", stock)
    target = reading.destination(case.text) or _place(case) or BOUTIQUES[0]
    source = reading.source(case.text)
    if source is None or source == target:
        others = [place for place in reading.boutiques(case.text) if place != target]
        richest = max((place for place in BOUTIQUES if place != target), key=lambda place: stock.get(place, 0))
        source = others[0] if others else richest
        work.notes.append(f"from {source}: " + ("the other place named" if others else "it holds the most"))
    else:
        work.notes.append(f"from {source}: named as the source")
    work.args = {"sku": sku, "quantity": quantity, "from_boutique": source, "to_boutique": target}
    work.impact = _worth(piece, quantity) | {"reversible": True, "subject": sku}


def _reorder_stock(work: Draft, case: Case, store: HouseStore) -> None:
    sku, piece = _piece(work, case, store)
    quantity = _quantity(work, case, fallback=DEFAULT_REORDER)
    work.look_at(f"stock of {sku}", store.stock(sku))
    work.args = {"sku": sku, "quantity": quantity}
    work.impact = _worth(piece, quantity) | {"reversible": False, "subject": sku}


def _adjust_stock(work: Draft, case: Case, store: HouseStore) -> None:
    sku, piece = _piece(work, case, store)
    boutique = (reading.boutiques(case.text) or [_place(case) or BOUTIQUES[0]])[0]
    stock = store.stock(sku)
    work.look_at(f"stock of {sku}", stock)
    change = _change(work, case.text, stock.get(boutique, 0))
    work.args = {"sku": sku, "boutique": boutique, "change": change, "reason": _shortened(case.text, 300)}
    work.impact = _worth(piece, abs(change)) | {"reversible": True, "subject": f"{sku} in {boutique}"}


def _change(work: Draft, text: str, on_record: int) -> int:
    folded, counts = reading.fold(text), reading.numbers(text)
    if any(word in folded for word in _COUNTED) and counts:
        work.notes.append(f"change: {abs(counts[0])} counted against {on_record} on record")
        return max(-1000, min(1000, abs(counts[0]) - on_record))
    size = min(1000, abs(counts[0])) if counts else 1
    gained = any(word in folded for word in _GAINED) or "+" in text
    work.notes.append(f"change: {size} {'more' if gained else 'fewer'}, from the words of the message")
    return size if gained else -size


def _propose_look(work: Draft, case: Case, store: HouseStore) -> None:
    client = _client(work, case, store)
    pieces = store.pieces()
    described = {piece.sku: f"{piece.name} {piece.category} {_OCCASIONS[piece.category]}" for piece in pieces}
    matches = reading.named(case.text, described)
    chosen = [match.key for match in matches[:LOOK_SIZE]]
    if not chosen:
        chosen = [piece.sku for piece in pieces if reading.fold(piece.category) in ("ready-to-wear", "shoes")][
            :LOOK_SIZE
        ]
        work.notes.append("pieces: the message names none, so the season's own")
    else:
        work.notes.append("pieces: " + ", ".join(chosen) + " share words with the message")
    names = [piece.name for piece in pieces if piece.sku in chosen]
    note = f"Dear {client.name}, for this we thought of {'; '.join(names)}. We would gladly show them to you."
    work.args = {"client_id": client.client_id, "skus": list(chosen), "note": note}
    worth = sum((Decimal(piece.price) for piece in pieces if piece.sku in chosen), Decimal(0))
    work.impact = {"amount": str(worth), "currency": "EUR", "reversible": False, "subject": client.client_id}


def _hold_piece(work: Draft, case: Case, store: HouseStore) -> None:
    client = _client(work, case, store)
    sku, piece = _piece(work, case, store)
    work.look_at(f"stock of {sku}", store.stock(sku))
    home = [client.city] if client.city in BOUTIQUES else [BOUTIQUES[0]]
    boutique = (reading.boutiques(case.text) or home)[0]
    days = reading.days(case.text)
    if days is None:
        work.notes.append(f"days: no number, so the usual {DEFAULT_HOLD_DAYS}")
    args: dict[str, JsonValue] = {"client_id": client.client_id, "sku": sku, "boutique": boutique}
    work.args = args | {"days": min(60, days or DEFAULT_HOLD_DAYS)}
    work.impact = _worth(piece, 1) | {"reversible": True, "subject": client.client_id}


def _offer_discount(work: Draft, case: Case, store: HouseStore) -> None:
    client = _client(work, case, store)
    sku, piece = _piece(work, case, store)
    percent = reading.per_cent(case.text)
    if percent is None:
        percent = 10 if client.tier == "privé" else 5
        work.notes.append(f"percent {percent}: none was named, so the usual for a {client.tier} client")
    else:
        work.notes.append(f"percent {percent}: named in the message")
    percent = max(1, percent)
    work.args = {"client_id": client.client_id, "sku": sku, "percent": percent}
    price = Decimal(piece.price) if piece is not None else Decimal(0)
    given = str((price * percent / 100).quantize(CENT))
    work.impact = {"amount": given, "currency": "EUR", "reversible": False, "subject": client.client_id}


def _publish_copy(work: Draft, case: Case, store: HouseStore) -> None:
    asset_id, asset = _asset(work, case, store)
    text = asset.text if asset is not None else case.text
    wording = reading.replacement(case.text)
    if wording is not None and wording[0] in text:
        text = text.replace(*wording)
        work.notes.append(f"text: the draft with {wording[0]!r} changed to {wording[1]!r}")
    else:
        work.notes.append("text: the draft as it stands")
    folded = reading.fold(case.text)
    channel = next((channel for word, channel in _CHANNELS.items() if word in folded), "website")
    work.args = {"asset_id": asset_id, "channel": channel, "text": text}
    work.impact = {"reversible": channel == "website", "subject": asset_id}


def _translate_copy(work: Draft, case: Case, store: HouseStore) -> None:
    asset_id, _ = _asset(work, case, store)
    languages = reading.languages(case.text) or reading.languages(case.sender or "")
    if not languages:
        work.notes.append("language: none was named, so French")
    args: dict[str, JsonValue] = {"asset_id": asset_id, "language": languages[0] if languages else "French"}
    work.args = args | {"instructions": _shortened(case.text, 300)}
    work.impact = {"reversible": True, "subject": asset_id}


def _retire_asset(work: Draft, case: Case, store: HouseStore) -> None:
    asset_id, _ = _asset(work, case, store)
    work.args = {"asset_id": asset_id, "reason": _shortened(case.text, 300)}
    work.impact = {"reversible": True, "subject": asset_id}


def _order(work: Draft, case: Case, store: HouseStore) -> tuple[str, Order | None]:
    named = reading.order_ids(case.text)
    known = store.orders_of(case.sender) if case.sender is not None else []
    if named:
        order = store.order(named[0])
        work.notes.append(f"order {named[0]}: named in the message" + ("" if order else ", but not on record"))
        work.look_at(f"order {named[0]}", order)
        return named[0], order
    if not known:
        work.notes.append("order: none was named and the sender has none, so a guess")
        work.look_at("orders of the sender", None)
        return "R-1001", None
    names = {order.order_id: piece.name for order in known if (piece := store.piece(order.sku)) is not None}
    matches = reading.named(case.text, names)
    order = next((order for order in known if matches and order.order_id == matches[0].key), known[0])
    why = "its piece is named in the message" if matches else "none was named, so the sender's latest"
    work.notes.append(f"order {order.order_id}: {why}")
    work.look_at(f"order {order.order_id}", order)
    return order.order_id, order


def _client(work: Draft, case: Case, store: HouseStore) -> Client:
    client = store.client(case.sender) if case.sender is not None else None
    if client is None:
        work.notes.append("client: nobody knows who wrote this, so no one on record")
        return Client("C-0", "client", "", "", "client", "")
    return client


def _piece(work: Draft, case: Case, store: HouseStore) -> tuple[str, Piece | None]:
    collection = store.pieces()
    matches = reading.skus(case.text, {piece.sku: piece.name for piece in collection})
    if not matches:
        guess = collection[0]
        work.notes.append(f"piece {guess.sku}: the message names none, so a guess")
        return guess.sku, guess
    best = matches[0]
    rivals = [match.key for match in matches[1:] if match.weight == best.weight]
    piece = store.piece(best.key)
    doubt = f"; {', '.join(rivals[:3])} would fit as well" if rivals else ""
    work.notes.append(f"piece {best.key}: from the words of the message{doubt}" + ("" if piece else ", not on record"))
    work.look_at(f"piece {best.key}", piece)
    return best.key, piece


def _asset(work: Draft, case: Case, store: HouseStore) -> tuple[str, Asset | None]:
    named = reading.asset_ids(case.text)
    if named:
        asset = store.asset(named[0])
        work.notes.append(f"text {named[0]}: named in the message" + ("" if asset else ", but not on record"))
        work.look_at(f"text {named[0]}", asset)
        return named[0], asset
    assets = store.assets()
    described = {asset.asset_id: f"{asset.title} {asset.kind} {asset.text}" for asset in assets}
    matches = reading.named(case.text, described)
    asset = next((asset for asset in assets if matches and asset.asset_id == matches[0].key), assets[0])
    why = "it shares words with the message" if matches else "the message names none, so a guess"
    work.notes.append(f"text {asset.asset_id}: {why}")
    work.look_at(f"text {asset.asset_id}", asset)
    return asset.asset_id, asset


def _quantity(work: Draft, case: Case, *, fallback: int) -> int:
    for text, name in ((case.text, "message"), (case.forwarded or "", "forwarded e-mail")):
        counts = [abs(count) for count in reading.numbers(text) if count]
        if counts:
            work.notes.append(f"quantity {counts[0]}: the first number of the {name}")
            return min(1000, counts[0])
    work.notes.append(f"quantity {fallback}: none was named")
    return fallback


def _place(case: Case) -> str | None:
    return case.sender if case.sender in BOUTIQUES else None


def _worth(piece: Piece | None, quantity: int) -> dict[str, JsonValue]:
    price = Decimal(piece.price) if piece is not None else Decimal(0)
    return {"amount": str(price * quantity), "currency": "EUR"}


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _strings(value: JsonValue) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


_FOR_CLIENTS = frozenset(
    {"refund_order", "change_delivery_address", "send_reply", "propose_look", "hold_piece", "offer_discount"}
)
_COUNTED = (
    "counted",
    "count says",
    "should read",
    "correct the number",
    "we hold",
    "physical",
    "to zero",
    "there are",
)
_GAINED = ("found", "add ", "book it in", "more than", "never booked", "nobody booked", "unrecorded")
_CHANNELS = {
    "newsletter": "newsletter", "send": "newsletter", "instagram": "social", "insta": "social",
    "post": "social", "stories": "social", "social": "social", "press": "press", "embargo": "press",
    "print": "boutiques", "window": "boutiques", "boutiques": "boutiques",
}  # fmt: skip
_OCCASIONS = {
    "bags": "evening city travel meeting hand",
    "silk": "gift neck print spring friend",
    "watches": "anniversary husband wrist",
    "jewellery": "wedding opera evening anniversary",
    "ready-to-wear": "dinner wedding opening outfit wear dress look",
    "shoes": "party feet shoes evening",
    "fragrance": "gift father husband",
    "leather goods": "gift colleague suit belt",
}
_DRAFTERS: dict[str, Callable[[Draft, Case, HouseStore], None]] = {
    "refund_order": _refund_order,
    "change_delivery_address": _change_delivery_address,
    "send_reply": _send_reply,
    "transfer_stock": _transfer_stock,
    "reorder_stock": _reorder_stock,
    "adjust_stock": _adjust_stock,
    "propose_look": _propose_look,
    "hold_piece": _hold_piece,
    "offer_discount": _offer_discount,
    "publish_copy": _publish_copy,
    "translate_copy": _translate_copy,
    "retire_asset": _retire_asset,
}
