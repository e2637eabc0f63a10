"""The switch that stops new permissions: for one agent, one tool, or everything."""

from collections.abc import Sequence

from agents.protocol import Reason
from review.audit import AuditEvent, EventKind, person_actor
from review.errors import PausedError, PauseReasonRequiredError
from review.people import Pause, Permission, Person
from review.store import Reading, Store, Writing


class Switch:
    """Pauses and resumes. What waits stays where it is; what was permitted cannot be consumed meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pauses(self, person: Person) -> Sequence[Pause]:
        """Return what is paused: everybody who is signed in sees it, whatever their roles."""
        return self._store.read(lambda tx: tx.pauses(person.workspace))

    def choices(self, person: Person) -> tuple[Sequence[str], Sequence[tuple[str, str]]]:
        """Return what there is to pause: the names of agents, and of tools with their agents."""
        person.require(Permission.PAUSE)

        def work(tx: Reading) -> tuple[Sequence[str], Sequence[tuple[str, str]]]:
            agents = [agent.name for agent in tx.agents(person.workspace)]
            return agents, [(tool.agent, tool.name) for tool in tx.tools(person.workspace)]

        return self._store.read(work)

    def pause(self, person: Person, *, reason: str, agent: str | None = None, tool: str | None = None) -> Pause:
        """Stop new permissions at once; a pause that stands already is left as it is.

        Raises PauseReasonRequiredError.
        """
        person.require(Permission.PAUSE)
        said = reason.strip()
        if not said:
            raise PauseReasonRequiredError

        def work(tx: Writing) -> Pause:
            pause = Pause(person.workspace, agent, tool, said, tx.now, person.name)
            standing = _standing(tx, pause)
            if standing is not None:
                return standing
            tx.add_pause(pause)
            tx.record(_event(tx, EventKind.PAUSED, person, pause))
            return pause

        return self._store.write(work)

    def resume(self, person: Person, *, agent: str | None = None, tool: str | None = None) -> None:
        """Let permissions be given again; what is not paused stays so."""
        person.require(Permission.RESUME)

        def work(tx: Writing) -> None:
            asked = Pause(person.workspace, agent, tool, "", tx.now, person.name)
            standing = _standing(tx, asked)
            if standing is None:
                return
            tx.remove_pause(standing)
            tx.record(_event(tx, EventKind.RESUMED, person, standing))

        self._store.write(work)


def pause_of(pauses: Sequence[Pause], agent: str, tool: str) -> Pause | None:
    """Return the pause that holds the agent's calls of the tool; None where there is none."""
    return next((pause for pause in pauses if pause.holds(agent, tool)), None)


def require_unpaused(tx: Reading, workspace: str, agent: str, tool: str) -> None:
    """Return only when nothing holds the agent's calls of the tool. Raises PausedError."""
    pause = pause_of(tx.pauses(workspace), agent, tool)
    if pause is not None:
        raise PausedError(pause.what, by=pause.paused_by, reason=pause.why)


def paused_reason(pause: Pause) -> Reason:
    """Return why an action that could have run must wait for a person."""
    return Reason(code="paused", text=f"{pause.what} is paused by {pause.paused_by}: {pause.why}")


def _standing(tx: Reading, asked: Pause) -> Pause | None:
    same = (pause for pause in tx.pauses(asked.workspace) if (pause.agent, pause.tool) == (asked.agent, asked.tool))
    return next(same, None)


def _event(tx: Reading, kind: EventKind, person: Person, pause: Pause) -> AuditEvent:
    data = {"agent": pause.agent, "tool": pause.tool}
    return AuditEvent.at_large(tx.now, kind, person_actor(person), workspace=person.workspace, **data)
