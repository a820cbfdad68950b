"""Calls to a vendor: what every failure means, patience that is never impatient, and brakes that hold."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import SecretStr

from connectors import base, guards, scaffold
from connectors.base import Adapter
from connectors.calling import OutOfStock, Refused, retry_after
from connectors.contracts import Page
from connectors.guards import FAILURES_TO_OPEN, Guard, jitter
from connectors.manifest import Incremental
from connectors.paging import since_value
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """A connector from the template with changes to its manifest, speaking to a handler."""

    def made(handler: Handler, name: str = "shop", **changes: Any) -> Any:
        folder = tmp_path / name
        if not folder.exists():
            scaffold.create(name, tmp_path)
            path = folder / "manifest.yaml"
            raw = yaml.safe_load(path.read_text())
            raw["auth"] = changes.pop("auth_", raw["auth"])
            for key, value in changes.items():
                raw[key] = (
                    {**raw[key], **value} if isinstance(value, dict) and isinstance(raw.get(key), dict) else value
                )
            raw["http"] = {"timeout_s": 5, "attempts": 3, **changes.get("http", {})}
            path.write_text(yaml.safe_dump(raw))
        http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        secrets = {"token": SecretStr("very-secret-token"), "push_secret": SecretStr("very-secret-push")}
        return base.build(folder, {"base_url": "https://shop.example/api"}, secrets, http, connection_id=1)

    return made


def answering(*answers: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return handler, seen


async def pull(adapter: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in adapter.pull(since)]  # type: ignore[attr-defined]


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"sku": f"A-{n}", "name": "x", "price": "1", "qty": 1} for n in range(first, last + 1)]


@pytest.mark.parametrize(
    ("status", "body", "error", "calls"),
    [
        (401, {}, Misconfigured, 1),
        (403, {}, Misconfigured, 1),
        (301, {}, Misconfigured, 1),
        (404, {}, NotFound, 1),
        (400, {"code": "x", "message": "no such field"}, Refused, 1),
        (409, {"code": "OOS"}, OutOfStock, 1),
        (500, {}, Retry, 3),
        (503, {}, Retry, 3),
    ],
)
async def test_each_status_means_one_thing(make: Any, status: int, body: Any, error: Any, calls: int) -> None:
    handler, seen = answering(httpx.Response(status, json=body))
    with pytest.raises(error):
        await make(handler).call.get("/v2/products")
    assert len(seen) == calls


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<html>Maintenance</html>"),
        httpx.Response(200, text="<!DOCTYPE html>", headers={"Content-Type": "application/json"}),
        httpx.Response(200, text="OK"),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b'{"data": [{"sku'),
        httpx.Response(200, content=b'\xff\xfe{"data": []}'),
        httpx.Response(200, content=b'{"data": ' + b"[" * 60 + b"]" * 60 + b"}"),
        httpx.Response(200, json={"data": "many"}),
        httpx.Response(200, content=b'{"data": [', headers={"Content-Length": "99"}),
        httpx.Response(200, content=gzip.compress(b'{"data": []}' * 99)[:40], headers={"Content-Encoding": "gzip"}),
    ],
)
async def test_an_answer_outside_the_protocol_is_broken(make: Any, answer: httpx.Response) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=answer.headers, stream=httpx.ByteStream(raw))

    raw = answer.content if "content-encoding" not in answer.headers else gzip.compress(b'{"data": []}' * 99)[:40]
    with pytest.raises(Broken):
        await pull(make(handler))


async def test_lost_connections_and_time_outs_are_retried_then_said(make: Any) -> None:
    for lost in (httpx.ConnectError("no"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")):
        guards.forget()
        handler, seen = answering(lost, lost, httpx.Response(200, json={"data": []}))
        assert len(await pull(make(handler))) == 1
        assert len(seen) == 3
    guards.forget()
    handler, seen = answering(httpx.ConnectError("no"))
    with pytest.raises(Retry):
        await pull(make(handler))
    assert len(seen) == 3


async def test_what_acts_is_sent_once(make: Any) -> None:
    for failure in (httpx.ReadTimeout("slow"), httpx.Response(503), httpx.Response(429, headers={"Retry-After": "0"})):
        guards.forget()
        handler, seen = answering(failure)
        with pytest.raises(Retry):
            await make(handler).call.send("POST", "/v2/orders", {})
        assert len(seen) == 1


async def test_no_request_leaves_before_retry_after_is_over(make: Any) -> None:
    times: list[float] = []
    throttled = asyncio.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        times.append(time.monotonic())
        throttled.set()
        if len(times) == 1:
            return httpx.Response(429, headers={"Retry-After": "0.6"})
        return httpx.Response(200, json={"data": []})

    adapter, other = make(handler), make(handler)
    first = asyncio.create_task(adapter.call.get("/v2/products"))
    await throttled.wait()
    await asyncio.sleep(0.05)
    await asyncio.gather(first, other.call.get("/v2/products"))  # another object of the same connection waits too
    assert min(times[1:]) - times[0] >= 0.59


async def test_a_long_retry_after_is_handed_to_the_caller(make: Any) -> None:
    handler, seen = answering(httpx.Response(429, headers={"Retry-After": "900"}))
    adapter = make(handler)
    for _ in range(2):
        with pytest.raises(Retry) as caught:
            await adapter.call.get("/v2/products")
        assert 890 < caught.value.after <= 900
    assert len(seen) == 1, "the second call must not be sent at all"


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("nan", None), ("soon", None), ("", None)],
)
def test_retry_after_is_read_with_care(raw: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": raw}) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) == 3600.0


def test_jitter_only_ever_adds() -> None:
    for attempt in range(1, 12):
        for least in (0.0, 0.5, 7.0, 120.0):
            waits = [jitter(attempt, least) for _ in range(200)]
            assert min(waits) >= least and max(waits) <= max(least, 10.0) * 1.25


async def test_the_breaker_opens_and_one_probe_closes_it() -> None:
    guard = Guard("v", rate=None, burst=1, concurrency=4)

    async def call(fails: bool) -> None:
        async with guard.seat(1.0):
            await asyncio.sleep(0)
            guard.failed() if fails else guard.succeeded()

    for _ in range(FAILURES_TO_OPEN):
        await call(fails=True)
    with pytest.raises(Retry) as caught:
        await call(fails=False)
    assert caught.value.code == "breaker_open" and guard.is_open
    guard._opened_until = time.monotonic() - 0.001  # the pause is over
    outcomes = await asyncio.gather(*(call(fails=True) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(o, Retry) for o in outcomes) == 3, "half open lets one probe through"
    assert guard.is_open
    guard._opened_until = time.monotonic() - 0.001
    await call(fails=False)
    await asyncio.gather(*(call(fails=False) for _ in range(4)))


async def test_a_failing_vendor_is_left_alone_and_others_are_not(make: Any) -> None:
    handler, seen = answering(httpx.ConnectError("no"))
    adapter = make(handler)
    for _ in range(4):
        with pytest.raises(Retry):
            await adapter.call.get("/v2/products")
    assert len(seen) == FAILURES_TO_OPEN
    healthy = make(answering(httpx.Response(200, json={"data": []}))[0], "other")
    assert len(await pull(healthy)) == 1


async def test_the_rate_is_kept() -> None:
    guard = Guard("v", rate=50.0, burst=2, concurrency=8)
    started = time.monotonic()

    async def call() -> None:
        async with guard.seat(10.0):
            pass

    await asyncio.gather(*(call() for _ in range(12)))
    assert time.monotonic() - started >= 10 / 50 * 0.95


async def test_the_bulkhead_holds() -> None:
    guard, inside, most = Guard("v", rate=None, burst=1, concurrency=3), 0, 0

    async def call() -> None:
        nonlocal inside, most
        async with guard.seat(1.0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(call() for _ in range(12)))
    assert most == 3


async def test_a_cancelled_call_gives_its_seat_back() -> None:
    guard = Guard("v", rate=None, burst=1, concurrency=1)

    async def hang() -> None:
        async with guard.seat(1.0):
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(1), guard.seat(1.0):
        pass


async def test_a_link_to_another_origin_is_not_followed(make: Any) -> None:
    """Our credentials go with every request: a vendor must not send them elsewhere."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "shop.example"
        return httpx.Response(200, json={"data": rows(1, 2), "next": "https://evil.example/v2/products?page=2"})

    adapter = make(handler, pull_listings={"paginate": {"link": "next"}})
    with pytest.raises(Broken, match="another origin"):
        await pull(adapter)


