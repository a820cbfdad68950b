"""Lists that shrink while they are walked: an offset alone would hide a row for each one that was deleted before it."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from hub.kernel.errors import Broken
from tests.connectors.test_core_paging import PAGED, described, no_brakes_left_over, walked

__all__ = ["no_brakes_left_over"]
BY_PAGE = {**{k: v for k, v in PAGED.items() if k != "pages_header"}, "size": 10, "total_header": "X-Total"}
BY_OFFSET = {"offset": "skip", "size_param": "limit", "size": 10, "total_header": "X-Total"}


class Shop:
    """Forty-five rows in order; `gone` says which rows are deleted before which request."""

    def __init__(self, gone: dict[int, list[int]]) -> None:
        self.rows = list(range(45))
        self.gone = gone
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        for row in self.gone.get(len(self.asked), ()):
            self.rows.remove(row)
        asked = request.url.params
        size = int(asked["limit"])
        start = int(asked["skip"]) if "skip" in asked else (int(asked["page"]) - 1) * size
        self.asked.append(asked.get("skip") or asked["page"])
        body = b"\n".join(orjson.dumps({"n": n}) for n in self.rows[start : start + size])
        return httpx.Response(200, content=body + b"\n", headers={"X-Total": str(len(self.rows))})


def numbers(pages: list[Any]) -> set[int]:
    return {record["n"] for page in pages for record in page.records}


@pytest.mark.parametrize("paginate", [BY_PAGE, BY_OFFSET])
@pytest.mark.parametrize(
    "gone",
    [{2: [3]}, {1: [0], 2: [1], 3: [2]}, {2: list(range(15))}, {4: [39]}, {4: [0, 44]}, {3: [40, 41, 42, 43, 44]}],
)  # fmt: skip
async def test_no_row_is_missed_when_others_go(paginate: dict[str, Any], gone: dict[int, list[int]]) -> None:
    shop = Shop(gone)
    pages = await walked(described(paginate), shop)
    assert pages[-1].last and numbers(pages) >= set(shop.rows), shop.asked


@pytest.mark.parametrize("paginate", [BY_PAGE, BY_OFFSET])
async def test_a_walk_that_was_interrupted_notices_what_went_meanwhile(paginate: dict[str, Any]) -> None:
    shop = Shop({2: [3, 4]})
    first = (await walked(described(paginate), Shop({})))[1]
    shop.asked = ["1", "2"]
    rest = await walked(described(paginate), shop, first.cursor)
    assert rest[-1].last and numbers(rest) >= set(range(20, 45))


async def test_a_list_that_only_grows_is_not_read_twice() -> None:
    shop = Shop({})
    await walked(described(BY_PAGE), shop)
    assert shop.asked == ["1", "2", "3", "4", "5"]


async def test_a_list_that_never_stands_still_is_broken() -> None:
    count = iter(range(100_000, 0, -1))

    def handler(_request: httpx.Request) -> httpx.Response:
        total = next(count)
        rows = b"".join(b'{"n": %d}\n' % (total + n) for n in range(10))
        return httpx.Response(200, content=rows, headers={"X-Total": str(total)})

    with pytest.raises(Broken) as caught:
        await walked(described({**BY_PAGE, "max_pages": 1000}, max_rows=100), handler)
    assert caught.value.code == "rows_moving"
