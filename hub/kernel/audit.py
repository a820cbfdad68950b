"""The audit trail: append-only and hash-chained, so that an edited or deleted row is detected."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hub.kernel import store
from hub.kernel.db import Tx


def _link(previous: bytes, at: str, actor: str, action: str, subject: str, facts: dict[str, Any]) -> bytes:
    body = json.dumps([at, actor, action, subject, facts], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(previous + body.encode()).digest()


async def record(tx: Tx, actor: str, action: str, subject: str, facts: dict[str, Any]) -> None:
    """Append who did what to what, with facts that hold neither secrets nor personal data."""
    previous = await store.last_audit_digest(tx)
    digest = _link(previous, tx.now.isoformat(), actor, action, subject, facts)
    row = {"at": tx.now, "actor": actor, "action": action, "subject": subject, "facts": facts}
    await store.add_audit(tx, {**row, "previous": previous, "digest": digest})


async def first_broken(tx: Tx) -> int | None:
    """The id of the first row whose chain does not hold, or None."""
    previous = b""
    for row in await store.audit_rows(tx):
        facts = row["facts"]
        at = row["at"].isoformat()
        if row["previous"] != previous or row["digest"] != _link(
            previous, at, row["actor"], row["action"], row["subject"], facts
        ):
            return int(row["id"])
        previous = row["digest"]
    return None
