"""Shopify's bulk operations, points and credentials: a pull that lost lines is never complete, results lie elsewhere
and get no credential, points are waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from connectors.contracts import Page
from connectors.shopify import bulk
from connectors.shopify.sandbox import ShopifySandbox
from hub.kernel.errors import Broken, HubError, Misconfigured, Retry
from tests.connectors.test_shopify import MUG, SHIRT, figures, no_waiting, pull, shop, skus, stock

__all__ = ["no_waiting"]  # a fixture that every test here uses

# Bulk operations ----------------------------------------------------------------------------------------------


async def test_a_result_on_another_origin_is_fetched_without_our_credentials() -> None:
    storage = ShopifySandbox([])
    async with shop([MUG], None, storage) as (sandbox, connector):
        storage.operations, sandbox.storage = sandbox.operations, storage.base_url
        assert skus(await pull(connector())) == ["MUG"]
        assert len(storage.seen) == 1 and not storage.fetched_with_credentials
        assert all(seen.method == "POST" for seen in sandbox.seen)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("http://169.254.169.254/latest", "bad_url"),
        ("http://storage.googleapis.com", "bad_url"),
        ("ftp://storage.googleapis.com", "bad_url"),
        ("https://127.0.0.1:1", "egress_address"),
        ("https://[::1]:1", "egress_address"),
        ("https://2130706433", "egress_address"),
    ],
)
async def test_a_result_at_a_private_or_plain_address_is_not_fetched(where: str, code: str) -> None:
    async with shop() as (sandbox, connector):
        sandbox.storage = where
        with pytest.raises((Broken, Misconfigured)) as caught:
            await pull(connector())
    assert caught.value.code == code and "s3cr3t" not in repr(caught.value), "the signed address shows"


async def test_while_an_operation_works_the_run_is_known_to_live_and_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "HEARTBEAT_S", 0.0)
    async with shop() as (sandbox, connector):
        sandbox.bulk_polls = 3
        pages = connector().pull(None)
        first = await anext(pages)
        beat = await anext(pages)
        await pages.aclose()
        assert (first.listings, beat.listings, first.cursor) == ((), (), beat.cursor)
        assert skus(await pull(connector(), json.loads(json.dumps(beat.cursor)))) == ["MUG"]
        assert sandbox.asked.count("HubRunBulk") == 1


async def test_an_operation_that_never_ends_gives_the_worker_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "LONGEST_WAIT_S", 0.0)
    async with shop() as (sandbox, connector):
        sandbox.bulk_polls = 10**6
        with pytest.raises(Retry) as caught:
            await pull(connector())
    assert caught.value.code == "bulk_slow"


async def test_an_operation_whose_start_went_unanswered_is_joined() -> None:
    async with shop() as (sandbox, connector):
        sandbox.bulk_polls = 5
        pages = connector().pull(None)
        started = await anext(pages)
        await pages.aclose()
        again = await pull(connector())  # as if that first answer had never come
    assert again[0].cursor is not None and started.cursor is not None
    assert again[0].cursor["op"] == started.cursor["op"] and skus(again) == ["MUG"]


async def test_somebody_elses_operation_is_waited_for() -> None:
    async with shop() as (sandbox, connector):
        sandbox.busy = True
        with pytest.raises(Retry) as caught:
            await pull(connector())
    assert (caught.value.code, caught.value.after) == ("bulk_busy", 30.0)


@pytest.mark.parametrize(
    ("ends", "code", "kind", "used"),
    [
        ("FAILED", "INTERNAL_SERVER_ERROR", Retry, ["MUG"]),
        ("FAILED", "TIMEOUT", Retry, ["MUG"]),
        ("FAILED", "ACCESS_DENIED", Misconfigured, []),
        ("CANCELED", None, Retry, []),
        ("PAUSED", None, Retry, []),
    ],
)
async def test_a_failed_operation_proves_nothing_and_the_pull_starts_anew(
    ends: str, code: str | None, kind: type[HubError], used: list[str]
) -> None:
    seen: list[Page] = []
    async with shop() as (sandbox, connector):
        sandbox.bulk_ends, sandbox.bulk_error = ends, code
        with pytest.raises(kind):
            async for page in connector().pull(None):
                seen.append(page)
        assert skus(seen) == used and not any(page.complete for page in seen)
        sandbox.bulk_ends, sandbox.bulk_error = "COMPLETED", None
        again = await pull(connector(), seen[-1].cursor)
        assert skus(again) == ["MUG"] and again[-1].complete
        assert sandbox.asked.count("HubRunBulk") == 2


async def test_an_operation_that_expired_is_run_again() -> None:
    async with shop(page_rows=1) as (sandbox, connector):
        sandbox.add(SHIRT)
        whole = await pull(connector())
        middle = next(page.cursor for page in whole if page.listings)
        sandbox.operations.clear()
        again = await pull(connector(), middle)
        assert skus(again) == skus(whole) and again[-1].complete
        sandbox.bulk_gone = 1
        assert skus(await pull(connector())) == skus(whole)
        sandbox.bulk_gone = 9
        with pytest.raises(Retry, match="expire"):
            await pull(connector())


async def test_a_result_that_lost_lines_is_never_complete() -> None:
    products = [{"title": f"P{n}", "sku": f"P{n}", "price": "1"} for n in range(30)]
    for pulling in (pull, stock):
        async with shop(products) as (sandbox, connector):
            sandbox.lost_lines = 3
            with pytest.raises(Broken) as caught:
                await pulling(connector())
        assert caught.value.code == "rows_missing"


@pytest.mark.parametrize(
    "file",
    [b'{"id": "gid', b"<html>Maintenance</html>\n", b"[" * 200 + b"]" * 200 + b"\n", b'"' + b"x" * 2**20 + b'"\n'],
)
async def test_a_result_that_is_no_json_lines_is_broken(file: bytes) -> None:
    async with shop() as (sandbox, connector):
        pages = connector().pull(None)
        first = await anext(pages)
        assert first.cursor is not None
        sandbox.operations[first.cursor["op"]]["file"] = file
        with pytest.raises(Broken):
            await anext(pages)


async def test_a_line_that_is_no_variant_costs_one_row() -> None:
    async with shop() as (sandbox, connector):
        pages = connector().pull(None)
        first = await anext(pages)
        assert first.cursor is not None
        operation = sandbox.operations[first.cursor["op"]]
        operation["file"] += (
            b'{"id": "gid://shopify/ProductVariant/9"}\n7\n{"id": "x", "product": {"status": "ACTIVE"}}\n'
        )
        rest = [page async for page in pages]
    assert skus(rest) == ["MUG"] and rest[-1].complete
    assert [bad.reason for page in rest for bad in page.bad] == ["it is no variant with its product"] * 3


async def test_a_shop_with_nothing_in_it_is_complete() -> None:
    async with shop([]) as (_, connector):
        pages = await pull(connector())
        counted = await stock(connector())
    assert pages[-1].complete and counted[-1].complete and not skus(pages) and not figures(counted)


# Points and credentials ---------------------------------------------------------------------------------------


async def test_a_query_without_points_waits_until_they_are_back() -> None:
    async with shop() as (sandbox, connector):
        sandbox.points, sandbox.restore_rate = 0.0, 200.0
        sandbox.points_at = asyncio.get_running_loop().time()
        assert skus(await pull(connector())) == ["MUG"]
        statuses = [seen.status for seen in sandbox.seen]
    assert set(statuses) == {200}


async def test_points_that_come_back_too_slowly_are_the_callers_wait() -> None:
    async with shop() as (sandbox, connector):
        sandbox.points, sandbox.restore_rate = 0.0, 0.1
        sandbox.points_at = asyncio.get_running_loop().time()
        with pytest.raises(Retry) as caught:
            await pull(connector())
        assert len(sandbox.seen) == 1
    assert caught.value.code == "THROTTLED" and caught.value.after > 60


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"errors": [{"message": "x", "extensions": {"code": "SHOP_INACTIVE"}}]}, Misconfigured),
        ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, Retry),
        ({"errors": [{"message": "Field 'x' doesn't exist", "extensions": {"code": "undefinedField"}}]}, Broken),
        ({"errors": "x"}, Broken),
        ({"errors": [None]}, Broken),
        ({"data": None}, Broken),
        ({"data": {"shop": {}}}, Misconfigured),
        ({}, Broken),
        ([], Broken),
    ],
)
async def test_an_error_with_status_200_is_named_by_what_to_do(answer: Any, kind: type[HubError]) -> None:
    async with shop() as (sandbox, connector):
        sandbox.answer = lambda *_: web.json_response(answer)  # type: ignore[method-assign]
        with pytest.raises(kind):
            await pull(connector())


@pytest.mark.parametrize(
    ("status", "kind"), [(402, Misconfigured), (404, Misconfigured), (423, Misconfigured), (400, Broken)]
)
async def test_a_shop_that_is_closed_is_misconfigured(status: int, kind: type[HubError]) -> None:
    async with shop() as (sandbox, connector):
        sandbox.answer = lambda *_: web.json_response({"errors": "no"}, status=status)  # type: ignore[method-assign]
        with pytest.raises(kind):
            await pull(connector())


async def test_an_app_of_the_dev_dashboard_fetches_its_token_once() -> None:
    secrets = {"client_secret": "shpss_sandbox_9876543210"}
    async with shop(client_id="c1", secrets=secrets) as (sandbox, connector):
        await pull(connector())
        await stock(connector())
        fetched = [seen for seen in sandbox.seen if "access_token" in seen.path]
        assert len(fetched) == 1
    async with shop(client_id="c1", secrets={"client_secret": "wrong-wrong"}) as (_, connector):
        with pytest.raises(Misconfigured):
            await pull(connector())


async def test_without_any_credential_nothing_is_asked() -> None:
    async with shop(secrets={}) as (sandbox, connector):
        with pytest.raises(Misconfigured, match="access_token"):
            await pull(connector())
        assert not sandbox.seen
