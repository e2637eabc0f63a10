"""The use cases as the pages reach them: `app.py` installs them once, before the first page is drawn."""

from dataclasses import dataclass

from review.board import Board
from review.bulk import Bulk
from review.desk import ReviewDesk
from review.emergencies import Emergencies
from review.governance import KeyRing, PolicyBook
from review.indexer import Search
from review.pauses import Switch
from review.records import Records
from review.roster import Roster
from review.sessions import Sessions
from review.settings import Settings
from review.views import Views


@dataclass(frozen=True, slots=True)
class Services:
    """What a page may call; each use case asks for its own permission."""

    desk: ReviewDesk
    board: Board
    bulk: Bulk
    records: Records
    policies: PolicyBook
    keys: KeyRing
    search: Search
    sessions: Sessions
    roster: Roster
    switch: Switch
    emergencies: Emergencies
    views: Views
    settings: Settings


class NotServedError(RuntimeError):
    """The script runs outside `app.py`, so there is nothing that a page could call."""

    def __init__(self) -> None:
        super().__init__("no services are installed; start Signoff with: python app.py serve")


_installed: list[Services] = []


def install(services: Services) -> None:
    """Make the services reachable for the pages of this process, in place of those installed before."""
    _installed[:] = [services]


def services() -> Services:
    """Return the installed services. Raises NotServedError, so that no page draws without them."""
    if not _installed:
        raise NotServedError
    return _installed[0]
