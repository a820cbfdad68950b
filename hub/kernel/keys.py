"""API keys: made once, shown once, stored as a SHA-256 digest, and the only thing that says who is calling.

A key looks like `shk_mall_<43 random characters>`. 256 random bits need no slow hash (unlike passwords)."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Literal

from hub.kernel import store
from hub.kernel.db import Tx, read
from hub.kernel.errors import Unauthorized
from hub.kernel.settings import settings

Scope = Literal["mall", "vendor", "staff"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: one mall, one vendor, or procurement staff."""

    scope: Scope
    tenant_id: int  # 0 for staff
    key_id: int
    per_minute: int | None = None  # calls that this key may make; None: as its scope

    @property
    def tenant(self) -> str:
        """The tenant that row-level security sees."""
        return "*" if self.scope == "staff" else f"{self.scope}:{self.tenant_id}"

    @property
    def actor(self) -> str:
        """The name that the audit trail keeps."""
        return f"key:{self.key_id}"


_cache: dict[bytes, tuple[float, Principal]] = {}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def create_key(tx: Tx, scope: Scope, tenant_id: int | None, name: str, *, per_minute: int | None = None) -> str:
    """Make a key for one mall (tenant_id = mall), one vendor, or staff (None). Returns it; it is not stored.
    `per_minute` is its own quota of calls (0: no limit) where its scope's does not fit."""
    key = f"shk_{scope}_{secrets.token_urlsafe(32)}"
    await store.add_key(tx, _digest(key), scope, tenant_id, name, per_minute)
    return key


async def authenticate(header: str | None) -> Principal:
    """The principal of an `Authorization: Bearer KEY` header; raises Unauthorized. Lookups are cached for
    `key_cache_s`, which is also how long a revoked key may live on."""
    if header is None or header[:7].lower() != "bearer " or len(header) > 200 or not header.isascii():
        raise Unauthorized("send your API key as 'Authorization: Bearer KEY'", code="no_key")
    digest = _digest(header[7:].strip())
    hit = _cache.get(digest)
    tick = time.monotonic()
    if hit is not None and hit[0] > tick:
        return hit[1]
    rows = await read(store.KEY_LOOKUP, digest)
    if not rows:
        _cache.pop(digest, None)
        raise Unauthorized("this API key is unknown or revoked", code="bad_key")
    principal = Principal(rows[0]["scope"], rows[0]["tenant_id"] or 0, rows[0]["id"], rows[0]["per_minute"])
    if len(_cache) > 10_000:
        _cache.clear()
    _cache[digest] = (tick + settings().key_cache_s, principal)
    return principal
