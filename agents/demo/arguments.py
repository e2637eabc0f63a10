"""The arguments of the house's tools: what an agent's proposal and a reviewer's edit are held to."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class RefundOrder(Arguments):
    """Which order is refunded, and how much of it."""

    order_id: OrderId = Field(description="The order, such as R-1042.")
    amount: Money = Field(description="How much is paid back, in the currency of the order, such as 420.00.")
    reason: Words = Field(description="Why the client is refunded.")


class ChangeDeliveryAddress(Arguments):
    """Which order goes to which other address."""

    order_id: OrderId = Field(description="The order, such as R-1042.")
    address: Words = Field(description="The whole new address on one line.")


class SendReply(Arguments):
    """Which client is written to, and what."""

    client_id: ClientId = Field(description="The client, such as C-104.")
    message: Words = Field(description="The e-mail's text, as the client will read it.")


class TransferStock(Arguments):
    """What is moved from which boutique to which other."""

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    quantity: Quantity = Field(description="How many pieces are moved.")
    from_boutique: Boutique = Field(description="Where they are taken from; Lyon is the warehouse.")
    to_boutique: Boutique = Field(description="Where they are sent to.")


class ReorderStock(Arguments):
    """What is ordered from its supplier, and how much of it."""

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    quantity: Quantity = Field(description="How many pieces are ordered.")


class AdjustStock(Arguments):
    """Whose count is corrected, and by how much."""

    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    boutique: Boutique = Field(description="Where the count is wrong.")
    change: Annotated[int, Field(ge=-1000, le=1000)] = Field(description="What is added to the count; may be below 0.")
    reason: Words = Field(description="Why the count was wrong.")


class ProposeLook(Arguments):
    """Which pieces are proposed to which client."""

    client_id: ClientId = Field(description="The client, such as C-104.")
    skus: Annotated[tuple[Sku, ...], Field(min_length=1, max_length=6)] = Field(description="The pieces of the look.")
    note: Words = Field(description="The note that goes with the look, as the client will read it.")


class HoldPiece(Arguments):
    """Which piece is kept for which client, where and how long."""

    client_id: ClientId = Field(description="The client, such as C-104.")
    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    boutique: Boutique = Field(description="The boutique that keeps the piece.")
    days: Annotated[int, Field(ge=1, le=60)] = Field(description="For how many days it is kept.")


class OfferDiscount(Arguments):
    """How much less one client pays for one piece."""

    client_id: ClientId = Field(description="The client, such as C-104.")
    sku: Sku = Field(description="The piece, such as BAG-HEL-01.")
    percent: Annotated[int, Field(ge=1, le=100)] = Field(description="The discount in per cent of the price.")


class PublishCopy(Arguments):
    """Which text goes public, in which words and where."""

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    channel: Channel = Field(description="Where the text appears.")
    text: Words = Field(description="The text exactly as it will be read.")


class TranslateCopy(Arguments):
    """Which text is given to the translators, and for which language."""

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    language: Language = Field(description="The language to translate into.")
    instructions: Words = Field(description="What the translators should know.")


class RetireAsset(Arguments):
    """Which text is withdrawn from the public, and why."""

    asset_id: AssetId = Field(description="The asset, such as A-301.")
    reason: Words = Field(description="Why the text is withdrawn.")
