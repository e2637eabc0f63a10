"""The demo house: four agents of Maison Aurel, an invented luxury house, at real work under Signoff."""

from .house import AGENT_NAMES, AGENT_VERSION, tool_schemas

__all__ = ["AGENT_NAMES", "AGENT_VERSION", "tool_schemas"]
