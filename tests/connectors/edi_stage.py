"""The stage of the EDI tests: a partner's mailbox that is a directory, and a clock that can be moved."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards
from connectors.contracts import BadRow, ListingIn, Page, StockFigure
from connectors.edi import office
from connectors.manifest import HOME
from hub.kernel import clock
from hub.kernel.settings import settings


class Clock:
    """Moves the hub's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: self.now)

    def forward(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


@contextlib.contextmanager
def mailbox() -> Iterator[tuple[str, Path]]:
    """A directory below the hub's feeds directory, by name and by path."""
    name = f"edi-{uuid.uuid4().hex}"
    root = settings().data_dir / "feeds" / name
    root.mkdir(parents=True)
    try:
        yield name, root
    finally:
        shutil.rmtree(root)


@contextlib.asynccontextmanager
async def opened(system: str, config: dict[str, Any], secrets: dict[str, str] | None = None) -> AsyncIterator[Any]:
    """A connector object for a connection with these settings."""
    hidden = {name: SecretStr(value) for name, value in (secrets or {}).items()}
    adapter = base.build(HOME / system, config, hidden, connection_id=f"test-{uuid.uuid4().hex}")
    try:
        yield adapter
    finally:
        await adapter.aclose()
        guards.forget()
        office.forget()


async def pulled(adapter: Any, since: datetime | None = None) -> list[Page]:
    """The pages of a pull that the hub begins: a full one, or one for what came since its newest complete run."""
    return [page async for page in adapter.pull({"since": since.isoformat()} if since else None)]


async def stocked(adapter: Any) -> dict[tuple[str, str], int | None]:
    figures: list[StockFigure] = [f async for page in adapter.pull_stock(None) for f in page.unchanged]
    assert len({(f.vendor_sku, f.location) for f in figures}) == len(figures), "a SKU and location came twice"
    return {(f.vendor_sku, f.location): f.on_hand for f in figures}


def listings(pages: list[Page]) -> dict[str, ListingIn]:
    found = [listing for page in pages for listing in page.listings]
    assert len({listing.vendor_sku for listing in found}) == len(found), "a SKU came twice"
    return {listing.vendor_sku: listing for listing in found}


def refused(pages: list[Page]) -> list[BadRow]:
    return [row for page in pages for row in page.bad]


class Stage:
    """A partner whose mailbox is a directory and who reads our letters when told to, and a connection to it."""

    def __init__(self, system: str, partner: Any, config: dict[str, Any]) -> None:
        self.system = system
        self.partner = partner
        self.root: Path = partner.root
        self.config = config

    def open(self, **config: Any) -> Any:
        return opened(self.system, {**self.config, **config})

    def outbox(self) -> list[str]:
        return self._names(self.config["outbox"])

    def waiting(self) -> list[str]:
        return self._names(self.config["inbox"])

    def _names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.root / folder).iterdir() if not path.name.startswith("."))

    def names(self, folder: str) -> list[str]:
        """The original names of the files under one of the hub's folders."""
        found = (self.root / "supplyhub" / folder).rglob("*~*")
        return sorted(path.name.rpartition("~")[2] for path in found)
