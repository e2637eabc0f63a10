"""The house's own records, a small SQLite file of orders, stock, clients and texts, and its ledger of runs.

A tool's effect and its line in the ledger are one transaction: whoever counts the ledger counts what really
happened. A run that the house's own rules refuse leaves neither.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from pydantic import JsonValue

from .cases import lines

BOUTIQUES = ("Paris", "London", "Milan", "Geneva", "New York", "Tokyo", "Dubai", "Lyon")

case_in_hand: ContextVar[str | None] = ContextVar("case_in_hand", default=None)
"""The case that this thread works on; the ledger notes it beside the run."""

_TABLES = """
CREATE TABLE clients (client_id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT NOT NULL,
    tier TEXT NOT NULL, notes TEXT NOT NULL) STRICT;
CREATE TABLE pieces (sku TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price TEXT NOT NULL,
    supplier TEXT NOT NULL) STRICT;
CREATE TABLE stock (sku TEXT NOT NULL REFERENCES pieces, boutique TEXT NOT NULL,
    on_hand INTEGER NOT NULL CHECK (on_hand >= 0), PRIMARY KEY (sku, boutique)) STRICT;
CREATE TABLE orders (order_id TEXT PRIMARY KEY, client_id TEXT NOT NULL REFERENCES clients,
    sku TEXT NOT NULL REFERENCES pieces, total TEXT NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL,
    placed_on TEXT NOT NULL, address TEXT NOT NULL, refunded TEXT NOT NULL DEFAULT '0.00') STRICT;
