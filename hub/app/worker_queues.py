"""Which queue carries which task: one queue a bulkhead class, so that slow pulls never hold up orders."""

from __future__ import annotations

from hub.kernel import tasks

QUEUES = ("flow", "sync")


def queue_of(task: str) -> str:
    """The queue of a task by name."""
    return "sync" if task == tasks.SYNC else "flow"
