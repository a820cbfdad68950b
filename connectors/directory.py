"""Vendors and their connections: made, looked up, and opened as connector objects."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import asyncpg
import httpx
from pydantic import SecretStr

from connectors import base, guards, manifest, store
from connectors.base import Adapter, Known
from connectors.contracts import Capability, ConnectionTurned, ConnectionView
from connectors.described import foreign_urls, manifest_for, of_connection
from connectors.manifest import FromConfig, Manifest
from hub.kernel import secrets as sealing
from hub.kernel import tasks
from hub.kernel.db import Tx, uow
from hub.kernel.egress import check_url
from hub.kernel.errors import Conflict, Fault, Misconfigured, NotFound, Rejected
from hub.kernel.http import client


async def add_vendor(tx: Tx, name: str, name_en: str = "") -> int:
    """A new vendor's id. Raises Conflict when the name is taken."""
    vendor_id = await store.add_vendor(tx, name, name_en)
    if vendor_id is None:
        raise Conflict(f"there is a vendor named {name!r} already", code="vendor_exists")
    return vendor_id


async def vendor_name(tx: Tx, vendor_id: int) -> str:
    """The vendor's name. Raises NotFound."""
    row = await store.vendor(tx, vendor_id)
    if row is None:
        raise NotFound("there is no such vendor", code="no_vendor")
    return str(row["name"])


async def list_vendors(tx: Tx, after: int = 0, limit: int = 100_000) -> list[dict[str, Any]]:
    """Vendors by id: id, name, name_en, created_at, connections (how many)."""
    return [dict(row) for row in await store.vendor_rows(tx, after, limit)]


async def add_connection(
    tx: Tx,
    *,
    vendor_id: int,
    connector: str,
    name: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    role: Literal["supply", "reference"] = "supply",
    sync_every_s: int = 900,
    defaults: Mapping[str, Any] | None = None,
    draft: bool = False,
) -> int:
    """A new connection's id; its first pull is due at once, unless it is a draft that somebody tries out first. The
    settings and secrets must be those that the
    connector's manifest declares, and its URLs must be addresses that the egress guard lets through.

    Raises Rejected (what is wrong with the settings), NotFound (vendor or connector), Conflict (name taken)."""
    await vendor_name(tx, vendor_id)
    described = check_settings(manifest.manifest_of(connector), config, secrets)
    if not 1 <= sync_every_s <= 7 * 86400:
        raise Rejected("sync_every_s must be between 1 second and 7 days", code="bad_config")
    signing = described.push.hmac_sha256.secret if described.push else None
    row = {
        "vendor_id": vendor_id,
        "connector": connector,
        "name": name,
        "role": role,
        "config": dict(config),
        "defaults": dict(defaults or {}),
        "sync_every_s": sync_every_s,
        "push_enabled": bool(signing and secrets.get(signing)),
        "status": "draft" if draft else "live",
    }
    connection_id = await store.add_connection(tx, row)
    if connection_id is None:
        raise Conflict(f"the vendor has a connection named {name!r} already", code="connection_exists")
    sealed = sealing.encrypt_json(dict(secrets), _context(connection_id))
    await store.keep_secrets(tx, connection_id, sealed)
    return connection_id


OWN = "vendor_api"  # the connector of what vendors send by their own key
OWN_PROMISE_S = 86_400  # a vendor that uploads its shelf does so about once a day


async def own_connection(tx: Tx, vendor_id: int) -> ConnectionView:
    """The connection that holds what the vendor sends by its own key; made when first asked for. Raises NotFound."""
    await vendor_name(tx, vendor_id)
    row = {
        "vendor_id": vendor_id, "connector": OWN, "name": OWN, "role": "supply", "config": {}, "sync_every_s": 86_400,
        "defaults": {"stock_promise_s": OWN_PROMISE_S}, "push_enabled": False, "status": "live",
    }  # fmt: skip
    made = await store.add_connection(tx, row)
    if made is None:
        found = [view for view in await list_connections(tx, vendor_id) if view.connector == OWN]
        made = found[0].id
    return await get_connection(tx, made)