CREATE TABLE assets (asset_id TEXT PRIMARY KEY, title TEXT NOT NULL, kind TEXT NOT NULL,
    sku TEXT NOT NULL REFERENCES pieces, status TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE replies (client_id TEXT NOT NULL REFERENCES clients, message TEXT NOT NULL) STRICT;
CREATE TABLE replenishments (sku TEXT NOT NULL REFERENCES pieces, quantity INTEGER NOT NULL) STRICT;
CREATE TABLE looks (client_id TEXT NOT NULL REFERENCES clients, skus TEXT NOT NULL,
    note TEXT NOT NULL) STRICT;
CREATE TABLE holds (client_id TEXT NOT NULL REFERENCES clients, sku TEXT NOT NULL REFERENCES pieces,
    boutique TEXT NOT NULL, days INTEGER NOT NULL) STRICT;
CREATE TABLE offers (client_id TEXT NOT NULL REFERENCES clients, sku TEXT NOT NULL REFERENCES pieces,
    percent INTEGER NOT NULL, price TEXT NOT NULL) STRICT;
CREATE TABLE translations (asset_id TEXT NOT NULL REFERENCES assets, language TEXT NOT NULL,
    instructions TEXT NOT NULL) STRICT;
CREATE TABLE ledger (run INTEGER PRIMARY KEY, case_id TEXT, tool TEXT NOT NULL, args TEXT NOT NULL,
    did TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE house (house_id TEXT PRIMARY KEY) STRICT;
CREATE TABLE unfinished (case_id TEXT PRIMARY KEY, agent TEXT NOT NULL, work TEXT NOT NULL) STRICT;
CREATE TABLE progress (agent TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
"""


class HouseError(Exception):
    """A rule of the house does not allow this; the message is fit for a client adviser's eyes."""


class NotInTheHouseError(HouseError):
    """No such order, client, piece or text is on record."""

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"There is no {kind} {identity}.")


@dataclass(frozen=True)
class Client:
    """A client as the house knows them."""

    client_id: str
    name: str
    email: str
    city: str
    tier: str
    notes: str


@dataclass(frozen=True)
class Piece:
    """A piece of the collection; the price is in EUR."""

    sku: str
    name: str
    category: str
    price: str
    supplier: str


@dataclass(frozen=True)
class Order:
    """An order of one piece; ``total`` and ``refunded`` are in its currency."""

    order_id: str
    client_id: str
    sku: str
    total: str
    currency: str
    status: str
    placed_on: str
    address: str
    refunded: str


@dataclass(frozen=True)
class Asset:
    """A text of the house: ``draft``, ``published`` or ``retired``."""

    asset_id: str
    title: str
    kind: str
    sku: str
    status: str
    text: str


@dataclass(frozen=True)
class LedgerRun:
    """One run of a tool: for which case, with which arguments, and what it did."""

    run: int
    case_id: str | None
    tool: str
    args: dict[str, JsonValue]
    did: str


class HouseStore:
    """The house's records in one SQLite file, made and filled where there is none; safe across threads.

    ``house_id`` tells this file's cases from those of every other.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._transaction() as db:
            if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                _fill(db)
            (self.house_id,) = db.execute("SELECT house_id FROM house").fetchone()

    def client(self, client_id: str) -> Client | None:
        """Return the client, or None where nobody has this id."""
        rows = self._rows("SELECT * FROM clients WHERE client_id = ?", client_id)
        return Client(**rows[0]) if rows else None

    def clients(self) -> list[Client]:
        """Return every client."""
        return [Client(**row) for row in self._rows("SELECT * FROM clients ORDER BY client_id")]

    def order(self, order_id: str) -> Order | None:
        """Return the order, or None where there is no such."""
        rows = self._rows("SELECT * FROM orders WHERE order_id = ?", order_id)
        return Order(**rows[0]) if rows else None

    def orders_of(self, client_id: str) -> list[Order]:
        """Return the client's orders, newest first."""
        query = "SELECT * FROM orders WHERE client_id = ? ORDER BY placed_on DESC, order_id DESC"
        return [Order(**row) for row in self._rows(query, client_id)]

    def piece(self, sku: str) -> Piece | None:
        """Return the piece, or None where there is no such."""
        rows = self._rows("SELECT * FROM pieces WHERE sku = ?", sku)
        return Piece(**rows[0]) if rows else None

    def pieces(self) -> list[Piece]:
        """Return the whole collection."""
        return [Piece(**row) for row in self._rows("SELECT * FROM pieces ORDER BY sku")]

    def stock(self, sku: str) -> dict[str, int]:
        """Return how many of this piece stand in each boutique, empty where there is no such piece."""
        rows = self._rows("SELECT boutique, on_hand FROM stock WHERE sku = ?", sku)
        counts = {row["boutique"]: row["on_hand"] for row in rows}
        return {boutique: counts[boutique] for boutique in BOUTIQUES if boutique in counts}

    def asset(self, asset_id: str) -> Asset | None:
        """Return the text, or None where there is no such."""
        rows = self._rows("SELECT * FROM assets WHERE asset_id = ?", asset_id)
        return Asset(**rows[0]) if rows else None

    def assets(self) -> list[Asset]:
        """Return every text of the house."""
        return [Asset(**row) for row in self._rows("SELECT * FROM assets ORDER BY asset_id")]

    def runs(self, *, tool: str | None = None, case_id: str | None = None) -> list[LedgerRun]:
        """Return what the tools did, oldest first: of one tool, of one case, or all of it."""
        query = "SELECT * FROM ledger WHERE tool = coalesce(?, tool) AND (? IS NULL OR case_id = ?) ORDER BY run"
        return [
            LedgerRun(row["run"], row["case_id"], row["tool"], json.loads(row["args"]), row["did"])
            for row in self._rows(query, tool, case_id, case_id)
        ]

    def position(self, agent: str) -> int:
        """Return how many cases of its stream this agent has taken."""
        rows = self._rows("SELECT position FROM progress WHERE agent = ?", agent)
        return int(rows[0]["position"]) if rows else 0

    def advance(self, agent: str, position: int) -> None:
        """Note how many cases of its stream this agent has taken."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO progress VALUES (?, ?) ON CONFLICT (agent) DO UPDATE SET position = excluded.position",
                (agent, position),
            )

    def begin(self, agent: str, case_id: str, work: str) -> None:
        """Keep how far the work on a case has come, so that a restarted agent takes it up again."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO unfinished VALUES (?, ?, ?) ON CONFLICT (case_id) DO UPDATE SET work = excluded.work",
                (case_id, agent, work),
            )

    def finish(self, case_id: str) -> None:
        """Forget the work on a case."""
        with self._transaction() as db:
            db.execute("DELETE FROM unfinished WHERE case_id = ?", (case_id,))

    def unfinished(self, agent: str) -> list[str]:
        """Return the work that this agent began and did not finish, oldest first."""
        rows = self._rows("SELECT work FROM unfinished WHERE agent = ? ORDER BY rowid", agent)
        return [row["work"] for row in rows]

    def refund_order(self, *, order_id: str, amount: str, reason: str) -> str:
        """Pay back a part of an order, never more than is left of it."""
        with self._run("refund_order", order_id=order_id, amount=amount, reason=reason) as run:
            order = run.one("order", "SELECT total, refunded, currency FROM orders WHERE order_id = ?", order_id)
            left = Decimal(order["total"]) - Decimal(order["refunded"])
            if not 0 < Decimal(amount) <= left:
                message = f"{order_id} has {left} {order['currency']} left to refund, not {amount}."
                raise HouseError(message)
            refunded = Decimal(order["refunded"]) + Decimal(amount)
            run.db.execute("UPDATE orders SET refunded = ? WHERE order_id = ?", (str(refunded), order_id))
            return run.did(f"Refunded {amount} {order['currency']} on {order_id}; {left - Decimal(amount)} is left.")

    def change_delivery_address(self, *, order_id: str, address: str) -> str:
        """Send an order that has not arrived to another address."""
        with self._run("change_delivery_address", order_id=order_id, address=address) as run:
            order = run.one("order", "SELECT status FROM orders WHERE order_id = ?", order_id)
            if order["status"] in ("delivered", "returned"):
                message = f"{order_id} is already {order['status']}."
                raise HouseError(message)
            run.db.execute("UPDATE orders SET address = ? WHERE order_id = ?", (address, order_id))
            return run.did(f"{order_id} ({order['status']}) now goes to {address}.")

    def send_reply(self, *, client_id: str, message: str) -> str:
        """Write to a client."""
        with self._run("send_reply", client_id=client_id, message=message) as run:
            client = run.one("client", "SELECT email FROM clients WHERE client_id = ?", client_id)
            run.db.execute("INSERT INTO replies VALUES (?, ?)", (client_id, message))
            return run.did(f"Sent {len(message)} characters to {client['email']}.")

    def transfer_stock(self, *, sku: str, quantity: int, from_boutique: str, to_boutique: str) -> str:
        """Move pieces which are there from one boutique to another."""
        route = {"from_boutique": from_boutique, "to_boutique": to_boutique}
        with self._run("transfer_stock", sku=sku, quantity=quantity, **route) as run:
            if from_boutique == to_boutique:
                message = f"{from_boutique} cannot send pieces to itself."
                raise HouseError(message)
            _change_count(run, sku, from_boutique, -quantity)
            _change_count(run, sku, to_boutique, quantity)
            return run.did(f"Moved {quantity} × {sku} from {from_boutique} to {to_boutique}.")

    def reorder_stock(self, *, sku: str, quantity: int) -> str:
        """Order pieces from their supplier."""
        with self._run("reorder_stock", sku=sku, quantity=quantity) as run:
            piece = run.one("piece", "SELECT supplier FROM pieces WHERE sku = ?", sku)
            run.db.execute("INSERT INTO replenishments VALUES (?, ?)", (sku, quantity))
            return run.did(f"Ordered {quantity} × {sku} from {piece['supplier']}.")

    def adjust_stock(self, *, sku: str, boutique: str, change: int, reason: str) -> str:
        """Correct a count, never to below nothing."""
        with self._run("adjust_stock", sku=sku, boutique=boutique, change=change, reason=reason) as run:
            count = _change_count(run, sku, boutique, change)
            return run.did(f"{boutique} now counts {count} × {sku} ({change:+d}).")

    def propose_look(self, *, client_id: str, skus: tuple[str, ...], note: str) -> str:
        """Send a client a look made of pieces of the collection."""
        with self._run("propose_look", client_id=client_id, skus=list(skus), note=note) as run:
            client = run.one("client", "SELECT name FROM clients WHERE client_id = ?", client_id)
            for sku in skus:
                run.one("piece", "SELECT sku FROM pieces WHERE sku = ?", sku)
            run.db.execute("INSERT INTO looks VALUES (?, ?, ?)", (client_id, " ".join(skus), note))
            return run.did(f"Proposed {', '.join(skus)} to {client['name']}.")

    def hold_piece(self, *, client_id: str, sku: str, boutique: str, days: int) -> str:
        """Keep a piece that is there, and not kept for someone else, for a client."""
        with self._run("hold_piece", client_id=client_id, sku=sku, boutique=boutique, days=days) as run:
            run.one("client", "SELECT name FROM clients WHERE client_id = ?", client_id)
            query = "SELECT on_hand FROM stock WHERE sku = ? AND boutique = ?"
            on_hand = run.one("piece", query, sku, boutique)["on_hand"]
            held = run.one("piece", "SELECT count(*) AS n FROM holds WHERE sku = ? AND boutique = ?", sku, boutique)[
                "n"
            ]
            if held >= on_hand:
                message = f"{boutique} has no free {sku}: {on_hand} there, {held} kept for others."
                raise HouseError(message)
            run.db.execute("INSERT INTO holds VALUES (?, ?, ?, ?)", (client_id, sku, boutique, days))
            return run.did(f"{boutique} keeps one {sku} for {client_id} for {days} days.")

    def offer_discount(self, *, client_id: str, sku: str, percent: int) -> str:
        """Offer a client a piece for less."""
        with self._run("offer_discount", client_id=client_id, sku=sku, percent=percent) as run:
            client = run.one("client", "SELECT name FROM clients WHERE client_id = ?", client_id)
            full = Decimal(run.one("piece", "SELECT price FROM pieces WHERE sku = ?", sku)["price"])
            price = (full * (100 - percent) / 100).quantize(Decimal("0.01"))
            run.db.execute("INSERT INTO offers VALUES (?, ?, ?, ?)", (client_id, sku, percent, str(price)))
            return run.did(f"Offered {sku} to {client['name']} for {price} EUR ({percent} % less).")

    def publish_copy(self, *, asset_id: str, channel: str, text: str) -> str:
        """Make a text public in these words."""
        with self._run("publish_copy", asset_id=asset_id, channel=channel, text=text) as run:
            asset = run.one("asset", "SELECT title FROM assets WHERE asset_id = ?", asset_id)
            run.db.execute("UPDATE assets SET status = 'published', text = ? WHERE asset_id = ?", (text, asset_id))
            return run.did(f"Published {asset_id} ({asset['title']}) on {channel}.")

    def translate_copy(self, *, asset_id: str, language: str, instructions: str) -> str:
        """Give a text to the translators."""
        arguments = {"asset_id": asset_id, "language": language, "instructions": instructions}
        with self._run("translate_copy", **arguments) as run:
            asset = run.one("asset", "SELECT title FROM assets WHERE asset_id = ?", asset_id)
            run.db.execute("INSERT INTO translations VALUES (?, ?, ?)", (asset_id, language, instructions))
            return run.did(f"{asset_id} ({asset['title']}) is being translated into {language}.")

    def retire_asset(self, *, asset_id: str, reason: str) -> str:
        """Withdraw a published text."""
        with self._run("retire_asset", asset_id=asset_id, reason=reason) as run:
            asset = run.one("asset", "SELECT title, status FROM assets WHERE asset_id = ?", asset_id)
            if asset["status"] != "published":
                message = f"{asset_id} ({asset['title']}) is not public, it is {asset['status']}."
                raise HouseError(message)
            run.db.execute("UPDATE assets SET status = 'retired' WHERE asset_id = ?", (asset_id,))
            return run.did(f"Withdrew {asset_id} ({asset['title']}).")

    @contextmanager
    def _run(self, tool: str, **args: JsonValue) -> Iterator["_Run"]:
        with self._transaction() as db:
            run = _Run(db)
            yield run
            db.execute(
                "INSERT INTO ledger (case_id, tool, args, did, at) VALUES (?, ?, ?, ?, ?)",
                (
                    case_in_hand.get(),
                    tool,
                    json.dumps(args, ensure_ascii=False, sort_keys=True),
                    run.effect,
                    datetime.now(UTC).isoformat(),
                ),
            )

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with closing(self._connection()) as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connection()) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db


