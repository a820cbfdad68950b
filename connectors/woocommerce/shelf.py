"""The products of the sandbox shop: what is on the shelf, what happens to it, and the pages that list it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import orjson
from aiohttp import web

from connectors.sandbox_kit import Delivery, Faults
from connectors.woocommerce.shapes import product_json, variation_json
from connectors.woocommerce.webhooks import SendsWebhooks
from hub.kernel import clock


class Shelf(SendsWebhooks):
    """Products with their variations, serialised once and kept until they change."""

    def __init__(
        self, products: Iterable[Mapping[str, Any]], faults: Faults | None, secret: str, to: str | None
    ) -> None:
        super().__init__(faults, secret, to)
        self.quiet = False  # a sale then moves no date_modified and sends no webhook (woocommerce#40060)
        self._ids = itertools.count(101)
        self._products: dict[int, dict[str, Any]] = {}
        self._order_of_ids: list[int] = []
        self._on_sale: list[int] | None = None  # ids of what is published, in order; None: look again
        self._by_sku: dict[str, int] = {}
        self._variations: dict[int, list[int]] = {}
        self._bytes: dict[int, bytes] = {}
        self._pages: dict[tuple[int, int], bytes] = {}
        self._where: dict[int, int] = {}
        for product in products:
            self.add(product)

    # The shop's side ------------------------------------------------------------------------------------------

    def add(self, product: Mapping[str, Any]) -> int:
        """Put a product on sale; returns its id."""
        made = product_json(next(self._ids), product, self._today())
        self._keep(made)
        self._where[made["id"]] = len(self._order_of_ids)
        self._order_of_ids.append(made["id"])
        self._pages.clear()
        self._on_sale = None
        children = []
        for variation in product.get("variations") or ():
            child = variation_json(next(self._ids), made, variation, self._today())
            self._keep(child)
            children.append(child["id"])
        if children:
            made["variations"] = self._variations[made["id"]] = children
        return int(made["id"])

    def stock_of(self, sku: str) -> int | None:
        """The shop's own count now."""
        quantity = self._products[self._by_sku[sku]]["stock_quantity"]
        return int(quantity) if quantity is not None else None

    def set_stock(self, sku: str, quantity: int) -> None:
        """Somebody counts the shelf; a webhook goes out."""
        self._count(self._products[self._by_sku[sku]], quantity)

    def sell(self, sku: str, quantity: int) -> None:
        """A shopper buys in the shop itself."""
        product = self._products[self._by_sku[sku]]
        self._count(product, product["stock_quantity"] - quantity, quiet=self.quiet)

    def set_price(self, sku: str, price: str) -> None:
        """The shop changes a price; a webhook goes out."""
        product = self._products[self._by_sku[sku]]
        product.update(price=price, regular_price=price)
        self._touched(product)

    def plan_sale(self, sku: str, price: str, start: str | None, end: str | None) -> None:
        """The shop plans a sale (times as `date_on_sale_from_gmt` has them); the price stays until its job runs."""
        product = self._products[self._by_sku[sku]]
        product.update(sale_price=price, date_on_sale_from_gmt=start, date_on_sale_to_gmt=end)
        self._touched(product)

    def run_sales(self) -> None:
        """The shop's scheduled job: planned sales begin, past ones end, and each changed product is saved."""
        now = self._today()
        for product in self._products.values():
            start, end = product["date_on_sale_from_gmt"], product["date_on_sale_to_gmt"]
            if end is not None and end <= now:
                product.update(
                    price=product["regular_price"], sale_price="", on_sale=False,
                    date_on_sale_from_gmt=None, date_on_sale_to_gmt=None,
                )  # fmt: skip
            elif start is not None and start <= now:
                product.update(price=product["sale_price"], on_sale=True, date_on_sale_from_gmt=None)
            else:
                continue
            self._touched(product)

    def remove(self, sku: str) -> None:
        """The shop takes a product off sale (it becomes a draft)."""
        product = self._products[self._by_sku[sku]]
        product["status"] = "draft"
        self._pages.clear()
        self._on_sale = None
        self._touched(product)

    def prime(self, per_page: int) -> None:
        """Serialise all pages now, so that a measurement sees the network and not this stand-in."""
        published = self._published()
        for page in range(1, (len(published) + per_page - 1) // per_page + 1):
            self._page_bytes(published, page, per_page)

    def product_delivery(self, sku: str) -> Delivery:
        """A signed product.updated delivery of this product as it is now."""
        return self.delivery("product.updated", self._full(self._products[self._by_sku[sku]]))

    # Inside ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _today() -> str:
        return clock.now().astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()

    def _keep(self, product: dict[str, Any]) -> None:
        self._products[product["id"]] = product
        if product["sku"]:
            self._by_sku[product["sku"]] = product["id"]

    def _published(self) -> list[int]:
        if self._on_sale is None:
            self._on_sale = [i for i in self._order_of_ids if self._products[i]["status"] == "publish"]
        return self._on_sale

    def _published_variations(self) -> list[int]:
        every = (i for parent in self._order_of_ids for i in self._variations.get(parent, ()))
        return sorted(i for i in every if self._products[i]["status"] == "publish")

    def _full(self, product: Mapping[str, Any]) -> dict[str, Any]:
        """The product as the API shows it; what it recommends changes with every answer."""
        related = [
            self._order_of_ids[(product["id"] * 7 + n * len(self.seen) + n) % len(self._order_of_ids)] for n in range(3)
        ]
        return {**product, "related_ids": related}

    def _product_bytes(self, product_id: int, fields: Sequence[str] = ()) -> bytes:
        if fields:
            product = self._products[product_id]
            return orjson.dumps({name: product[name] for name in fields if name in product})
        made = self._bytes.get(product_id)
        if made is None:
            made = self._bytes[product_id] = orjson.dumps(self._full(self._products[product_id]))
        return made

    def _page_bytes(self, ids: Sequence[int], page: int, per_page: int) -> bytes:
        made = self._pages.get((page, per_page))
        if made is None:
            part = ids[(page - 1) * per_page : page * per_page]
            made = b"[" + b",".join(orjson.dumps(self._full(self._products[i])) for i in part) + b"]"
            self._pages[page, per_page] = made
        return made

    def _listed(self, request: web.Request, ids: Sequence[int], page: int, per_page: int) -> web.Response:
        """A page of these products, with the fields that were asked for."""
        fields = [name for name in request.query.get("_fields", "").split(",") if name]
        part = ids[(page - 1) * per_page : page * per_page]
        body = b"[" + b",".join(self._product_bytes(i, fields) for i in part) + b"]"
        return paged(body, len(ids), per_page)

    def _count(self, product: dict[str, Any], quantity: int, *, quiet: bool = False) -> None:
        product["stock_quantity"] = quantity
        product["stock_status"] = (
            "instock" if quantity > 0 else "onbackorder" if product["backorders_allowed"] else "outofstock"
        )
        self._touched(product, quiet=quiet)

    def _touched(self, product: dict[str, Any], *, quiet: bool = False) -> None:
        if not quiet:
            product["date_modified"] = product["date_modified_gmt"] = self._today()
            if product["parent_id"]:  # saving a variation saves its parent
                parent = self._products[product["parent_id"]]
                parent["date_modified"] = parent["date_modified_gmt"] = product["date_modified"]
        self._bytes.pop(product["id"], None)
        place = self._where.get(product["id"], self._where.get(product["parent_id"]))
        if place is not None:
            for page, per_page in [key for key in self._pages if key[0] == place // key[1] + 1]:
                del self._pages[page, per_page]
        if not quiet:
            self.push("product.updated", self._full(product))


def paged(body: bytes, total: int, per_page: int, link: str = "") -> web.Response:
    """A list with WooCommerce's headers about how long it is."""
    headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(-(-total // per_page))}
    if link:
        headers["Link"] = link
    return web.Response(body=body, content_type="application/json", charset="UTF-8", headers=headers)
