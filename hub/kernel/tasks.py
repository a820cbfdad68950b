"""Wake-ups. The queues of record are tables; a wake-up only says "look now". Losing one costs a sweep's delay,
never work. The worker and the web process install a sender (Celery); without one, wake-ups go nowhere."""

from __future__ import annotations

from collections.abc import Callable

FLOW = "flow"  # events in the outbox
PLACE = "place"  # attempts due at vendors
SYNC = "sync"  # connections due for a pull
MATCH = "match"  # listings to be held against the catalogue

_sender: Callable[[str], None] | None = None


def install(sender: Callable[[str], None] | None) -> None:
    """Set what carries wake-ups of this process, or None for none."""
    global _sender
    _sender = sender


def wake(task: str) -> None:
    """Ask workers to look at one queue of record now. Never raises and never blocks."""
    if _sender is not None:
        _sender(task)