async def test_credentials_go_where_the_manifest_says(make: Any) -> None:
    ways: dict[str, dict[str, Any]] = {
        "bearer": {"secret": "token"},
        "header": {"name": "X-Key", "secret": "token", "prefix": "k "},
        "query": {"name": "key", "secret": "token"},
        "basic": {"user": {"secret": "token"}, "password": {"secret": "push_secret"}},
    }
    for way, spec in ways.items():
        handler, seen = answering(httpx.Response(200, json={"data": []}))
        await make(handler, f"by_{way}", auth_={way: spec}).call.get("/v2/orders?ref=1")
        request = seen[0]
        assert request.url.params["ref"] == "1"
        assert request.headers.get("X-Key") == ("k very-secret-token" if way == "header" else None)
        assert request.url.params.get("key") == ("very-secret-token" if way == "query" else None)
        scheme = request.headers.get("Authorization", "").partition(" ")[0]
        assert scheme == {"bearer": "Bearer", "basic": "Basic"}.get(way, "")


def test_increments_are_written_as_the_vendor_wants_them() -> None:
    since = datetime(2026, 11, 22, 8, 0, 30, 5, tzinfo=UTC)
    wanted = {
        "iso": "2026-11-22T07:59:30.000005+00:00",
        "iso_naive_utc": "2026-11-22T07:59:30",
        "epoch": "1795334370",
        "epoch_ms": "1795334370000",
    }
    for form, text in wanted.items():
        rule = Incremental.model_validate({"param": "since", "format": form, "overlap_s": 60})
        assert since_value(rule, since) == text


