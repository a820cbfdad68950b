"""The catalogue: pools -> their SKUs -> state, price and details of each. Details come one SKU a call, everything
else a hundred. The pull goes through the SKUs of all pools in the order of their numbers, and its cursor is the last of
them: a SKU that is in two pools comes once, and a pull that goes on a day later misses nothing however the pools' pages
have moved. JD's documents warn that a page asked for out of turn may be empty, so pages are walked from the first."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.calling import Refused
from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest, page_of, stock_page
from connectors.jd_vop.vop import SpeaksVop, amount, digits, member, number, parts, rows, together
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords
from connectors.stockmap import StockMapper
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry
from hub.kernel.turns import slices
from hub.kernel.types import gtin14

_MOST_PAGES = 10_000  # of one pool
_MOST_A_CALL = 100
_CATEGORIES_KEPT = 20_000
_BETWEEN = re.compile(r"[\s,;，；、/|]+")

# (address of the API, category id) -> its name, or None where JD names none.
_categories: OrderedDict[tuple[str, str], str | None] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Price:
    """What JD asks of us and of everybody. None: it has no such price."""

    contract: Decimal | None
    public: Decimal | None
    row: Mapping[str, Any]


@dataclass(slots=True)
class Looked:
    """What JD says of some SKUs: records that can be mapped, what is off the shelf, what cannot be used and why."""

    sent_at: datetime
    records: list[dict[str, Any]] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


class PullsPools(SpeaksVop, PullsByManifest):
    """PullsListings and PullsStock of one contract."""

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of listings that are on the shelf. `since` None: all; a saved page's cursor: from after that page."""
        drift: set[str] = set()
        if since and since.get("done"):
            yield _nothing_more(since)
            return
        skus, odd = await self.sku_ids()
        chunks, done = _from(skus, since, self._batch("batch"))
        for place, chunk in enumerate(chunks, 1):
            looked = await self.look(chunk)
            cursor: Cursor = {"after": int(chunk[-1]) if chunk else done}
            last = place == len(chunks)
            if last:
                cursor["done"] = looked.sent_at.isoformat()
            got = PageOfRecords(looked.records, cursor, looked.sent_at, last, place)
            known = await self.known(self.mapper.skus(looked.records)) if self.known is not None else None
            mapped = Mapped()
            async for part in slices(looked.records):
                self.mapper.extend(mapped, part, known)
            fresh = mapped.drift - drift
            drift |= fresh
            yield page_of(mapped, got, [*(odd if place == 1 else ()), *looked.bad], fresh)

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of levels for the connection's area. JD's remainNum is capped, unknown or the number asked for, by how
        many were asked for: it is no count and is not read."""
        if since and since.get("done"):
            yield _nothing_more(since)
            return
        spec = self.manifest.pull_stock
        assert spec is not None
        mapper = StockMapper(spec.map, self.config)
        skus, _ = await self.sku_ids()
        chunks, done = _from(skus, since, self._batch("stock_batch"))
        for place, chunk in enumerate(chunks, 1):
            records, sent_at, bad = await self._levels(chunk)
            figures, refused = mapper.figures(records)
            last = place == len(chunks)
            cursor: Cursor = {"after": int(chunk[-1]) if chunk else done}
            if last:
                cursor["done"] = sent_at.isoformat()
            yield stock_page(figures, cursor, sent_at, complete=last, bad=[*bad, *refused])

    def _batch(self, setting: str) -> int:
        size: int = self.config[setting]
        if not 1 <= size <= _MOST_A_CALL:
            raise Misconfigured(f"the setting {setting!r} must be between 1 and {_MOST_A_CALL}", code="bad_config")
        return size

    # The pools ------------------------------------------------------------------------------------------------

    async def sku_ids(self) -> tuple[list[str], list[BadRow]]:
        """The SKUs of all pools, each once, by number; and entries that are none. An account without pools, or pools
        without a single SKU, are errors: a pull must not look complete because JD had a bad moment."""
        found: set[int] = set()
        odd: list[BadRow] = []
        for pool in await self._pools():
            await self._walk_pool(pool, found, odd)
        if not found:
            raise Broken("jd_vop: the pools hold no SKU at all", code="no_skus")
        return [str(sku) for sku in sorted(found)], odd

    async def _pools(self) -> list[str]:
        chosen = [name.strip() for name in str(self.config["pools"] or "").split(",") if name.strip()]
        if chosen:
            return chosen
        found = [str(member(row, "page_num") or "") for row in rows(await self.read("api/product/getPageNum"), "pools")]
        if not any(found):
            raise Misconfigured("JD lists no product pool for this account; ask JD to open one", code="no_pools")
        return sorted({name for name in found if name})

    async def _walk_pool(self, pool: str, found: set[int], odd: list[BadRow]) -> None:
        page, pages, before = 1, 1, None
        while page <= pages:
            try:
                said = await self.read("api/product/getSkuByPage", {"pageNum": pool, "pageNo": page})
            except NotFound as error:
                if self.config["pools"]:
                    raise Misconfigured(f"JD has no product pool {pool}: {error}", code="no_pool") from None
                raise Retry(f"pool {pool} went away while it was read: {error}", code="pool_gone", after=30.0) from None
            result = said.result
            skus = member(result, "skuIds") if isinstance(result, dict) else None
            pages = number(member(result, "pageCount")) or 0 if isinstance(result, dict) else 0
            if skus is None and pages == 0:
                skus = []  # an empty pool
            if not isinstance(skus, list) or pages > _MOST_PAGES:
                raise Broken(f"jd_vop: page {page} of pool {pool} is no list of SKUs", code="bad_shape")
            if skus and skus == before:
                raise Broken(f"jd_vop sent page {page - 1} of pool {pool} again for {page}", code="page_repeated")
            for sku in skus:
                if digits(sku) is None:
                    odd.append(bad_row(sku, f"pool {pool} holds something that is no SKU"))
                else:
                    found.add(int(digits(sku) or 0))
            before, page = skus, page + 1

    # SKUs -----------------------------------------------------------------------------------------------------

    async def look(self, skus: Sequence[str]) -> Looked:
        """What JD says now of these SKUs (at most a hundred)."""
        looked = Looked(clock.now())
        if not skus:
            return looked
        states, prices = await self.states(skus), await self.prices(skus)
        looked.off = [sku for sku in skus if states.get(sku) == 0]
        shown: list[str] = []
        for sku in skus:
            if states.get(sku) == 0:
                continue
            price = prices.get(sku)
            if price is None or price.contract is None:
                looked.unpriced.append(sku)
                raw = dict(price.row) if price is not None else {"skuId": sku}
                # Without its SKU: what has no contract price is not sold to us, and a full pull takes it off sale.
                looked.bad.append(bad_row(raw, f"JD has no contract price for {sku} (-1 or nothing)", "/price"))
            else:
                shown.append(sku)
        details = await together(self._detail(sku) for sku in shown)
        refusals = [found for found in details if isinstance(found, str)]
        if len(refusals) == len(shown) > 1:
            raise Broken(f"jd_vop refused the details of all {len(shown)} SKUs: {refusals[0]}", code="no_details")
        for sku, detail in zip(shown, details, strict=True):
            if isinstance(detail, str):
                looked.bad.append(bad_row({"sku": sku}, f"JD gives no details: {detail}"[:300], "", sku))
            elif sku not in states and number(member(detail, "state")) == 0:
                looked.off.append(sku)
            else:
                looked.records.append(await self.record(sku, detail, prices[sku]))
        return looked

    async def states(self, skus: Sequence[str]) -> dict[str, int]:
        """SKU -> 1 on the shelf, 0 off it."""
        found: dict[str, int] = {}
        for some in parts(skus, _MOST_A_CALL):
            said = rows(await self.read("api/product/skuState", {"sku": ",".join(some)}), "skuState")
            for row in said:
                sku, state = digits(member(row, "sku")), number(member(row, "state"))
                if sku is not None and state in (0, 1):
                    found[sku] = state
        return found

    async def prices(self, skus: Sequence[str]) -> dict[str, Price]:
        """SKU -> its prices, for those that JD answers."""
        found: dict[str, Price] = {}
        for some in parts(skus, _MOST_A_CALL):
            form = {"sku": ",".join(some), "queryExts": self.manifest.options["price_exts"]}
            for row in rows(await self.read("api/price/getSellPrice", form), "getSellPrice"):
                sku = digits(member(row, "skuId"))
                if sku is not None:
                    found[sku] = Price(amount(member(row, "price")), amount(member(row, "jdPrice")), row)
        return found

    async def _detail(self, sku: str) -> dict[str, Any] | str:
        """The details of one SKU (JD takes one a call), or why there are none."""
        form = {"sku": sku, "queryExts": self.manifest.options["detail_exts"]}
        try:
            detail = (await self.read("api/product/getDetail", form)).result
        except (Refused, NotFound) as error:
            return str(error)
        if not isinstance(detail, dict):
            return "the answer is empty"
        told = digits(member(detail, "sku"))
        return detail if told == sku else f"the answer is about {told}"

    async def record(self, sku: str, detail: Mapping[str, Any], price: Price) -> dict[str, Any]:
        """One flat record: JD's details with what the map reads and paths cannot find (their names start with `_`)."""
        made = {**detail, "sku": sku}
        made["_price"], made["_jd_price"] = str(price.contract), str(price.public) if price.public else None
        made["_family"] = digits(member(detail, "spuId"))
        image = detail.get("imagePath") or detail.get("image")
        made["_image"] = self._image(image) if isinstance(image, str) and image else None
        made["_url"] = f"https://item.jd.com/{sku}.html"
        made["_gtin"] = gtin_of(detail)
        classes = [part for part in str(detail.get("category") or "").split(";") if part.strip().isdecimal()]
        made["_category"] = await self._category(classes[-1].strip()) if classes else None
        said = {
            "售卖单位": detail.get("saleUnit"),
            "重量": detail.get("weight"),
            "产地": detail.get("productArea"),
            "包装清单": detail.get("wareQD"),
            "UPC": detail.get("upc"),
            "ISBN": detail.get("ISBN"),
            "京东分类": detail.get("category"),
            "最低起购量": member(detail, "LowestBuy"),
            "京东自营": member(detail, "isSelf"),
            "京东配送": member(detail, "isJDLogistics"),
            "税率": member(price.row, "tax"),
        }
        made["_attributes"] = {
            name: value
            for name, value in said.items()
            if isinstance(value, str | int | float) and value not in ("", None)
        }
        return made

    def _image(self, path: str) -> str:
        if path.startswith("//"):
            return f"https:{path}"
        return path if "://" in path else f"{str(self.config['image_base']).rstrip('/')}/{path.lstrip('/')}"

    async def _category(self, category: str) -> str | None:
        """The name of a category, asked for once."""
        key = (self.call.base_url, category)
        if key not in _categories:
            try:
                result = (await self.read("api/product/getCategory", {"cid": category})).result
            except (Refused, NotFound):
                result = None
            name = result.get("name") if isinstance(result, dict) else None
            _categories[key] = name if isinstance(name, str) and name else None
            while len(_categories) > _CATEGORIES_KEPT:
                _categories.popitem(last=False)
        return _categories.get(key)

    # Stock ----------------------------------------------------------------------------------------------------

    async def _levels(self, skus: Sequence[str]) -> tuple[list[dict[str, str]], datetime, list[BadRow]]:
        if not skus:
            return [], clock.now(), []
        states = await self.states(skus)
        sent_at, stock = await self.stock(dict.fromkeys(skus, 1), str(self.config["area"]))
        records: list[dict[str, str]] = []
        bad: list[BadRow] = []
        for sku in skus:
            if states.get(sku) == 0:
                records.append({"sku": sku, "state": "off"})
            elif sku in stock:
                records.append({"sku": sku, "state": stock[sku]})
            else:
                bad.append(bad_row({"skuId": sku}, "JD gave no stock state for it", "", sku))
        return records, sent_at, bad

    async def stock(self, wanted: Mapping[str, int], area: str) -> tuple[datetime, dict[str, str]]:
        """SKU -> its stock state in `area` (33, 34 …) for as many as are wanted, and when JD was asked."""
        asked = ",".join(f'{{"skuId":{sku},"num":{num}}}' for sku, num in wanted.items())
        said = await self.read("api/stock/getNewStockById", {"skuNums": f"[{asked}]", "area": area})
        found: dict[str, str] = {}
        for row in rows(said, "getNewStockById"):
            sku, state = digits(member(row, "skuId")), number(member(row, "stockStateId"))
            if sku is not None and state is not None:
                found[sku] = str(state)
        return said.sent_at, found


def gtin_of(detail: Mapping[str, Any]) -> str | None:
    """The first code in `upc` (which may hold several) that is a GTIN; a book's ISBN otherwise. Codes of JD's own
    making fail the check digit and are left to the attributes."""
    for name in ("upc", "ISBN"):
        said = detail.get(name)
        whole = str(said) if isinstance(said, str | int) else ""
        for code in (*_BETWEEN.split(whole), whole):
            try:
                found = gtin14(code)
            except ValueError:
                continue
            if found is not None:
                return found
    return None


def _from(skus: Sequence[str], since: Cursor | None, size: int) -> tuple[list[Sequence[str]], int]:
    """The pieces that are still to be done (one empty piece when none is) and the last SKU done."""
    done = int((since or {}).get("after") or 0)
    left = [sku for sku in skus if int(sku) > done]
    return parts(left, size) or [[]], done


def _nothing_more(since: Cursor) -> Page:
    return Page(cursor=dict(since), captured_at=datetime.fromisoformat(since["done"]), complete=True)
