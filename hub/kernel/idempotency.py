"""Idempotency-Key (IETF httpapi draft): the effect and the remembered answer commit in one transaction.

A replay returns the first answer byte for byte; the same key with another body is 422; the same key while the
first request is still running is 409. A failed execution leaves nothing behind, so its key may be used again."""

from __future__ import annotations

import hashlib

from hub.kernel import store
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Rejected


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    return hashlib.sha256(b"\x00".join((method.encode(), path.encode(), body))).digest()


async def replay(tx: Tx, tenant: str, key: str, print_: bytes) -> tuple[int, bytes] | None:
    """The remembered (status, body), or None when this request is the first. Raises Conflict or Rejected."""
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise Rejected("Idempotency-Key must be 1 to 200 printable characters", code="bad_idempotency_key")
    if not await store.take_idempotency_lock(tx, tenant, key):
        raise Conflict(
            "a request with this Idempotency-Key is still running; ask again in a moment", code="key_in_flight"
        )
    row = await store.find_idempotent(tx, tenant, key)
    if row is None:
        return None
    if row["fingerprint"] != print_:
        raise Rejected("this Idempotency-Key was used with another request", code="key_reused")
    return row["status"], row["body"]


async def keep(tx: Tx, tenant: str, key: str, print_: bytes, status: int, body: bytes) -> None:
    """Remember the answer together with the effect."""
    await store.keep_idempotent(tx, tenant, key, print_, status, body)
