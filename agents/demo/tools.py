"""The house's tools: LangChain tools over its records, three for each agent."""

from langchain_core.tools import BaseTool, tool

from .house import ARGUMENTS
from .store import HouseStore


def house_tools(agent: str, store: HouseStore) -> dict[str, BaseTool]:
    """Return this agent's tools over these records, by name."""
    return {
        name: tool(name, args_schema=arguments)(getattr(store, name)) for name, arguments in ARGUMENTS[agent].items()
    }
