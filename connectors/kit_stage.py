"""The stage on which the contract kit plays: a sandbox with faults, reachable through the egress guard, and a connector
object made for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator

from connectors import guards
from connectors.base import Adapter
from connectors.contracts import Cursor, ListingIn, Page, StockFigure
from connectors.kit import SystemKit
from connectors.protocol import PullsListings, PullsStock
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.settings import reset_settings


class KitFailure(AssertionError):
    """A promise that was not kept."""


def must(kept: bool, otherwise: str) -> None:
    """Fail with `otherwise` unless the promise was kept."""
    if not kept:
        raise KitFailure(otherwise)


@contextlib.contextmanager
def reachable(*sandboxes: Sandbox) -> Iterator[None]:
    """Let the egress guard through to these loopback servers, and only to them."""
    before = os.environ.get("SUPPLYHUB_EGRESS_ALLOW")
    os.environ["SUPPLYHUB_EGRESS_ALLOW"] = ",".join([*(s.host_port for s in sandboxes), *((before,) if before else ())])
    reset_settings()
    try:
        yield
    finally:
        if before is None:
            del os.environ["SUPPLYHUB_EGRESS_ALLOW"]
        else:
            os.environ["SUPPLYHUB_EGRESS_ALLOW"] = before
        reset_settings()


@contextlib.asynccontextmanager
async def playing(kit: SystemKit, faults: Faults | None = None) -> AsyncIterator[tuple[Sandbox, Adapter]]:
    """A started sandbox and a connector object for it."""
    sandbox = kit.sandbox(faults or Faults())
    await sandbox.start()
    try:
        with reachable(sandbox):
            adapter = kit.adapter(sandbox)
            try:
                yield sandbox, adapter
            finally:
                await adapter.aclose()
    finally:
        await sandbox.stop()
        guards.forget()


async def pages_of(adapter: Adapter, since: Cursor | None = None) -> list[Page]:
    """All pages of a pull; fails when it does not end."""
    assert isinstance(adapter, PullsListings)
    pages: list[Page] = []
    async for page in adapter.pull(since):
        pages.append(page)
        must(len(pages) < 10_000, "the pull does not end")
    return pages


async def stock_pages_of(adapter: Adapter, since: Cursor | None = None) -> list[Page]:
    """All pages of a stock pull; fails when it does not end."""
    assert isinstance(adapter, PullsStock)
    pages: list[Page] = []
    async for page in adapter.pull_stock(since):
        pages.append(page)
        must(len(pages) < 10_000, "the stock pull does not end")
    return pages


def figures_of(pages: list[Page]) -> list[StockFigure]:
    return [figure for page in pages for figure in page.unchanged]


def listings_of(pages: list[Page]) -> list[ListingIn]:
    return [listing for page in pages for listing in page.listings]
