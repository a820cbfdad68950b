"""`supplyhub doctor`: says in words what is wrong and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import catalog.api
import fulfillment.api
import orders.api
from hub.app import runtime
from hub.app.migrate import current_and_newest
from hub.app.operations import CANARY_ALARM_S
from hub.kernel import audit, db, secrets, store
from hub.kernel.errors import HubError
from hub.kernel.settings import settings


@dataclass(frozen=True)
class Finding:
    """One check: whether all is well, worth a look, or wrong, and a sentence."""

    check: str
    verdict: Literal["ok", "warn", "bad"]
    words: str


async def examine() -> list[Finding]:
    """Every check, none of which changes anything."""
    findings: list[Finding] = [_disk(), _secret_keys()]
    try:
        async with runtime.connected() as urls:
            findings.append(Finding("database", "ok", "PostgreSQL answers"))
            findings.append(await _schema(urls.database))
            if findings[-1].verdict == "bad":
                return findings
            findings.append(_broker(urls.redis))
            for look in (_walls, _outbox, _workers, _shelf, _search, _orders, _audit):
                findings.append(await _guard(look))
    except HubError as error:
        findings.append(Finding("servers", "bad", str(error)))
    return findings


async def _guard(look: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await look()
    except Exception as error:
        return Finding(look.__name__.strip("_"), "bad", f"the check itself failed: {type(error).__name__}: {error}")


def _disk() -> Finding:
    folder = settings().data_dir
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 2**30
    verdict: Literal["ok", "bad"] = "ok" if free > 1 else "bad"
    return Finding("disk", verdict, f"{free:.1f} GiB free in {folder}" + ("" if free > 1 else "; free some space"))


def _secret_keys() -> Finding:
    try:
        sealed = secrets.encrypt(b"probe", "doctor")
        secrets.decrypt(sealed, "doctor")
    except HubError as error:
        return Finding("secret keys", "bad", str(error))
    if settings().secret_keys is None:
        path = settings().secrets_file
        return Finding("secret keys", "warn", f"generated in {path}; back it up, or set SUPPLYHUB_SECRET_KEYS")
    return Finding("secret keys", "ok", "configured")


async def _schema(url: str) -> Finding:
    current, newest = await current_and_newest(url)
    if current != newest:
        return Finding("schema", "bad", f"at {current or 'nothing'}, newest is {newest}; run `supplyhub migrate`")
    return Finding("schema", "ok", f"at {current}")


def _broker(url: str) -> Finding:
    import redis

    address = url.replace("redis+socket://", "unix://", 1)
    try:
        with redis.Redis.from_url(address, socket_timeout=3) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return Finding("broker", "bad", f"Redis protocol does not answer: {error}; orders wait for it in the database")
    return Finding("broker", "ok", "answers")


async def _walls() -> Finding:
    async with db.uow() as tx:
        bound = await store.walls_bind(tx)
    if not bound:
        words = "the database role is a superuser or has BYPASSRLS, which row-level security cannot bind; use another"
        return Finding("tenants", "bad", words)
    return Finding("tenants", "ok", "row-level security binds the database role")


async def _outbox() -> Finding:
    async with db.uow() as tx:
        state = await store.outbox_state(tx)
    if state["dead"]:
        return Finding("outbox", "bad", f"{state['dead']} events were given up; see last_error in table outbox")
    if state["age"] > 300:
        return Finding("outbox", "bad", f"the oldest event waits {state['age']:.0f} s; is a flow worker running?")
    return Finding("outbox", "ok", f"{state['pending']} events waiting")


async def _workers() -> Finding:
    async with db.uow() as tx:
        age = await store.canary_age(tx)
    if age is None or age > CANARY_ALARM_S:
        seen = "never" if age is None else f"{age:.0f} s ago"
        return Finding("workers", "warn", f"a task was last completed {seen}; start `supplyhub up` or a worker")
    return Finding("workers", "ok", f"a task was completed {age:.0f} s ago")


async def _shelf() -> Finding:
    async with db.uow() as tx:
        drift = await catalog.api.drift(tx)
    if drift:
        return Finding("shelf", "bad", f"{len(drift)} counters differ from the ledger, first: {drift[0]}")
    return Finding("shelf", "ok", "counters equal the ledger and the open reservations")


async def _search() -> Finding:
    async with db.uow() as tx:
        if await catalog.api.reindex_needed(tx):
            return Finding("search", "warn", "titles are cut by rules of another version; run `supplyhub reindex`")
    return Finding("search", "ok", "titles are cut by the rules of this version")


async def _orders() -> Finding:
    async with db.uow() as tx:
        facts: dict[str, Any] = {**await orders.api.invariants(tx), **await fulfillment.api.invariants(tx)}
    broken = [name for name, holds in facts.items() if not holds]
    if broken:
        return Finding("orders", "bad", "broken promises: " + ", ".join(broken))
    return Finding("orders", "ok", f"{len(facts)} invariants hold")


async def _audit() -> Finding:
    async with db.uow() as tx:
        broken = await audit.first_broken(tx)
    if broken is not None:
        return Finding("audit", "bad", f"the chain breaks at row {broken}: a row was edited or deleted")
    return Finding("audit", "ok", "the chain holds")