# Paging -------------------------------------------------------------------------------------------------------


def numbered(pages: list[list[dict[str, Any]]], total: int | None = None) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        found = pages[number - 1] if number <= len(pages) else []
        headers = {"X-Pages": str(len(pages)), **({"X-Total": str(total)} if total is not None else {})}
        return httpx.Response(200, json={"data": found, "page": number}, headers=headers)

    return handler


PAGED = {
    "paginate": {"page": "page", "size_param": "limit", "size": 2, "pages_header": "X-Pages", "total_header": "X-Total"}
}


async def test_numbered_pages_end_where_the_vendor_says(make: Any) -> None:
    pages = await pull(make(numbered([rows(1, 2), rows(3, 4), rows(5, 5)], 5), pull_listings=PAGED))
    assert [len(page.listings) for page in pages] == [2, 2, 1]
    assert [page.complete for page in pages] == [False, False, True]


async def test_a_repeated_page_is_broken(make: Any) -> None:
    same = {"data": rows(1, 2)}
    handler, _ = answering(httpx.Response(200, json=same, headers={"X-Pages": "9", "X-Total": "18"}))
    with pytest.raises(Broken, match="again"):
        await pull(make(handler, pull_listings=PAGED))


@pytest.mark.parametrize("missing", [1, 2, 3])
async def test_a_missing_page_never_makes_a_complete_pull(make: Any, missing: int) -> None:
    pages = [rows(1, 2), rows(3, 4), rows(5, 6)]
    pages[missing - 1] = []
    seen: list[Page] = []
    with pytest.raises(Broken, match="announced 6 rows and sent 4"):
        async for page in make(numbered(pages, 6), pull_listings=PAGED).pull(None):
            seen.append(page)
    assert sum(len(page.listings) for page in seen) == 4, "what came is used"
    assert not any(page.complete for page in seen)


async def test_a_short_page_in_the_middle_is_broken_where_no_total_is_said(make: Any) -> None:
    with pytest.raises(Broken, match="1 of 2 rows on page 1"):
        await pull(make(numbered([rows(1, 1), rows(3, 4)]), pull_listings=PAGED))


async def test_a_cursor_that_never_ends_is_broken(make: Any) -> None:
    count = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        return httpx.Response(200, json={"data": rows(count, count), "next": str(count)})

    endless = {"paginate": {"cursor": "next", "param": "cursor", "max_pages": 5}}
    with pytest.raises(Broken, match="more than 5 pages"):
        await pull(make(handler, pull_listings=endless))


async def test_too_many_rows_in_a_page_are_broken(make: Any) -> None:
    handler, _ = answering(httpx.Response(200, json={"data": rows(1, 30)}))
    with pytest.raises(Broken, match="30 rows in one page"):
        await pull(make(handler, http={"max_rows": 29}))


async def test_offsets_and_links_are_walked(make: Any) -> None:
    def by_offset(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params["from"])
        return httpx.Response(200, json={"data": rows(start + 1, min(start + 2, 5)), "total": 5})

    offset = {"paginate": {"offset": "from", "size_param": "limit", "size": 2, "total": "total"}}
    assert sum(len(p.listings) for p in await pull(make(by_offset, "offsets", pull_listings=offset))) == 5

    def by_link(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("p", 1))
        link = {"Link": f'<https://shop.example/api/v2/products?p={number + 1}>; rel="next"'} if number < 3 else {}
        return httpx.Response(200, json={"data": rows(number, number)}, headers=link)

    pages = await pull(make(by_link, "links", pull_listings={"paginate": {"link": "header"}}))
    assert [page.listings[0].vendor_sku for page in pages] == ["A-1", "A-2", "A-3"]


async def test_an_abandoned_pull_leaves_no_request_behind(make: Any) -> None:
    adapter = make(numbered([rows(1, 2), rows(3, 4), rows(5, 6)], 6), pull_listings=PAGED)
    pages = adapter.pull(None)
    await anext(pages)
    await pages.aclose()
    assert not [t for t in asyncio.all_tasks() if "Caller.get" in repr(t.get_coro())]


async def test_drift_is_told_once_a_pull(make: Any) -> None:
    pages = [[{**row, "warranty": 1} for row in rows(1, 2)], [{**row, "warranty": 1} for row in rows(3, 4)]]
    assert [page.drift for page in await pull(make(numbered(pages, 4), pull_listings=PAGED))] == [("warranty",), ()]


async def test_secrets_are_in_no_error_whatever_fails(make: Any) -> None:
    failures: list[httpx.Response | Exception] = [
        httpx.ConnectError("https://shop.example/?key=very-secret-token"),
        httpx.Response(401, json={"message": "no"}),
        httpx.Response(200, html="<html>"),
        httpx.Response(500),
    ]
    for failure in failures:
        guards.forget()
        adapter = make(answering(failure)[0])
        with pytest.raises(HubError) as caught:
            await pull(adapter)
        for text in (str(caught.value), repr(caught.value), repr(adapter), repr(adapter.__dict__)):
            assert "very-secret" not in text
