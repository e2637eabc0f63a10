"""The demo house's first policy: narrow at the risky tools, a little room where being wrong is cheap."""

from agents.demo.house import AGENT_NAMES, tool_schemas
from agents.protocol import DecisionType, Route
from review.policy import HOUR, Autonomy, PolicyDocument, Queue, Rule, ToolRule

# What runs alone above its threshold: a person can put it right without anybody outside having noticed, or it says no
# more than a reply would. Every other tool of the demo house is supervised. The thresholds are near the upper quarter
# of what each agent's classifier says on texts that it has not seen.
GUARDED_AT = {
    ("customer_service", "send_reply"): 0.88,
    ("inventory", "transfer_stock"): 0.8,
    ("personal_shopping", "hold_piece"): 0.85,
    ("creative_copy", "translate_copy"): 0.7,
}
_MOVES_MONEY = 'action.name in ["refund_order", "reorder_stock", "offer_discount"] && has(impact.amount)'


_QUEUES = (
    Queue(
        name="high-value",
        guidelines="Compare the amount with the order, and the order with what the customer wrote. Where the two do "
        "not agree, ask the agent before you decide. Never approve a second refund of the same order.",
        reasons_for=(DecisionType.REJECT,),
        due_in=HOUR,
        raise_to=0,
    ),
    Queue(
        name="publication",
        guidelines="Read the text aloud once. Names, prices and materials must stand in the record; no promise that "
        "the house does not make elsewhere.",
        reasons_for=(DecisionType.EDIT, DecisionType.REJECT),
        hides=(DecisionType.RESPOND,),
        due_in=8 * HOUR,
        raise_to=2,
    ),
    Queue(
        name="stock",
        guidelines="Is the piece really needed there, and does the shop that gives it keep enough for its own week?",
        due_in=4 * HOUR,
        raise_to=3,
        move_to="general",
    ),
    Queue(
        name="general",
        guidelines="Approve what you would have done yourself. If you are not sure, ask, or hand it over.",
        due_in=4 * HOUR,
        raise_to=3,
    ),
)


def demo_policy() -> PolicyDocument:
    """Return the policy that the demo installation starts with."""
    return PolicyDocument(
        rules=(
            Rule(
                name="beyond the house's limit",
                when=f'{_MOVES_MONEY} && impact.amount > (impact.currency == "JPY" ? 8000000.0 : 50000.0)',
                route=Route.DENY,
                reason="No agent moves more than 50,000 (or 8 million yen) in one action.",
            ),
            Rule(
                name="rejected twice",
                when="rejections >= 2",
                route=Route.DENY,
                reason="People have rejected this very call twice; the agent must go another way.",
            ),
            Rule(
                name="large amounts",
                when=f'{_MOVES_MONEY} && impact.amount >= (impact.currency == "JPY" ? 80000.0 : 500.0)',
                route=Route.REVIEW,
                queue="high-value",
                priority=2,
                reason="It moves 500 (or 80,000 yen) or more, so a person looks first.",
            ),
            Rule(
                name="seen by everybody",
                when='action.name == "publish_copy"',
                route=Route.REVIEW,
                queue="publication",
                priority=4,
                reason="A published text is read at once and cannot be called back.",
            ),
        ),
        tools=tuple(_tool_rule(agent, tool) for agent in AGENT_NAMES for tool in tool_schemas(agent)),
        queues=_QUEUES,
        default_queue="general",
    )


def _tool_rule(agent: str, tool: str) -> ToolRule:
    threshold = GUARDED_AT.get((agent, tool))
    queue = "stock" if agent == "inventory" else None
    if threshold is None:
        return ToolRule(agent=agent, tool=tool, queue=queue)
    return ToolRule(agent=agent, tool=tool, autonomy=Autonomy.GUARDED, threshold=threshold, queue=queue)
