"""Answers in JSON lines: walked like any other pages, and never taken for whole when something of them is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from connectors import guards, manifest, scaffold
from connectors.calling import Caller
from connectors.paging import PageOfRecords, walk
from hub.kernel.errors import Broken, Misconfigured

TEMPLATE = yaml.safe_load((scaffold.TEMPLATE / "manifest.yaml").read_text(encoding="utf-8"))
PAGED = {"page": "page", "size_param": "limit", "size": 2, "pages_header": "X-Pages"}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


def described(paginate: dict[str, Any] | None = None, **http: Any) -> manifest.Manifest:
    pull = {**TEMPLATE["pull_listings"], "format": "jsonl", "records": "@", "paginate": paginate}
    wanted = {**TEMPLATE, "auth": None, "http": {"attempts": 1, **http}, "pull_listings": pull}
    return manifest.parse(yaml.safe_dump(wanted))


async def walked(spec: manifest.Manifest, handler: Handler, since: dict[str, Any] | None = None) -> list[PageOfRecords]:
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    config = {"base_url": "https://shop.example"}
    call = Caller(spec, config, {}, http, f"jsonl-{id(http)}")
    assert spec.pull_listings is not None
    try:
        return [page async for page in walk(call, spec, spec.pull_listings, config, since)]
    finally:
        await call.aclose()


def always(body: bytes, **headers: str) -> Handler:
    return lambda _request: httpx.Response(200, content=body, headers=headers)


async def test_json_lines_are_records_one_by_one() -> None:
    body = b'\xef\xbb\xbf{"sku": "A"}\r\n\n{"sku": "B", "price": 1.50}\n{"sku": "C"}'
    [page] = await walked(described(), always(body))
    assert [record["sku"] for record in page.records] == ["A", "B", "C"] and page.last


async def test_pages_of_json_lines_are_resumed_after_any_of_them() -> None:
    pages = [b'{"n": 1}\n{"n": 2}\n', b'{"n": 3}\n{"n": 4}\n', b'{"n": 5}\n']

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=pages[int(request.url.params["page"]) - 1], headers={"X-Pages": "3"})

    spec = described(PAGED)
    whole = await walked(spec, handler)
    assert [page.last for page in whole] == [False, False, True]
    rest = await walked(spec, handler, whole[0].cursor)
    assert [record["n"] for page in rest for record in page.records] == [3, 4, 5]


async def test_a_damaged_line_costs_its_own_row() -> None:
    [page] = await walked(described(), always(b'{"sku": "A"}\n{"sku": "B", \n{"sku": NaN}\n' + b"[" * 60 + b"\n"))
    assert page.records == [{"sku": "A"}, '{"sku": "B",', {"sku": "NaN"}, "[" * 60]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"sku": "A"}\n{"sku": "B", "pri', "cut_answer"),
        (b"<!DOCTYPE html>\n<html><body>Maintenance</body></html>\n", "not_json"),
        (b"12\n13\n", "not_json"),
        (b"{}\n" * 11, "too_many_rows"),
    ],
)
async def test_lines_that_cannot_be_the_whole_answer_are_broken(body: bytes, code: str) -> None:
    with pytest.raises(Broken) as broken:
        await walked(described(max_rows=10), always(body))
    assert broken.value.code == code


async def test_an_answer_without_lines_has_no_records() -> None:
    [page] = await walked(described(), always(b"\n"))
    assert page.records == [] and page.last


async def test_json_lines_may_be_sifted() -> None:
    spec = described()
    sifted = spec.model_copy(
        update={
            "pull_listings": spec.pull_listings and spec.pull_listings.model_copy(update={"records": "[?kind=='p']"})
        }
    )
    [page] = await walked(sifted, always(b'{"kind": "p", "n": 1}\n{"kind": "x"}\n{"kind": "p", "n": 2}\n'))
    assert [record["n"] for record in page.records] == [1, 2]


@pytest.mark.parametrize(
    "pages", [{"cursor": "next", "param": "cursor"}, {"page": "page", "total": "total"}, {"link": "next"}]
)
def test_json_lines_have_nothing_around_their_records(pages: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="nothing around"):
        described(pages)
