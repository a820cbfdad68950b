"""What landing rows did, counted."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hub.kernel import metrics


@dataclass(slots=True)
class Tally:
    """What landing rows did, in rows."""

    seen: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    merged: int = 0
    stock_seen: int = 0
    stock_changed: int = 0

    def figures(self) -> dict[str, int]:
        """The counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def add(self, other: Tally) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


def tally_up(tally: Tally) -> None:
    """Show a committed batch in the metrics."""
    for outcome in ("created", "updated", "unchanged", "quarantined"):
        metrics.LISTINGS.labels(outcome).inc(getattr(tally, outcome))
