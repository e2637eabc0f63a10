"""The house of agents: who works in it, what each is for, and the schemas of each one's tools."""

from pydantic import BaseModel, JsonValue

from .arguments import (
    AdjustStock,
    ChangeDeliveryAddress,
    HoldPiece,
    OfferDiscount,
    ProposeLook,
    PublishCopy,
    RefundOrder,
    ReorderStock,
    RetireAsset,
    SendReply,
    TransferStock,
    TranslateCopy,
)

AGENT_VERSION = "1.0.0"

ARGUMENTS: dict[str, dict[str, type[BaseModel]]] = {
    "customer_service": {
        "refund_order": RefundOrder,
        "change_delivery_address": ChangeDeliveryAddress,
        "send_reply": SendReply,
    },
    "inventory": {
        "transfer_stock": TransferStock,
        "reorder_stock": ReorderStock,
        "adjust_stock": AdjustStock,
    },
    "personal_shopping": {
        "propose_look": ProposeLook,
        "hold_piece": HoldPiece,
        "offer_discount": OfferDiscount,
    },
    "creative_copy": {
        "publish_copy": PublishCopy,
        "translate_copy": TranslateCopy,
        "retire_asset": RetireAsset,
    },
}

PURPOSES = {
    "customer_service": "You answer clients of Maison Aurel who ordered: refunds, deliveries, questions.",
    "inventory": "You keep the boutiques of Maison Aurel supplied: transfers, reorders, counts.",
    "personal_shopping": "You advise clients of Maison Aurel who are choosing: looks, reservations, prices.",
    "creative_copy": "You look after the texts of Maison Aurel: publishing, translations, withdrawals.",
}

AGENT_NAMES = tuple(ARGUMENTS)


def tool_schemas(agent: str) -> dict[str, dict[str, JsonValue]]:
    """Return the JSON Schema (2020-12) of the arguments of each tool of this agent, by the tool's name."""
    return {tool: arguments.model_json_schema() for tool, arguments in ARGUMENTS[agent].items()}