def check_settings(general: Manifest, config: Mapping[str, Any], secrets: Mapping[str, str]) -> Manifest:
    """The manifest of a connection with these settings. Raises Rejected unless settings, secrets and URLs are what it
    declares and the guard allows."""
    try:
        described = manifest_for(general, config)
    except Misconfigured as error:
        raise Rejected(error.detail, code=error.code or "bad_config", faults=error.faults) from None
    unknown = set(secrets) - described.secret_names
    if unknown:
        raise _refused(f"{described.id} has no secret {', '.join(sorted(unknown))}", "/secrets")
    missing = [name for name, s in described.config.items() if s.secret and s.required and not secrets.get(name)]
    if missing:
        raise _refused(f"{described.id} needs the secret {', '.join(sorted(missing))}", "/secrets")
    at = "/config"
    try:
        settled = base.settle(described, config)
        spec = described.http.base_url
        urls = {spec.config} if isinstance(spec, FromConfig) else set()
        urls |= {name for name, setting in described.config.items() if setting.type == "url"}
        for name in sorted(urls):
            at = f"/config/{name}"
            if settled.get(name):
                check_url(httpx.URL(str(settled[name])))
        at = f"/config/{general.described_by}" if general.described_by else "/config"
        for url in foreign_urls(described):
            check_url(url)
        at = "/config"
        hidden = {name: SecretStr(value) for name, value in secrets.items()}
        base.build(manifest.HOME / general.id, config, hidden)  # the connector's own look at them; calls nobody
    except httpx.InvalidURL as error:
        raise _refused(f"the URL is not valid: {error}", at) from None
    except Misconfigured as error:
        faults = error.faults or (Fault(at, error.detail),)
        raise Rejected(error.detail, code=error.code or "bad_config", faults=faults) from None
    return described


def _refused(detail: str, pointer: str) -> Rejected:
    return Rejected(detail, code="bad_config", faults=(Fault(pointer, detail),))


async def get_connection(tx: Tx, connection_id: int) -> ConnectionView:
    """The connection without its secrets. Raises NotFound."""
    return _view(await _row(tx, connection_id))


async def list_connections(
    tx: Tx, vendor_id: int | None = None, after: int = 0, limit: int = 100_000
) -> list[ConnectionView]:
    """Connections by id, all or one vendor's."""
    return [_view(row) for row in await store.connection_rows(tx, vendor_id, after, limit)]


async def set_status(tx: Tx, connection_id: int, status: Literal["live", "paused"]) -> None:
    """Pause a connection, or bring it (back) to life: its next pull is then due at once. Raises NotFound, and Conflict
    for a draft that was to be paused."""
    row = await _row(tx, connection_id)
    if status == "live":
        await store.go_live(tx, connection_id)
    elif row["status"] == "draft":
        raise Conflict("a draft is not live yet; there is nothing to pause", code="draft")
    else:
        await store.set_status(tx, connection_id, status)
    tx.emit(ConnectionTurned(connection_id=connection_id))
    if status == "live":
        tx.wake(tasks.SYNC)


async def change_connection(
    tx: Tx,
    connection_id: int,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    sync_every_s: int | None = None,
) -> list[str]:
    """Change what is given: `config` as a whole, `secrets` one by one (an empty value removes one). Returns the names
    of what changed, none of its values. Raises NotFound, Rejected (settings), Conflict (name)."""
    await store.lock_connection(tx, connection_id)  # secrets are sealed as a whole: two changes must not cross
    row = await _row(tx, connection_id)
    before = _secrets(row)
    kept = {key: value for key, value in {**before, **(secrets or {})}.items() if value}
    settings = dict(config) if config is not None else row["config"]
    described = check_settings(manifest.manifest_of(row["connector"]), settings, kept)
    signing = described.push.hmac_sha256.secret if described.push else None
    changed = {
        "name": name or row["name"],
        "config": settings,
        "sync_every_s": sync_every_s or row["sync_every_s"],
        "push_enabled": bool(signing and kept.get(signing)),
    }
    if not await store.change_connection(tx, connection_id, changed):
        raise Conflict(f"the vendor has a connection named {name!r} already", code="connection_exists")
    if kept != before:
        await store.keep_secrets(tx, connection_id, sealing.encrypt_json(kept, _context(connection_id)))
    tx.after_commit(lambda: guards.forget(f"{row['connector']}:{connection_id}"))
    names = [key for key in ("name", "sync_every_s") if changed[key] != row[key]]
    old = row["config"]
    names += [f"config.{key}" for key in sorted({*settings, *old}) if settings.get(key) != old.get(key)]
    return names + [f"secrets.{key}" for key in sorted({*kept, *before}) if kept.get(key) != before.get(key)]


