"""Trying a connection before it matters: what connectors there are, whether one answers, and what its first rows
look like once mapped. Nothing here is stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from connectors import base, directory, manifest
from connectors.contracts import BadRow, Capability, ListingIn, SlotIn
from connectors.protocol import PullsListings
from hub.kernel.errors import HubError, Rejected
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


class Preview(Frozen):
    """The first rows of a pull as the catalogue would see them."""

    listings: tuple[ListingIn, ...]
    slots: tuple[SlotIn, ...] = ()
    bad: tuple[BadRow, ...]
    drift: tuple[str, ...]


class TrialResult(Frozen):
    """Whether a connection works, and if not, what to mend."""

    ok: bool
    kind: str  # ok, or the error's class: Misconfigured, Retry, Broken, …
    detail: str


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
    """Ask the vendor for its first page and say in words whether that works. Raises NotFound only."""
    try:
        async with directory.open_connector(connection_id, transport=transport) as adapter:
            if not isinstance(adapter, PullsListings):
                return TrialResult(ok=True, kind="ok", detail="the settings are complete; this connector pulls nothing")
            seen = await first_rows(adapter, 1)
    except HubError as error:
        if error.code == "no_connection":
            raise
        return TrialResult(ok=False, kind=type(error).__name__, detail=str(error))
    if not seen.listings and not seen.slots:
        detail = f"the vendor answers; no row is usable: {seen.bad[0].reason}" if seen.bad else "the vendor has no rows"
        return TrialResult(ok=not seen.bad, kind="ok", detail=detail)
    return TrialResult(ok=True, kind="ok", detail="the vendor answers and its rows can be read")


async def first_rows(adapter: object, limit: int) -> Preview:
    """The first `limit` rows of a full pull."""
    if not isinstance(adapter, PullsListings):
        raise Rejected("this connector pulls no listings", code="no_capability")
    listings: list[ListingIn] = []
    slots: list[SlotIn] = []
    bad: list[BadRow] = []
    drift: set[str] = set()
    pages = adapter.pull(None)
    try:
        async for page in pages:
            listings += page.listings
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
    return Preview(
        listings=tuple(kept), slots=tuple(slots[:limit]), bad=tuple(bad[: max(0, limit - len(kept))] or bad[:limit]),
        drift=tuple(sorted(drift)),
    )  # fmt: skip
