"""An agent program of its own, made with OpenAI's Agents SDK: it refunds what its scripted model says.

The SDK's import name is ``agents``, so this runs apart from the checkout, where that name is ours, with the hook as
``signoff``; both are imported by name, because a type checker in the checkout sees only one of them. Arguments: the
console's address, the agent's key, the time, the steps (JSON: a list of lists of ``[call id, arguments]``), and what
to do with what the run stopped at (``decided``, ``restarted``, ``approved`` without asking, ``twice``, or ``decided
twice``). Prints what happened as JSON.
"""

import asyncio
import importlib
import json
import sys
from dataclasses import dataclass, field
from typing import Any

sdk: Any = importlib.import_module("agents")
testing: Any = importlib.import_module("agents.testing")
hook: Any = importlib.import_module("signoff")
adapter: Any = importlib.import_module("signoff.openai_agents")


@dataclass
class Visit:
    """The context of a run, as applications of the SDK have one."""

    id: str
    runs: list[dict[str, str | bool | int]] = field(default_factory=list)


async def refund(context: Any, order_id: str, amount: str | bool | int) -> str:  # noqa: ANN401, FBT001 -- a type of the SDK, which names all arguments
    """Refund an order."""
    context.context.runs.append({"order_id": order_id, "amount": amount})
    return f"Refunded {amount} on {order_id}."


refund.__annotations__["context"] = sdk.RunContextWrapper[Visit]


def scripted(steps: list[list[tuple[str, str]]]) -> Any:  # noqa: ANN401 -- a type of the SDK
    calls = [
        testing.ModelStep(output=[testing.function_call("refund", arguments, call_id=call) for call, arguments in step])
        for step in steps
    ]
    # A run that is resumed twice ends twice.
    ends = [testing.ModelStep(output=[testing.assistant_message("Done.")]) for _ in range(2)]
    return testing.ScriptedModel([*calls, *ends])


async def answered(guard: Any, agent: Any, result: Any, visit: Visit, how: str) -> Any:  # noqa: ANN401 -- types of the SDK
    state = result.to_state()
    if how == "approved":
        for interruption in state.get_interruptions():
            state.approve(interruption)
    else:
        state = await guard.decided(state, visit)
    if how in ("twice", "decided twice"):
        first = await again(agent, state, visit)
        kept = await again(agent, result.to_state(), visit)
        await sdk.Runner.run(agent, first)
        state = await guard.decided(kept, visit) if how == "decided twice" else state
    return await sdk.Runner.run(agent, state)


async def again(agent: Any, state: Any, visit: Visit) -> Any:  # noqa: ANN401 -- types of the SDK
    kept = state.to_string(context_serializer=lambda _visit: {"id": visit.id})
    return await sdk.RunState.from_string(agent, kept, context_override=sdk.RunContextWrapper(visit))


async def main(url: str, key: str, now: str, steps: str, how: str) -> dict[str, object]:
    sdk.set_tracing_disabled(True)
    visit = Visit("visit-1")
    model = scripted(json.loads(steps))
    tool = sdk.function_tool(refund, failure_error_function=None)

    def shop(gate: Any) -> tuple[Any, Any]:  # noqa: ANN401 -- types of the hook and the SDK
        guard = adapter.GuardedTools(gate, run_id=lambda visit: visit.id, timeout=60.0, confidence=0.4)
        return guard, sdk.Agent("shop", model=model, tools=[guard.tool(tool)])

    told: list[str] = []
    error = None
    with hook.Gate(url, key, attempts=2, clock=lambda: float(now)) as gate:
        guard, agent = shop(gate)
        result = await sdk.Runner.run(agent, "Refund R-1042, please.", context=visit)
        try:
            while result.interruptions:
                if how == "restarted":
                    guard, agent = shop(gate)
                    result = await sdk.Runner.run(agent, await again(agent, result.to_state(), visit))
                result = await answered(guard, agent, result, visit, how)
        except (hook.GateError, sdk.AgentsException) as raised:
            error = type(raised.__cause__ if isinstance(raised, sdk.AgentsException) else raised).__name__
        told = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    return {"runs": visit.runs, "told": told, "error": error, "output": result.final_output}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
