"""Sending what is due to webhook endpoints. Each endpoint is a lane of its own: one that hangs holds up its own
messages only, and those that failed last time share a few places among themselves. A message that was not taken comes
again after longer and longer pauses, for about three days; an endpoint that fails is left alone for a while, so that
a backlog is not spent on a server that is down. Messages may be sent twice (a worker that dies after sending), never
lost."""

from __future__ import annotations

import asyncio
import random
import uuid
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg
import httpx
import structlog

from hub.kernel import audit, clock, metrics, webhooks
from hub.kernel import http as outgoing
from hub.kernel.db import HUB, uow
from hub.kernel.errors import HubError
from hub.kernel.store import webhooks as store
from hub.kernel.types import public_id
from hub.kernel.visits import Visits

log = structlog.get_logger()
LADDER = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)  # seconds between attempts; then it has failed
HOLDS = (5, 30, 120, 600, 900)  # seconds that an endpoint is left alone after its nth failed visit
LANES, UNWELL = 32, 8  # endpoints visited at once; of those that failed last time
AT_ONCE = 8  # messages in flight to one endpoint
BATCH = 128  # claimed and written down together
TIMEOUT_S, DEADLINE_S = 15.0, 20.0
BATCH_S, LEASE_S = 30.0, 90.0  # no new call of a batch after; claimed for
LONGEST_WAIT_S = 3600.0
_SAID = 200  # characters kept of what a refusing endpoint said


class Outcome(NamedTuple):
    """What came of one attempt. `gone`: the endpoint wants nothing more (410)."""

    taken: bool
    status: int | None = None
    error: str | None = None
    gone: bool = False
    wait_s: float = 0.0  # the endpoint asked to be left alone for so long


async def visit(endpoint_id: uuid.UUID) -> int:
    """Send what is due to one endpoint until nothing is, or until it fails; returns how many messages it took."""
    taken = 0
    async with outgoing.client(timeout_s=TIMEOUT_S, connections=AT_ONCE) as client:
        while True:
            async with uow(HUB) as tx:
                endpoint = await store.target(tx, endpoint_id)
                batch = await store.claim(tx, endpoint_id, BATCH, LEASE_S) if endpoint is not None else []
            if endpoint is None or not batch:
                return taken
            # One first: a server that is down costs one time-out, not as many as messages wait.
            batch.sort(key=lambda row: row["message_id"])
            first, rest = (batch[:1], batch[1:]) if endpoint["failures"] else (batch, [])
            outcomes = await _send_all(client, endpoint, first)
            if rest and any(outcome.taken for outcome in outcomes.values()):
                outcomes |= await _send_all(client, endpoint, rest)
            took = await _settle(endpoint, batch, outcomes)
            taken += took
            if took < len(outcomes):
                return taken


async def _send_all(
    client: httpx.AsyncClient, endpoint: asyncpg.Record, batch: list[asyncpg.Record]
) -> dict[uuid.UUID, Outcome]:
    """What came of each message that was tried: a batch that takes too long is broken off between two calls."""
    keys = webhooks.secrets_of(endpoint, clock.now())
    outcomes: dict[uuid.UUID, Outcome] = {}
    waiting = iter(batch)
    until = asyncio.get_running_loop().time() + BATCH_S

    async def one_after_another() -> None:
        for row in waiting:
            if asyncio.get_running_loop().time() > until:
                return
            outcomes[row["message_id"]] = await _send(client, endpoint["url"], row["message_id"], row["body"], keys)

    await asyncio.gather(*(one_after_another() for _ in range(min(AT_ONCE, len(batch)))))
    return outcomes


async def _send(client: httpx.AsyncClient, url: str, message_id: uuid.UUID, body: bytes, keys: list[str]) -> Outcome:
    headers = webhooks.signed_headers(message_id, clock.now(), body, keys)
    try:
        async with asyncio.timeout(DEADLINE_S):
            async with client.stream("POST", url, content=body, headers=headers) as response:
                if response.is_success:
                    return Outcome(True, response.status_code)
                return await _refused(response)
    except TimeoutError:
        return Outcome(False, error=f"no answer within {DEADLINE_S:.0f} s")
    except Exception as error:
        told = outgoing.as_hub_error(error)
        if not isinstance(error, httpx.HTTPError | HubError | OSError):
            log.warning("webhook_failed", error=repr(error)[:200])
        return Outcome(False, error=str(told).replace("vendor", "endpoint")[:_SAID])


