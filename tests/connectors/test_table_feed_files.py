"""Tables that lie in folders: the newest that fits and is at rest, over SFTP as below our own directory; and changes,
which never take off sale what they do not speak of."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from catalog import api as catalog
from connectors import api, base, guards, manifest
from connectors.contracts import Page
from connectors.kit_stage import reachable
from connectors.mailbox import Mailbox
from connectors.mailbox_sandbox import SftpSandbox
from connectors.sandbox_kit import Faults
from connectors.table_feed.adapter import Adapter
from connectors.table_feed.files import OVERLAP
from hub.kernel import clock
from hub.kernel.db import Database, uow
from hub.kernel.errors import Broken, HubError, Misconfigured, Retry
from hub.kernel.settings import settings

MAP = {"vendor_sku": "sku", "title": "name", "price": "price", "on_hand": "stock"}
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOUR = 3600.0


def table(*rows: tuple[str, str, int]) -> bytes:
    """Rows of (sku, price, stock)."""
    return ("sku,name,price,stock\n" + "".join(f"{s},商品 {s},{p},{n}\n" for s, p, n in rows)).encode()


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


@pytest.fixture
def feeds(request: pytest.FixtureRequest) -> Path:
    folder = settings().data_dir / "feeds" / f"t{abs(hash(request.node.name))}"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def put(folder: Path, name: str, body: bytes, *, age_s: float = HOUR, now: datetime | None = None) -> Path:
    path = folder / name
    path.write_bytes(body)
    when = (now or clock.now()).timestamp() - age_s
    os.utime(path, (when, when))
    return path


def connect(known: base.Known | None = None, secrets: dict[str, str] | None = None, **config: Any) -> Adapter:
    hidden = {name: SecretStr(value) for name, value in (secrets or {}).items()}
    wanted = {"map": MAP, "page_rows": 2, **config}
    made = base.build(manifest.HOME / "table_feed", wanted, hidden, known=known)
    assert isinstance(made, Adapter)
    return made


async def pull(since: dict[str, Any] | None = None, **how: Any) -> list[Page]:
    adapter = connect(**how)
    try:
        return [page async for page in adapter.pull(since)]
    finally:
        await adapter.aclose()


def skus(pages: list[Page]) -> list[str]:
    return [listing.vendor_sku for page in pages for listing in page.listings]


# The newest file ----------------------------------------------------------------------------------------------


async def test_the_newest_file_that_fits_is_read(feeds: Path) -> None:
    put(feeds, "stock_1.csv", table(("OLD", "1", 1)), age_s=3 * HOUR)
    put(feeds, "stock_2.csv", table(("NEW", "1", 1)), age_s=2 * HOUR)
    put(feeds, "prices_3.csv", table(("OTHER", "1", 1)), age_s=HOUR)
    put(feeds, ".stock_4.csv.part", table(("HIDDEN", "1", 1)), age_s=HOUR)
    (feeds / "stock_5.csv").mkdir()
    (feeds / "stock_6.csv").symlink_to(feeds / "prices_3.csv")
    assert skus(await pull(file=f"{feeds.name}/stock_*.csv")) == ["NEW"]
    assert skus(await pull(file=f"{feeds.name}/stock_1.csv")) == ["OLD"]


async def test_the_newest_may_be_told_by_name(feeds: Path) -> None:
    put(feeds, "stock_20261125.csv", table(("NEW", "1", 1)), age_s=3 * HOUR)
    put(feeds, "stock_20261124.csv", table(("OLD", "1", 1)), age_s=HOUR)
    assert skus(await pull(file=f"{feeds.name}/stock_*.csv", newest_by="name")) == ["NEW"]
    assert skus(await pull(file=f"{feeds.name}/stock_*.csv")) == ["OLD"]


async def test_a_file_that_is_still_being_written_waits(feeds: Path) -> None:
    put(feeds, "stock_1.csv", table(("A", "1", 1)), age_s=1)
    with pytest.raises(Retry, match="still being written") as wait:
        await pull(file=f"{feeds.name}/stock_*.csv")
    assert wait.value.after == 5
    put(feeds, "stock_0.csv", table(("B", "1", 1)), age_s=HOUR)
    assert skus(await pull(file=f"{feeds.name}/stock_*.csv")) == ["B"]
    put(feeds, "stock_2.csv", table(("C", "1", 1)), age_s=-HOUR)  # its clock is ahead: age says nothing
    assert skus(await pull(file=f"{feeds.name}/stock_*.csv")) == ["C"]


async def test_a_file_that_changes_while_it_is_read_does_not_count(
    feeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(feeds, "stock.csv", table(("A", "1", 1)))
    read = Mailbox.read

    async def slowly(self: Mailbox, *args: Any) -> Any:
        landed = await read(self, *args)
        path.write_bytes(table(("A", "1", 1), ("B", "1", 1)))
        return landed

    monkeypatch.setattr(Mailbox, "read", slowly)
    with pytest.raises(Retry, match="while it was read"):
        await pull(file=f"{feeds.name}/stock.csv")


async def test_no_file_is_misconfigured_and_says_so(feeds: Path) -> None:
    for file in (f"{feeds.name}/stock_*.csv", f"{feeds.name}/none.csv", "nowhere/x_*.csv"):
        with pytest.raises(Misconfigured, match="there is no file"):
            await pull(file=file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../secret.csv"},
        {"file": "/etc/passwd"},
        {"file": "deep/../../secret_*.csv"},
        {"file": "a*/b.csv"},
        {"file": "a\tb.csv"},
        {"file": "folder/"},
        {"host": "sftp.example"},
        {"host": "sftp.example", "file": "a.csv"},
        {"host": "sftp.example", "file": "a.csv", "user": "u", "host_key": "MD5:00"},
        {"host": "sftp.example", "url": "https://x.example/a.csv"},
        {"file": "a.csv", "newest_by": "luck"},
        {"file": "a.csv", "scope": "half"},
        {"file": "a.csv", "rest_s": -1},
    ],
)
def test_wrong_places_are_misconfigured_before_any_call(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        connect(**wrong)


# SFTP ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(faults: Faults | None = None) -> AsyncIterator[SftpSandbox]:
    server = SftpSandbox(faults)
    await server.start()
    try:
        with reachable(server):
            yield server
    finally:
        await server.stop()


async def test_a_table_is_read_from_an_sftp_server() -> None:
    async with serving() as server:
        config, secrets = server.settings()
        server.put("out/stock_1.csv", table(("OLD", "1", 1)), modified=time.time() - 2 * HOUR)
        server.put("out/stock_2.csv", table(("A", "1", 1), ("B", "2", 2), ("C", "3", 3)), modified=time.time() - HOUR)
        how = {**config, "file": "stock_*.csv", "root": "out", "secrets": secrets}
        pages = await pull(**how)
        assert skus(pages) == ["A", "B", "C"] and [page.complete for page in pages] == [False, True]
        rest = await pull(json.loads(json.dumps(pages[0].cursor)), **how)
        assert skus(rest) == ["C"] and rest[-1].complete


async def test_what_goes_wrong_at_an_sftp_server_is_said_and_nothing_is_complete() -> None:
    expected: list[tuple[Faults, type[HubError]]] = [
        (Faults(deny=True), Misconfigured), (Faults(garbage=9), Broken), (Faults(truncate=9), Broken)
    ]  # fmt: skip
    for faults, error in expected:
        async with serving(faults) as server:
            config, secrets = server.settings()
            server.put("stock.csv", table(*((f"A-{n}", "1.00", n) for n in range(99))), modified=time.time() - HOUR)
            with pytest.raises(error):
                await pull(**config, file="stock.csv", secrets=secrets)
        guards.forget()


async def test_an_sftp_server_that_drops_us_once_costs_nothing() -> None:
    async with serving(Faults(unavailable=1)) as server:
        config, secrets = server.settings()
        server.put("stock.csv", table(("A", "1", 1)), modified=time.time() - HOUR)
        assert skus(await pull(**config, file="stock.csv", secrets=secrets)) == ["A"]


# Changes ------------------------------------------------------------------------------------------------------


async def test_of_many_files_of_changes_the_newest_word_on_each_sku_counts(feeds: Path, at_noon: None) -> None:
    put(feeds, "d_1.csv", table(("A", "1", 1), ("B", "1", 1), ("C", "1", 1)), age_s=3 * HOUR, now=NOW)
    put(feeds, "d_2.csv", table(("B", "2", 2), ("B", "2.50", 25)), age_s=2 * HOUR, now=NOW)
    put(feeds, "d_3.csv", table(("C", "3", 3), ("D", "3", 3)), age_s=HOUR, now=NOW)
    put(feeds, "d_4.csv", b"", age_s=HOUR, now=NOW)
    put(feeds, "d_5.csv", table(), age_s=HOUR, now=NOW)
    pages = await pull(file=f"{feeds.name}/d_*.csv", scope="delta")
    found = {x.vendor_sku: (str(x.price), x.on_hand) for page in pages for x in page.listings}
    assert found == {"A": ("1", 1), "B": ("2.50", 25), "C": ("3", 3), "D": ("3", 3)}
    assert len(skus(pages)) == 4 and not any(page.bad for page in pages)
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
    at = {x.vendor_sku: page.captured_at for page in pages for x in page.listings}
    assert at["D"] == NOW - timedelta(hours=1) and at["A"] == NOW - timedelta(hours=3)


async def test_changes_are_resumed_after_any_page_without_turning_anything_back(feeds: Path, at_noon: None) -> None:
    put(feeds, "d_1.csv", table(*((f"S{n}", "1", n) for n in range(7))), age_s=3 * HOUR, now=NOW)
    put(feeds, "d_2.csv", table(*((f"S{n}", "2", n) for n in range(0, 7, 2))), age_s=2 * HOUR, now=NOW)
    put(feeds, "d_3.csv", table(("S0", "3", 0), ("S1", "3", 1), ("S9", "3", 9)), age_s=HOUR, now=NOW)
    how = {"file": f"{feeds.name}/d_*.csv", "scope": "delta"}
    since = {"since": (NOW - timedelta(hours=9)).isoformat()}
    whole = await pull(since, **how)
    wanted = {x.vendor_sku: str(x.price) for page in whole for x in page.listings}
    assert wanted == {"S0": "3", "S1": "3", "S2": "2", "S3": "1", "S4": "2", "S5": "1", "S6": "2", "S9": "3"}
    for done in range(1, len(whole)):
        rest = await pull(json.loads(json.dumps(whole[done - 1].cursor)), **how)
        assert skus(whole[:done]) + skus(rest) == skus(whole) and rest[-1].complete, done
    put(feeds, "d_4.csv", table(("S3", "4", 3)), age_s=60, now=NOW)
    again = await pull(whole[1].cursor, **how)  # another file came: from the top
    assert skus(again)[0] == "S3" and set(skus(again)) == set(wanted)


async def test_only_what_came_since_then_is_read_with_room_for_clocks(feeds: Path, at_noon: None) -> None:
    put(feeds, "d_1.csv", table(("A", "1", 1)), age_s=HOUR + OVERLAP.total_seconds() + 1, now=NOW)
    put(feeds, "d_2.csv", table(("B", "1", 1)), age_s=HOUR + OVERLAP.total_seconds() - 1, now=NOW)
    how = {"file": f"{feeds.name}/d_*.csv", "scope": "delta"}
    assert skus(await pull({"since": (NOW - timedelta(hours=1)).isoformat()}, **how)) == ["B"]
    [page] = await pull({"since": (NOW + timedelta(hours=5)).isoformat()}, **how)
    assert page.complete and not page.listings


async def test_a_file_of_changes_that_breaks_off_is_not_done(feeds: Path) -> None:
    put(feeds, "d_1.csv", table(("A", "1", 1))[:-3])
    put(feeds, "d_2.csv", table(("B", "1", 1)), age_s=2 * HOUR)
    with pytest.raises(Broken, match="truncated"):
        await pull(file=f"{feeds.name}/d_*.csv", scope="delta")


async def test_changes_alone_never_take_anything_off_sale(database: Database, feeds: Path) -> None:
    """However full a pull is asked for; the same table as a full one does take off what it no longer lists."""
    everything = table(*((f"A-{n}", "9.90", n) for n in range(30)))

    async def feed(name: str, **config: Any) -> int:
        async with uow() as tx:
            vendor = await api.add_vendor(tx, name)
            return await api.add_connection(
                tx, vendor_id=vendor, connector="table_feed", name=name, secrets={}, config={"map": MAP, **config}
            )

    async def on_sale(connection: int) -> int:
        async with uow() as tx:
            sql = "SELECT count(*) FROM catalog_listings WHERE connection_id = $1 AND active"
            return int(await tx.fetchval(sql, connection) or 0)

    put(feeds, "all.csv", everything)
    full, delta = (
        await feed("full", file=f"{feeds.name}/all.csv"),
        await feed("d", file=f"{feeds.name}/all.csv", scope="delta"),
    )
    for connection in (full, delta):
        outcome = await catalog.sync(connection)
        assert outcome.complete and outcome.error is None and await on_sale(connection) == 30
    put(feeds, "all.csv", table(*((f"A-{n}", "9.90", n) for n in range(25)), ("A-0", "8.80", 7)), age_s=60)
    for kind in ("full", None):
        outcome = await catalog.sync(delta, kind=kind)  # type: ignore[arg-type]
        assert outcome.complete and outcome.unlisted == 0 and await on_sale(delta) == 30, outcome
    async with uow() as tx:
        kinds = await tx.fetch("SELECT DISTINCT kind FROM sync_runs WHERE connection_id = $1", delta)
        assert [row["kind"] for row in kinds] == ["incremental"]
        price = await tx.fetchval(
            "SELECT price FROM catalog_listings WHERE connection_id = $1 AND vendor_sku = 'A-0'", delta
        )
        assert str(price).rstrip("0") == "8.8"
    outcome = await catalog.sync(full, kind="full")
    assert outcome.unlisted == 5 and await on_sale(full) == 25
