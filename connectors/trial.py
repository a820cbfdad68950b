"""Trying a connection before it matters: what connectors there are, whether one answers, and what its first rows
look like once mapped. Nothing here is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from connectors import base, directory, manifest
from connectors.contracts import BadRow, Capability, ListingIn, SlotIn
from connectors.protocol import PlacesOrders, PullsListings, PullsStock
from connectors.push import ReceivesByManifest
from hub.kernel.egress import EgressRefused
from hub.kernel.errors import HubError, Misconfigured, Rejected
from hub.kernel.http import client
from hub.kernel.types import Frozen

PREVIEW_ROWS = 20


class SettingInfo(Frozen):
    """One setting that a connection of this kind takes."""

    name: str
    title: str
    type: str
    secret: bool
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()


class ConnectorInfo(Frozen):
    """One vendor system that the hub speaks to. `problem` says why it cannot be used, if it cannot."""

    id: str
    title: str
    title_en: str
    family: str
    capabilities: tuple[Capability, ...]
    settings: tuple[SettingInfo, ...]
    waived: dict[str, str]
    problem: str | None = None


class PreviewRow(Frozen):
    """One record of a preview: what came (as far as the connector keeps it), and what it became or why it cannot be
    used."""

    vendor_sku: str | None
    raw: str | None = None
    mapped: ListingIn | None = None
    problem: str | None = None
    pointer: str = ""


class Preview(Frozen):
    """The first rows of a pull as the catalogue would see them. `rows` has them all, problems first."""

    rows: tuple[PreviewRow, ...] = ()
    listings: tuple[ListingIn, ...]
    slots: tuple[SlotIn, ...] = ()
    bad: tuple[BadRow, ...]
    drift: tuple[str, ...]


Who = Literal["you", "the vendor", "the hub's operator"]


class Step(Frozen):
    """One step of a trial. `who` can mend it when it failed; a step that was not reached is not `ok` and says so."""

    name: Literal["settings", "address", "answer", "rows", "stock", "pushes", "orders"]
    ok: bool
    detail: str
    who: Who | None = None


class TrialResult(Frozen):
    """Whether a connection works, and if not, what to mend."""

    ok: bool
    kind: str  # ok, or the error's class: Misconfigured, Retry, Broken, …
    detail: str
    steps: tuple[Step, ...] = ()


def describe_all(root: Path = manifest.HOME) -> list[ConnectorInfo]:
    """Every system found under `root`, those that do not load included with their problem."""
    return [_describe(root / name) for name in manifest.systems(root)]


def _describe(folder: Path) -> ConnectorInfo:
    try:
        found = manifest.load(folder)
    except HubError as error:
        return ConnectorInfo(
            id=folder.name, title=folder.name, title_en="", family="other", capabilities=(), settings=(), waived={},
            problem=str(error),
        )  # fmt: skip
    problem = None
    try:
        base.adapter_class(folder)
    except HubError as error:
        problem = str(error)
    settings = tuple(
        SettingInfo(
            name=name, title=setting.title, type=setting.type, secret=setting.secret, required=setting.required,
            default=setting.default, choices=setting.choices,
        )
        for name, setting in found.config.items()
    )  # fmt: skip
    return ConnectorInfo(
        id=found.id, title=found.title, title_en=found.title_en, family=found.family, capabilities=found.capabilities,
        settings=settings, waived=dict(found.waive), problem=problem,
    )  # fmt: skip


async def preview(
    connector: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    limit: int = PREVIEW_ROWS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Preview:
    """Pull until `limit` rows were seen, good and bad together, from the real thing. Raises Rejected for wrong
    settings, and what the vendor's failure means: Misconfigured, Retry, Broken."""
    described = manifest.manifest_of(connector)
    directory.check_settings(described, config, secrets)
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    http = client(timeout_s=described.http.timeout_s, transport=transport) if transport is not None else None
    adapter = base.build(manifest.HOME / connector, config, hidden, http)
    try:
        return await first_rows(adapter, limit)
    finally:
        await adapter.aclose()


async def preview_connection(
    connection_id: int, *, limit: int = PREVIEW_ROWS, transport: httpx.AsyncBaseTransport | None = None
) -> Preview:
    """The same for a stored connection."""
    async with directory.open_connector(connection_id, transport=transport) as adapter:
        return await first_rows(adapter, limit)


