"""What the command line does, apart from how it is typed. Each function opens its own connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import catalog.api
import connectors.api
from connectors import kit, scaffold
from hub.app import runtime
from hub.kernel import audit, db, keys, store
from hub.kernel.errors import NotFound, Rejected
from hub.kernel.settings import settings

Say = Callable[[str], None]
OPERATOR = "command line"


async def add_mall(name: str) -> int:
    """Add a mall; the id of the existing one when the name is taken."""
    async with runtime.connected(), db.uow() as tx:
        mall_id = await store.add_mall(tx, name.strip())
        await audit.record(tx, OPERATOR, "mall.added", f"mall:{mall_id}", {"name": name})
        return mall_id


async def reindex_titles(progress: Callable[[float], None], *, again: bool) -> tuple[int, int]:
    """Cut titles into search words anew; returns how many products were read and how many changed."""
    async with runtime.connected():
        return await catalog.api.reindex(progress, again=again)


Holder = tuple[Literal["mall", "vendor", "staff"], int | None]


async def _holder(tx: db.Tx, mall: str | None, vendor: str | None) -> Holder:
    """Whose key: a mall's, a vendor's (by name or id) or, with neither, staff's."""
    if mall is not None:
        tenant = await store.find_mall(tx, mall)
        if tenant is None:
            raise NotFound(f"there is no mall {mall!r}; `supplyhub mall add` makes one")
        return "mall", tenant
    if vendor is not None:
        return "vendor", await _vendor_id(tx, vendor)
    return "staff", None


async def create_key(*, mall: str | None, vendor: str | None, label: str, per_minute: int | None = None) -> str:
    """Create a key for a mall, a vendor (by name or id) or, with neither, for staff. Returns it; it is shown once."""
    async with runtime.connected(), db.uow() as tx:
        scope, tenant = await _holder(tx, mall, vendor)
        key = await keys.create_key(tx, scope, tenant, label or OPERATOR, per_minute=per_minute)
        facts = {"label": label, "per_minute": per_minute}
        await audit.record(tx, OPERATOR, "key.created", f"{scope}:{tenant or 0}", facts)
        return key


async def set_key_quota(*, mall: str | None, vendor: str | None, label: str, per_minute: int | None) -> int:
    """Change the quota of a holder's keys of this label; returns how many. Raises NotFound when there is none."""
    async with runtime.connected(), db.uow() as tx:
        scope, tenant = await _holder(tx, mall, vendor)
        changed = await store.set_key_quota(tx, scope, tenant, label or OPERATOR, per_minute)
        if not changed:
            raise NotFound(f"no {scope} key is labelled {label or OPERATOR!r}; `supplyhub key create` makes one")
        facts = {"label": label, "per_minute": per_minute, "keys": changed}
        await audit.record(tx, OPERATOR, "key.quota", f"{scope}:{tenant or 0}", facts)
        return changed


async def _vendor_id(tx: db.Tx, vendor: str) -> int:
    found = [
        int(row["id"])
        for row in await connectors.api.list_vendors(tx)
        if vendor in (str(row["id"]), row["name"], row["name_en"])
    ]
    if not found:
        raise NotFound(f"there is no vendor {vendor!r}; `supplyhub vendor list` shows them")
    return found[0]


async def add_vendor(
    *, name: str, name_en: str, connector: str, config: dict[str, Any], secrets: dict[str, Any], role: str, every_s: int
) -> int:
    """Add a vendor (or find it by name) and one connection; returns the connection's id."""
    if role not in ("supply", "reference"):
        raise Rejected("role is supply or reference")
    async with runtime.connected(), db.uow() as tx:
        known = [int(row["id"]) for row in await connectors.api.list_vendors(tx) if row["name"] == name.strip()]
        vendor_id = known[0] if known else await connectors.api.add_vendor(tx, name.strip(), name_en.strip())
        connection_id = await connectors.api.add_connection(
            tx,
            vendor_id=vendor_id,
            connector=connector,
            name=f"{name} ({connector})",
            config=config,
            secrets={key: str(value) for key, value in secrets.items()},
            role=cast("Literal['supply', 'reference']", role),
            sync_every_s=every_s,
        )
        await audit.record(tx, OPERATOR, "connection.added", f"connection:{connection_id}", {"connector": connector})
        return connection_id


