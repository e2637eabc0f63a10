"""The arguments of the house's tools: what a proposal and an edit are held to, and how reviewers are shown them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..cards import Card, CardField, Format

Money = Annotated[str, Field(pattern=r"^[0-9]{1,12}\.[0-9]{2}$")]
OrderId = Annotated[str, Field(pattern=r"^R-[0-9]{1,6}$")]
ClientId = Annotated[str, Field(pattern=r"^C-[0-9]{1,6}$")]
AssetId = Annotated[str, Field(pattern=r"^A-[0-9]{1,6}$")]
Sku = Annotated[str, Field(pattern=r"^[A-Z]{3}-[A-Z]{3}-[0-9]{2}$")]
Quantity = Annotated[int, Field(ge=1, le=1000)]
Words = Annotated[str, Field(min_length=1, max_length=4000)]
Boutique = Literal["Paris", "London", "Milan", "Geneva", "New York", "Tokyo", "Dubai", "Lyon"]
Channel = Literal["website", "newsletter", "social", "press", "boutiques"]
Language = Literal["Arabic", "Chinese", "French", "German", "Italian", "Japanese", "Korean", "Spanish"]


class Arguments(BaseModel):
    """The arguments of one tool: frozen, and nothing beyond what is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def looking(headline: str, *fields: CardField) -> ConfigDict:
    """Return what makes a tool's calls look so to a reviewer."""
    return ConfigDict(json_schema_extra=Card(headline=headline, fields=fields).keyword())


class RefundOrder(Arguments):
    """Which order is refunded, and how much of it."""

    model_config = looking(
        "refund {amount} on order {order_id}",
        CardField(at="amount", label="To be paid back", format=Format.MONEY),
        CardField(at="order_id", label="Order", format=Format.CODE),
        CardField(at="reason", label="Reason, in the client’s words", format=Format.TEXT),
    )

    order_id: OrderId = Field(description="The order, such as R-1042.")
    amount: Money = Field(description="How much is paid back, in the currency of the order, such as 420.00.")
    reason: Words = Field(description="Why the client is refunded.")


class ChangeDeliveryAddress(Arguments):
    """Which order goes to which other address."""

    model_config = looking(
        "send order {order_id} to another address",
        CardField(at="order_id", label="Order", format=Format.CODE),
        CardField(at="address", label="New address", format=Format.TEXT),
    )

    order_id: OrderId = Field(description="The order, such as R-1042.")
    address: Words = Field(description="The whole new address on one line.")


class SendReply(Arguments):
    """Which client is written to, and what."""

    model_config = looking(
        "write to client {client_id}",
        CardField(at="client_id", label="Client", format=Format.CODE),
        CardField(at="message", label="The e-mail", format=Format.TEXT),
    )

    client_id: ClientId = Field(description="The client, such as C-104.")
    message: Words = Field(description="The e-mail's text, as the client will read it.")


class TransferStock(Arguments):
    """What is moved from which boutique to which other."""

    model_config = looking(
        "move {quantity} × {sku} from {from_boutique} to {to_boutique}",
        CardField(at="sku", label="Piece", format=Format.PICTURE),
        CardField(at="quantity", label="Pieces", format=Format.NUMBER),
        CardField(at="from_boutique", label="Taken from"),
        CardField(at="to_boutique", label="Sent to"),
    )

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    quantity: Quantity = Field(description="How many pieces are moved.")
    from_boutique: Boutique = Field(description="Where they are taken from; Lyon is the warehouse.")
    to_boutique: Boutique = Field(description="Where they are sent to.")


class ReorderStock(Arguments):
    """What is ordered from its supplier, and how much of it."""

    model_config = looking(
        "order {quantity} × {sku} from the supplier",
        CardField(at="sku", label="Piece", format=Format.PICTURE),
        CardField(at="quantity", label="Pieces", format=Format.NUMBER),
    )

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    quantity: Quantity = Field(description="How many pieces are ordered.")


class AdjustStock(Arguments):
    """Whose count is corrected, and by how much."""

    model_config = looking(
        "correct the count of {sku} in {boutique} by {change}",
        CardField(at="sku", label="Piece", format=Format.PICTURE),
        CardField(at="change", label="Correction", format=Format.CHANGE),
        CardField(at="boutique", label="Where"),
        CardField(at="reason", label="Reason", format=Format.TEXT),
    )

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    boutique: Boutique = Field(description="Where the count is wrong.")
    change: Annotated[int, Field(ge=-1000, le=1000)] = Field(description="What is added to the count; may be below 0.")
    reason: Words = Field(description="Why the count was wrong.")


class ProposeLook(Arguments):
    """Which pieces are proposed to which client."""

    model_config = looking(
        "propose a look to client {client_id}",
        CardField(at="client_id", label="Client", format=Format.CODE),
        CardField(at="skus", label="The look", format=Format.PICTURE),
        CardField(at="note", label="The note that goes with it", format=Format.TEXT),
    )

    client_id: ClientId = Field(description="The client, such as C-104.")
    skus: Annotated[tuple[Sku, ...], Field(min_length=1, max_length=6)] = Field(description="The pieces of the look.")
    note: Words = Field(description="The note that goes with the look, as the client will read it.")


class HoldPiece(Arguments):
    """Which piece is kept for which client, where and how long."""

    model_config = looking(
        "keep {sku} for client {client_id} in {boutique} for {days} days",
        CardField(at="client_id", label="Client", format=Format.CODE),
        CardField(at="sku", label="Piece", format=Format.PICTURE),
        CardField(at="boutique", label="Kept in"),
        CardField(at="days", label="Days", format=Format.NUMBER),
    )

    client_id: ClientId = Field(description="The client, such as C-104.")
    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    boutique: Boutique = Field(description="The boutique that keeps the piece.")
    days: Annotated[int, Field(ge=1, le=60)] = Field(description="For how many days it is kept.")


class OfferDiscount(Arguments):
    """How much less one client pays for one piece."""

    model_config = looking(
        "offer client {client_id} {percent} off {sku}",
        CardField(at="percent", label="Discount", format=Format.PERCENT),
        CardField(at="client_id", label="Client", format=Format.CODE),
        CardField(at="sku", label="Piece", format=Format.PICTURE),
    )

    client_id: ClientId = Field(description="The client, such as C-104.")
    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    percent: Annotated[int, Field(ge=1, le=100)] = Field(description="The discount in per cent of the price.")


class PublishCopy(Arguments):
    """Which text goes public, in which words and where."""

    model_config = looking(
        "publish {asset_id} on: {channel}",
        CardField(at="text", label="As it will be read", format=Format.TEXT),
        CardField(at="channel", label="Where"),
        CardField(at="asset_id", label="Asset", format=Format.CODE),
    )

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    channel: Channel = Field(description="Where the text appears.")
    text: Words = Field(description="The text exactly as it will be read.")


class TranslateCopy(Arguments):
    """Which text is given to the translators, and for which language."""

    model_config = looking(
        "have {asset_id} translated into {language}",
        CardField(at="language", label="Into"),
        CardField(at="instructions", label="For the translators", format=Format.TEXT),
        CardField(at="asset_id", label="Asset", format=Format.CODE),
    )

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    language: Language = Field(description="The language to translate into.")
    instructions: Words = Field(description="What the translators should know.")


class RetireAsset(Arguments):
    """Which text is withdrawn from the public, and why."""

    model_config = looking(
        "withdraw {asset_id} from the public",
        CardField(at="asset_id", label="Asset", format=Format.CODE),
        CardField(at="reason", label="Reason", format=Format.TEXT),
    )

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    reason: Words = Field(description="Why the text is withdrawn.")