async def try_connection(connection_id: int, *, transport: httpx.AsyncBaseTransport | None = None) -> TrialResult:
    """Ask the vendor for its first page and say step by step whether that works. Raises NotFound only."""
    steps: list[Step] = []
    failed: HubError | None = None
    try:
        async with directory.open_connector(connection_id, transport=transport) as adapter:
            steps.append(Step(name="settings", ok=True, detail="the settings are complete"))
            failed = await _walk(adapter, steps)
            steps += _offers(adapter)
    except HubError as error:
        if error.code == "no_connection":
            raise
        failed = error
        steps.append(Step(name="settings", ok=False, detail=str(error), who="you"))
    if failed is not None:
        return TrialResult(ok=False, kind=type(failed).__name__, detail=str(failed), steps=tuple(steps))
    wrong = next((step for step in steps if not step.ok), None)
    said = {step.name: step.detail for step in steps}
    detail = wrong.detail if wrong else said.get("rows", "the settings are complete; this connector pulls nothing")
    return TrialResult(ok=wrong is None, kind="ok", detail=detail, steps=tuple(steps))


async def _walk(adapter: Any, steps: list[Step]) -> HubError | None:
    """The steps of asking the vendor for something; returns the failure that ended them."""
    if not isinstance(adapter, PullsListings):
        return None
    try:
        seen = await first_rows(adapter, 1)
    except HubError as error:
        refused = isinstance(error, EgressRefused)
        steps.append(Step(name="address" if refused else "answer", ok=False, detail=str(error), who=_who(error)))
        return error
    steps.append(Step(name="answer", ok=True, detail="the vendor answers and lets us in"))
    if seen.listings or seen.slots:
        steps.append(Step(name="rows", ok=True, detail="the vendor answers and its rows can be read"))
    elif seen.bad:
        detail = f"the vendor answers; no row is usable: {seen.bad[0].reason}"
        steps.append(Step(name="rows", ok=False, detail=detail, who="you"))
    else:
        steps.append(Step(name="rows", ok=True, detail="the vendor has no rows"))
    if isinstance(adapter, PullsStock):
        try:
            async with contextlib.aclosing(adapter.pull_stock(None)) as pages:  # type: ignore[type-var]
                page = await anext(pages, None)
        except HubError as error:
            steps.append(Step(name="stock", ok=False, detail=str(error), who=_who(error)))
            return error
        count = len(page.unchanged) if page is not None else 0
        steps.append(Step(name="stock", ok=True, detail=f"stock is told apart: {count} figures on its first page"))
    return None


def _offers(adapter: Any) -> list[Step]:
    """What else this connection can do, as far as its settings go."""
    found = []
    if isinstance(adapter, ReceivesByManifest):
        try:
            adapter.secrets_of_push()
            found.append(Step(name="pushes", ok=True, detail="pushes are taken at this connection's push address"))
        except HubError:
            found.append(Step(name="pushes", ok=True, detail="no signing secret: pushes are off, pulls tell all"))
    if isinstance(adapter, PlacesOrders):
        found.append(Step(name="orders", ok=True, detail="orders are placed through this connection"))
    return found


def _who(error: HubError) -> Who:
    if isinstance(error, EgressRefused):
        return "the hub's operator"
    return "you" if isinstance(error, Misconfigured) else "the vendor"


async def first_rows(adapter: object, limit: int) -> Preview:
    """The first `limit` rows of a full pull."""
    if not isinstance(adapter, PullsListings):
        raise Rejected("this connector pulls no listings", code="no_capability")
    listings: list[ListingIn] = []
    slots: list[SlotIn] = []
    bad: list[BadRow] = []
    drift: set[str] = set()
    raws: list[str | None] = []
    if isinstance(adapter, base.Adapter):
        adapter.keep_raw = True
    pages = adapter.pull(None)
    try:
        async for page in pages:
            listings += page.listings
            raws += page.raws or [None] * len(page.listings)
            slots += page.slots
            bad += page.bad
            drift |= set(page.drift)
            if len(listings) + len(bad) >= limit:
                break
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()
    kept = listings[:limit]
    refused = tuple(bad[: max(0, limit - len(kept))] or bad[:limit])
    rows = [PreviewRow(vendor_sku=b.vendor_sku, raw=b.raw, problem=b.reason, pointer=b.pointer) for b in refused]
    rows += [PreviewRow(vendor_sku=x.vendor_sku, raw=raw, mapped=x) for x, raw in zip(kept, raws, strict=False)]
    return Preview(
        rows=tuple(rows[:limit]),
        listings=tuple(kept),
        slots=tuple(slots[:limit]),
        bad=refused,
        drift=tuple(sorted(drift)),
    )
