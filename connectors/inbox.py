"""The inbox: a verified push, or a message that waited at the vendor, is stored as it came before it is acknowledged,
once per delivery, and read by whoever handles `PayloadLanded`. Bodies are encrypted at rest, since pushes of orders
carry personal data."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

import structlog

from connectors import directory, manifest, store
from connectors.contracts import BadRow, Capability, ConnectionView, Message, PayloadLanded, PushContent
from connectors.protocol import PollsMessages
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


async def poll_messages(connection_id: int) -> int:
    """Fetch the messages that wait at the vendor, store each batch and only then have it deleted there; returns how
    many were new. A message that comes again changes nothing. Raises what the vendor's failure means: nothing is lost,
    and the rest comes with the next call."""
    new = 0
    async with directory.open_connector(connection_id) as adapter:
        if not isinstance(adapter, PollsMessages):
            return 0
        async with contextlib.aclosing(adapter.messages()) as batches:  # type: ignore[type-var]
            async for batch in batches:
                new += await _land_messages(connection_id, batch)
                await adapter.acknowledge([message.external_id for message in batch])
    return new


async def _land_messages(connection_id: int, batch: Sequence[Message]) -> int:
    new = 0
    async with uow() as tx:
        for message in batch:
            sealed = sealing.encrypt(message.body, _context(connection_id))
            inbox_id = await store.land(tx, connection_id, message.external_id[:200], message.topic[:200], sealed)
            if inbox_id is not None:
                tx.emit(PayloadLanded(inbox_id=inbox_id, connection_id=connection_id))
                new += 1
    return new


async def connections_to_poll(tx: Tx, every_s: float) -> list[int]:
    """Connections whose vendors keep messages for us and were last asked `every_s` ago, taken for this turn: whoever
    asks next gets others. Paused ones too: their orders go on."""
    keeping = [
        name for name in manifest.systems() if Capability.POLLS_MESSAGES in manifest.manifest_of(name).capabilities
    ]
    return await store.take_to_poll(tx, keeping, every_s) if keeping else []


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
    if isinstance(adapter, ReceivesByManifest):
        read = adapter.parse_push
    elif isinstance(adapter, PollsMessages):
        read = adapter.parse_message
    else:
        raise NotFound("this connection takes no pushes", code="no_push")
    body = sealing.decrypt(row["body"], _context(connection_id))
    try:
        return view, read(row["topic"], body)
    except (Malformed, Broken) as error:
        refused = BadRow(reason=str(error)[:300], raw=f"push {inbox_id} of {len(body)} bytes, topic {row['topic']}")
        return view, PushContent(bad=(refused,))


async def forget_old(tx: Tx) -> int:
    """Drop pushes older than two weeks; returns how many."""
    return await store.forget_landed(tx, tx.now - KEEP)


def _context(connection_id: int) -> str:
    return f"inbox:{connection_id}"