async def _refused(response: httpx.Response) -> Outcome:
    said = ""
    async for piece in response.aiter_bytes(4096):
        said = "".join(c if c.isprintable() else " " for c in piece.decode(errors="replace"))[:_SAID].strip()
        break
    if response.is_redirect:
        said = "redirects are not followed; change the endpoint's address"
    wait = 0.0
    after = response.headers.get("retry-after", "")
    if response.status_code in (429, 503) and after.isdigit():
        wait = min(float(after), LONGEST_WAIT_S)
    return Outcome(False, response.status_code, said or None, gone=response.status_code == 410, wait_s=wait)


async def _settle(endpoint: asyncpg.Record, batch: list[asyncpg.Record], outcomes: Mapping[uuid.UUID, Outcome]) -> int:
    """Write down what came of the attempts. Returns how many messages were taken."""
    attempts = {row["message_id"]: row["attempts"] for row in batch}
    rows: list[tuple[Any, ...]] = []
    for message_id, outcome in outcomes.items():
        state, delay = store.DELIVERED, 0.0
        if not outcome.taken:
            tried = attempts[message_id]
            state = store.FAILED if tried >= len(LADDER) else store.PENDING
            delay = max(LADDER[min(tried, len(LADDER) - 1)] * random.uniform(0.9, 1.1), outcome.wait_s)  # noqa: S311
        rows.append((message_id, state, delay, outcome.status, outcome.error))
        metrics.WEBHOOKS.labels("taken" if outcome.taken else "failed" if state == store.FAILED else "retried").inc()
    failed = [outcome for outcome in outcomes.values() if not outcome.taken]
    async with uow(HUB) as tx:
        await store.settle(tx, endpoint["id"], rows)
        await store.give_back(tx, endpoint["id"], [name for name in attempts if name not in outcomes])
        if not failed:
            await store.well(tx, endpoint["id"])
        else:
            held = HOLDS[min(endpoint["failures"], len(HOLDS) - 1)]
            state_now = await store.unwell(tx, endpoint["id"], max(held, *(o.wait_s for o in failed)))
            reason = None
            if any(outcome.gone for outcome in failed):
                reason = "it answered 410 (gone)"
            elif state_now is not None and state_now["hopeless"]:
                reason = "nothing was taken for five days"
            if state_now is not None and reason is not None:
                await store.disable(tx, endpoint["id"], reason)
                subject = public_id("whe", endpoint["id"])
                await audit.record(tx, "hub", "webhook.disabled", subject, {"reason": reason})
                log.warning("webhook_endpoint_disabled", endpoint=subject, tenant=state_now["tenant"], reason=reason)
    return len(outcomes) - len(failed)


_LANES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Visits[uuid.UUID]] = weakref.WeakKeyDictionary()


def lanes() -> Visits[uuid.UUID]:
    """The lanes of this event loop."""
    made = Visits(visit, called="endpoint", well=LANES, unwell=UNWELL)
    return _LANES.setdefault(asyncio.get_running_loop(), made)


async def send_due() -> int:
    """The task: look for endpoints with something due and start visits; returns how many were started."""
    mine = lanes()
    if mine.room <= 0:
        return 0
    async with uow(HUB) as tx:
        due = await store.endpoints_due(tx, list(mine.running), mine.room)
    return mine.begin((row["id"], row["failures"]) for row in due)


async def stop() -> None:
    """Break off this process's visits, before it stops; what was claimed comes back when its lease ends."""
    await lanes().stop()


async def drain() -> None:
    """Send until nothing is due (tests and drills)."""
    while await send_due() or lanes().running:
        await asyncio.gather(*lanes().running.values())