async def rotate_secrets(tx: Tx, connection_id: int, secrets: Mapping[str, str]) -> None:
    """Replace some of a connection's secrets (an empty value removes one). Raises NotFound, Rejected."""
    await change_connection(tx, connection_id, secrets=secrets)


async def connection_settings(tx: Tx, connection_id: int) -> tuple[dict[str, Any], list[str]]:
    """A connection's settings, and the names of the secrets that it has. Raises NotFound."""
    row = await _row(tx, connection_id)
    return row["config"], sorted(_secrets(row))


@contextlib.asynccontextmanager
async def open_connector(
    connection_id: int, *, transport: httpx.AsyncBaseTransport | None = None, known: Known | None = None
) -> AsyncIterator[Any]:
    """The connector object of a connection, closed when the block ends. It implements the protocols of
    connectors.protocol that its capabilities name. Settings are read in a short transaction of its own, which is over
    before the block begins: never hold a transaction open across a vendor call.

    `transport` replaces the network in tests. `known`, given the SKUs of a page, returns the digests kept with their
    listings: records that have not changed then come as `Page.unchanged` (their stock alone)."""
    async with uow() as tx:
        row = await _row(tx, connection_id)
    adapter = adapter_of(row, transport=transport, known=known)
    try:
        yield adapter
    finally:
        await adapter.aclose()


def adapter_of(
    row: asyncpg.Record, *, transport: httpx.AsyncBaseTransport | None = None, known: Known | None = None
) -> Adapter:
    """The connector object of a connection's row; makes no call."""
    described = of_connection(row["connector"], row["config"])
    http = None
    if transport is not None:
        http = client(timeout_s=described.http.timeout_s, transport=transport)
    hidden = {name: SecretStr(value) for name, value in _secrets(row).items()}
    folder = manifest.HOME / row["connector"]
    return base.build(folder, row["config"], hidden, http, connection_id=row["id"], known=known)


def capabilities(connector_id: str) -> frozenset[Capability]:
    """What the connector can do. Raises NotFound."""
    return frozenset(manifest.manifest_of(connector_id).capabilities)


def _capabilities(row: asyncpg.Record) -> frozenset[Capability]:
    """What this connection can do: nothing when its description of the protocol is no longer understood."""
    try:
        return frozenset(of_connection(row["connector"], row["config"]).capabilities)
    except Misconfigured:
        return frozenset()


async def _row(tx: Tx, connection_id: int) -> asyncpg.Record:
    row = await store.connection(tx, connection_id)
    if row is None:
        raise NotFound("there is no such connection", code="no_connection")
    return row


def _secrets(row: asyncpg.Record) -> dict[str, str]:
    return dict(sealing.decrypt_json(row["secrets"], _context(row["id"]))) if row["secrets"] else {}


def _context(connection_id: int) -> str:
    return f"connection:{connection_id}"


def _view(row: asyncpg.Record) -> ConnectionView:
    return ConnectionView(
        id=row["id"],
        vendor_id=row["vendor_id"],
        vendor_name=row["vendor_name"],
        connector=row["connector"],
        name=row["name"],
        role=row["role"],
        status=row["status"],
        capabilities=_capabilities(row),
        defaults=row["defaults"],
        sync_every_s=row["sync_every_s"],
        last_complete_at=row["last_complete_at"],
    )
