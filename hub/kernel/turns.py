"""Long computations on the one event loop of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")
SLICE = 100  # rows: about a millisecond or two of the usual work on a row


async def slices(rows: Sequence[T], size: int = SLICE) -> AsyncIterator[Sequence[T]]:
    """Consecutive pieces of `rows`, with a turn of the loop after each, so that work on a page keeps nobody waiting
    who has had an answer from elsewhere meanwhile (a database that waits for its next statement, above all)."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
        await asyncio.sleep(0)
