"""The inbox: a verified push is stored as it came before it is acknowledged, once per delivery, and read by whoever
handles `PayloadLanded`. Bodies are encrypted at rest, since pushes of orders carry personal data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import structlog

from connectors import directory, store
from connectors.contracts import BadRow, ConnectionView, PayloadLanded, PushContent
from connectors.push import ReceivesByManifest
from hub.kernel import secrets as sealing
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Broken, Malformed, NotFound, TooLarge
from hub.kernel.types import Frozen

log = structlog.get_logger()
KEEP = timedelta(days=14)  # vendors retry for days; a shorter memory would land an old delivery twice
BODY_LIMIT = 4 * 2**20


class Landing(Frozen):
    """What became of a push."""

    result: Literal["landed", "duplicate", "ping"]
    inbox_id: int | None = None


async def land_push(connection_id: int, headers: Mapping[str, str], body: bytes) -> Landing:
    """Verify a push and store it, in a transaction of its own that is committed when this returns. The same delivery
    again changes nothing. Raises NotFound (no such connection, it takes no pushes, or it has no signing secret),
    Unauthorized (signature), TooLarge."""
    if len(body) > BODY_LIMIT:
        raise TooLarge(f"a push may be at most {BODY_LIMIT} bytes", code="body_too_large")
    async with uow() as tx:
        row = await store.connection(tx, connection_id)
        adapter = directory.adapter_of(row) if row is not None else None  # paused ones too: their orders go on
        if not isinstance(adapter, ReceivesByManifest):
            raise NotFound("there is no such push address", code="no_push")
        adapter.secrets_of_push()
        if adapter.is_ping(headers, body):
            return Landing(result="ping")
        received = adapter.verify(headers, body)
        sealed = sealing.encrypt(body, _context(connection_id))
        inbox_id = await store.land(tx, connection_id, received.external_id, received.topic, sealed)
        if inbox_id is None:
            return Landing(result="duplicate")
        tx.emit(PayloadLanded(inbox_id=inbox_id, connection_id=connection_id))
    return Landing(result="landed", inbox_id=inbox_id)


async def landed(tx: Tx, inbox_id: int) -> tuple[ConnectionView, PushContent]:
    """The connection and the meaning of a stored push. A body that cannot be read is one bad row, not an error, so
    that it is quarantined once instead of tried for ever. Raises NotFound when the push is no longer kept."""
    row = await store.landed(tx, inbox_id)
    if row is None:
        raise NotFound("this push is no longer kept", code="no_push")
    connection_id = int(row["connection_id"])
    view = await directory.get_connection(tx, connection_id)
    held = await store.connection(tx, connection_id)
    assert held is not None
    adapter = directory.adapter_of(held)
    if not isinstance(adapter, ReceivesByManifest):
        raise NotFound("this connection takes no pushes", code="no_push")
    body = sealing.decrypt(row["body"], _context(connection_id))
    try:
        return view, adapter.parse_push(row["topic"], body)
    except (Malformed, Broken) as error:
        refused = BadRow(reason=str(error)[:300], raw=f"push {inbox_id} of {len(body)} bytes, topic {row['topic']}")
        return view, PushContent(bad=(refused,))


async def forget_old(tx: Tx) -> int:
    """Drop pushes older than two weeks; returns how many."""
    return await store.forget_landed(tx, tx.now - KEEP)


def _context(connection_id: int) -> str:
    return f"inbox:{connection_id}"
