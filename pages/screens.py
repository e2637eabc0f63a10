"""The console's screens, in the order of its navigation."""

from types import ModuleType

from pages import (
    agents_page,
    audit_page,
    history_page,
    labels_page,
    overview_page,
    people_page,
    policy_page,
    queue_page,
    review_page,
)

SCREENS: tuple[ModuleType, ...] = (
    review_page,
    queue_page,
    overview_page,
    history_page,
    labels_page,
    audit_page,
    agents_page,
    policy_page,
    people_page,
)
