"""What `/metrics` counts. Labels are of small, fixed sets: never an agent's words, never an argument."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.protocol import Status
from review.anchors import Anchors
from review.items import Aside, ItemFilter
from review.sealer import LEAVES_PER_CHECKPOINT, heartbeat
from review.store import COUNT_LIMIT, Store

SUBMISSIONS = Counter("signoff_submissions", "Actions submitted, by the policy's answer.", ["route"])
DECISIONS = Counter("signoff_decisions", "People's decisions, by type.", ["type"])
EMERGENCIES = Counter("signoff_emergencies", "How often somebody broke the glass.")
DWELL = Histogram(
    "signoff_dwell_seconds",
    "How long a person looked before deciding.",
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
)


class QueueCollector(Collector):
    """Tells, when asked, how many items are undecided, and how sealing and anchoring go; a count stops at its limit."""

    def __init__(self, store: Store, anchors: Anchors, workspace: str) -> None:
        self._store = store
        self._anchors = anchors
        self._workspace = workspace

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the number of undecided items, how many of them are overdue, and how the sealing goes."""
        gauge = GaugeMetricFamily(
            "signoff_items",
            f"Undecided items by status, counted no further than {COUNT_LIMIT + 1}.",
            labels=["status"],
        )
        for status in (Status.WAITING, Status.CLAIMED, *Aside):
            gauge.add_metric([status.value], self._count(ItemFilter(statuses=(status,))))
        yield gauge
        yield GaugeMetricFamily(
            "signoff_items_breached",
            f"Waiting items that were not decided in their time, counted no further than {COUNT_LIMIT + 1}.",
            value=self._count(ItemFilter(statuses=(Status.WAITING,), is_breached=True)),
        )

        beat = heartbeat(self._store)
        yield GaugeMetricFamily(
            "signoff_audit_unsealed",
            f"Audit events that stand in no checkpoint yet, counted no further than {LEAVES_PER_CHECKPOINT}.",
            value=beat.backlog.count,
        )
        yield GaugeMetricFamily(
            "signoff_audit_alarm",
            "1 while a checkpoint of the audit log is missing for two intervals.",
            value=int(beat.is_missing),
        )
        yield from self._anchored()

    def _anchored(self) -> Iterator[GaugeMetricFamily]:
        # By number, in the order of the settings: anybody may ask, so no place is named.
        alarm = GaugeMetricFamily(
            "signoff_anchor_alarm",
            "1 while an anchor could not be given the latest checkpoint for two intervals, or contradicts the log.",
            labels=["anchor"],
        )
        posted = GaugeMetricFamily(
            "signoff_anchor_posted_timestamp_seconds",
            "When this process last posted a checkpoint to the anchor, in seconds since 1970.",
            labels=["anchor"],
        )
        for number, anchor in enumerate(self._anchors.of(self._workspace), 1):
            alarm.add_metric([str(number)], int(anchor.is_alarming))
            if anchor.at is not None:
                posted.add_metric([str(number)], anchor.at.timestamp())
        yield from (alarm, posted)

    def _count(self, where: ItemFilter) -> int:
        return self._store.read(lambda tx: tx.count_items(self._workspace, where))