async def list_vendors() -> list[str]:
    """One line a connection."""
    async with runtime.connected(), db.uow() as tx:
        lines = []
        for view in await connectors.api.list_connections(tx):
            last = view.last_complete_at.isoformat(timespec="seconds") if view.last_complete_at else "never"
            lines.append(
                f"{view.vendor_id}  {view.vendor_name}  connection {view.id}: {view.connector}, {view.role}, "
                f"{view.status}, complete sweep {last}"
            )
        return lines or ["no vendors yet; `supplyhub vendor add --help` says how to add one"]


async def sync_vendor(vendor: str, *, full: bool, say: Say) -> bool:
    """Pull every connection of a vendor now; True when all went well."""
    well = True
    runtime.calm_collector()
    async with runtime.connected():
        async with db.uow() as tx:
            vendor_id = await _vendor_id(tx, vendor)
            connections = await connectors.api.list_connections(tx, vendor_id)
        if not connections:
            raise NotFound(f"{vendor} has no connection; `supplyhub vendor add` adds one")
        for view in connections:
            outcome = await catalog.api.sync(view.id, kind="full" if full else None, progress=_progress(say))
            rate = outcome.seen / outcome.seconds if outcome.seconds else 0
            say(
                f"{view.name}: {outcome.seen} seen ({rate:,.0f}/s), {outcome.created} new, {outcome.updated} changed, "
                f"{outcome.unchanged} unchanged, {outcome.unlisted} unlisted, {outcome.quarantined} quarantined"
            )
            if outcome.error:
                say(f"{view.name}: {outcome.error}")
                well = False
    return well


def _progress(say: Say) -> Callable[[int], None]:
    step = 20_000
    told = 0

    def tell(seen: int) -> None:
        nonlocal told
        if seen // step > told:
            told = seen // step
            say(f"  {seen:,} records …")

    return tell


def list_connectors() -> list[str]:
    """One line a connector: what it is and what it can do."""
    return [
        f"{about.id:<16} {about.family:<12} {', '.join(sorted(about.capabilities))}"
        for about in connectors.api.describe_all()
    ]


def new_connector(name: str, into: Path | None) -> str:
    """Scaffold a connector; returns what to do next."""
    folder = scaffold.create(name, into)
    return f"{folder} made. Edit manifest.yaml and fixtures/, then run `supplyhub connector check {name}`."


async def check_connectors(name: str | None, say: Say) -> bool:
    """Run the contract kit on one connector (a name, or the path of a folder), or on all; True when none failed."""
    if name is None:
        targets: list[str | Path] = [about.id for about in connectors.api.describe_all()]
    else:
        targets = [Path(name) if "/" in name else name]
    green = True
    for target in targets:
        say(str(target))
        for result in await kit.check(target):
            say(f"  {result.outcome:<8} {result.check}{': ' + result.detail if result.detail else ''}")
            green = green and result.outcome != "failed"
    return green


async def try_connector(name: str, config: dict[str, Any], secrets: dict[str, Any], say: Say) -> bool:
    """Pull up to 20 listings from the real thing and show them mapped."""
    settings()
    shown = await connectors.api.preview(name, config, {key: str(value) for key, value in secrets.items()})
    for listing in shown.listings:
        stock = listing.on_hand if listing.on_hand is not None else listing.level
        say(f"{listing.vendor_sku:<20} {listing.price:>10} {listing.currency}  stock {stock}  {listing.title}")
    for bad in shown.bad:
        say(f"refused {bad.vendor_sku or ''}: {bad.reason} ({bad.pointer})")
    for field in shown.drift:
        say(f"not mapped: {field}")
    if not shown.listings:
        say("no listing came out")
    return bool(shown.listings)
