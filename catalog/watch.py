"""Whether enough can be ordered: counted every minute, kept, and told once when a kind drops below the target and once
when it is back. What never reached the target has not dropped: it shows in the figures and is told to nobody."""

from __future__ import annotations

import structlog

from catalog import reading, store
from catalog.contracts import AssortmentDropped, AssortmentRestored
from catalog.store import shown
from hub.kernel import clock
from hub.kernel.db import HUB, uow

log = structlog.get_logger()


async def watch_assortment() -> None:
    """A task: count, and tell what changed. Two that run at once tell it once."""
    counted = await shown.orderable_by_kind(clock.now())
    target = reading.ASSORTMENT_TARGET
    async with uow(HUB) as tx:
        before = {row["kind"]: row for row in await store.lock_assortment_watch(tx)}
        for kind in reading.KINDS:
            listed, orderable = counted.get(kind, (0, 0))
            known = before.get(kind)
            was_below = known is None or known["below_since"] is not None
            below_since = None
            if orderable < target:
                below_since = known["below_since"] if known is not None and was_below else tx.now
            await store.put_assortment_watch(tx, kind, orderable, listed, below_since)
            if known is None or was_below == (below_since is not None):
                continue
            if below_since is not None:
                tx.emit(AssortmentDropped(kind=kind, orderable=orderable, target=target))
                log.warning("assortment_below_target", kind=kind, orderable=orderable, target=target)
            else:
                tx.emit(AssortmentRestored(kind=kind, orderable=orderable, target=target))
                log.info("assortment_restored", kind=kind, orderable=orderable, target=target)