class _Run:
    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.effect = ""

    def one(self, kind: str, query: str, *values: object) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(query, values).fetchone()
        if row is None:
            raise NotInTheHouseError(kind, " in ".join(str(value) for value in values))
        return row

    def did(self, effect: str) -> str:
        self.effect = effect
        return effect


def _change_count(run: _Run, sku: str, boutique: str, change: int) -> int:
    query = "SELECT on_hand FROM stock WHERE sku = ? AND boutique = ?"
    count = int(run.one("piece", query, sku, boutique)["on_hand"])
    if count + change < 0:
        message = f"{boutique} has {count} × {sku}, {-change} cannot be taken from it."
        raise HouseError(message)
    run.db.execute("UPDATE stock SET on_hand = ? WHERE sku = ? AND boutique = ?", (count + change, sku, boutique))
    return count + change


def _fill(db: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        db.execute(statement)
    db.execute("INSERT INTO house VALUES (?)", (uuid4().hex,))
    for line in lines("clients"):
        db.execute("INSERT INTO clients VALUES (:client_id, :name, :email, :city, :tier, :notes)", line)
    for line in lines("pieces"):
        db.execute("INSERT INTO pieces VALUES (:sku, :name, :category, :price, :supplier)", line)
        counts = line["stock"]
        for boutique in BOUTIQUES:
            db.execute("INSERT INTO stock VALUES (?, ?, ?)", (line["sku"], boutique, counts[boutique]))  # type: ignore[index,call-overload]  # the file's stock is a mapping
    for line in lines("orders"):
        db.execute(
            "INSERT INTO orders VALUES"
            " (:order_id, :client_id, :sku, :total, :currency, :status, :placed_on, :address, '0.00')",
            line,
        )
    for line in lines("assets"):
        db.execute("INSERT INTO assets VALUES (:asset_id, :title, :kind, :sku, :status, :text)", line)
