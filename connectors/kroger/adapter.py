"""What YAML cannot say of Kroger: searches that shuffle, products asked for by their ids, and prices with promotions.
README.md says what this was verified against."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

import structlog

from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest, page_of
from connectors.kroger.products import Refused, items_of
from connectors.kroger.sweep import Search, Sweep
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords
from connectors.paths import compile_path
from hub.kernel.errors import Broken, Misconfigured
from hub.kernel.turns import slices

log = structlog.get_logger()
_WAYS = frozenset({"ais", "csp", "dth", "sth"})
_NAMED = 5  # unproven searches that an error names


class Adapter(PullsByManifest):
    """One store of the Kroger family."""

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of what the searches of this connection find, each product once. With `sweep: whole` the last page has
        `complete` only when every search was seen whole, otherwise it ends as Broken; with `sweep: partial` the hub
        knows that no pull of this connection proves an absence, and the last page always has it."""
        since = dict(since or {})
        if since.get("done"):
            at = datetime.fromisoformat(since["done"])
            yield page_of(Mapped(), PageOfRecords([], since, at, True, 0))
            return
        sweep = Sweep.resumed(self.searches(), self._between("passes", 10), self._between("page_size", 50), since)
        drift: set[str] = set()
        while not sweep.over:
            got, bad, sent_at = await self._ask(sweep)
            whole = sweep.over and (not sweep.unproven or self.config["sweep"] == "partial")
            cursor: Cursor = sweep.cursor()
            if sweep.over:
                cursor = {"done": sent_at.isoformat()} if whole else {}
            records = await self.expand(PageOfRecords(got, cursor, sent_at, whole, sweep.number), bad)
            known = await self.known(self.mapper.skus(records)) if self.known is not None else None
            mapped = Mapped()
            async for part in slices(records):
                self.mapper.extend(mapped, part, known)
            fresh = mapped.drift - drift
            drift |= fresh
            yield page_of(mapped, PageOfRecords(got, cursor, sent_at, whole, sweep.number), bad, fresh)
        if not sweep.unproven:
            return
        named = ", ".join(sweep.unproven[:_NAMED]) + (", …" if len(sweep.unproven) > _NAMED else "")
        log.info("searches_not_seen_whole", connection=str(self.connection_id), searches=named)
        if self.config["sweep"] == "whole":
            raise Broken(
                f"kroger: not every search could be seen whole: {named}; search for less at a time (brands, narrower "
                "terms), name product_ids, or set sweep to partial",
                code="rows_missing",
            )

    async def _ask(self, sweep: Sweep) -> tuple[list[Any], list[BadRow], datetime]:
        """(Products that no page showed before, what did not come as asked, when it was asked.)"""
        answer = await self.call.get(self.spec.path, sweep.request())
        body = answer.json(self.manifest)
        records, total = compile_path(self.spec.records)(body), compile_path("meta.pagination.total")(body)
        if records is None and total == 0:
            records = []
        if not isinstance(records, list):
            raise Broken("kroger: data is not a list of products", code="bad_shape")
        if len(records) > self.manifest.http.max_rows:
            raise Broken(f"kroger sent {len(records)} rows in one page", code="too_many_rows")
        new, strange, missing = sweep.took(records, total)
        bad = [bad_row(one, "Kroger has no such product, or not in this store", "", one) for one in missing]
        bad += [bad_row(one, "nobody asked for this product", "/productId") for one in strange]
        return new, bad, answer.sent_at

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """One record for each item that has a price."""
        ready: list[Any] = []
        computes = self.config["gtin"] == "computed"
        for product in got.records:
            if not isinstance(product, dict):
                ready.append(product)  # the mapping refuses it
                continue
            for one in items_of(product, site=str(self.config["site"]), computes_gtin=computes):
                if isinstance(one, Refused):
                    bad.append(bad_row(product, one.reason, one.pointer, one.sku))
                else:
                    ready.append(one)
        return ready

    def searches(self) -> list[Search]:
        """What this connection asks for; raises Misconfigured for what Kroger would not take."""
        place = str(self.config["location_id"])
        if not re.fullmatch(r"[A-Za-z0-9]{8}", place):
            raise _wrong("location_id", "a Kroger locationId has exactly 8 letters and digits")
        ids = tuple(re.findall(r"[^\s,，;]+", self.config["product_ids"]))
        terms, brands = _parts(self.config["terms"]), _parts(self.config["brands"])
        ways = _parts(self.config["fulfillment"])
        if not ids and not terms:
            raise _wrong("terms", "Kroger has no list of all products: give terms to search for, or product_ids")
        strange = [one for one in ids if not re.fullmatch(r"\d{13}", one)]
        if strange:
            raise _wrong("product_ids", f"{strange[0][:40]!r} is no productId: those have 13 digits")
        short = [term for term in terms if len(term) < 3 or len(term.split()) > 8]
        if short:
            raise _wrong("terms", f"{short[0][:80]!r}: a term has at least 3 letters and at most 8 words")
        if set(ways) - _WAYS:
            raise _wrong("fulfillment", f"must be of {', '.join(sorted(_WAYS))}")
        common = {"filter.locationId": place}
        narrow = {**common, **({"filter.fulfillment": ",".join(ways)} if ways else {})}
        made = [Search("product_ids", common, ids)] if ids else []
        for term in terms:
            for brand in brands or [""]:
                params = {**narrow, "filter.term": term, **({"filter.brand": brand} if brand else {})}
                made.append(Search(f"{term!r} of {brand}" if brand else repr(term), params))
        return made

    def _between(self, name: str, most: int) -> int:
        value = int(self.config[name])
        if not 1 <= value <= most:
            raise _wrong(name, f"must be between 1 and {most}")
        return value


def _parts(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in re.split(r"[,，\n]", text) if part.strip()))


def _wrong(name: str, why: str) -> Misconfigured:
    return Misconfigured(f"the setting {name!r}: {why}", code="bad_config")
