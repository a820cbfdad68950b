"""One Shopify shop: listings and stock by bulk operations, orders by `orderCreate`, pushes by webhook. What each module
does: documents (the queries), graphql (cost and errors), bulk (background queries), records (what products mean),
pulling, goods and orders (ordering), tracking. README.md says what this was verified against: no live shop yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.contracts import PushContent
from connectors.manifest import PushTopic
from connectors.mapping import bad_row
from connectors.push import ReceivesByManifest
from connectors.shopify.orders import PlacesAtShop
from connectors.shopify.records import NO_CHOICE, Skus, on_sale, record_of
from connectors.shopify.tracking import TracksShop


class Adapter(PlacesAtShop, TracksShop, ReceivesByManifest):
    """One Shopify shop."""

    def parse_push(self, topic: str, body: bytes) -> PushContent:
        """What a webhook means. Orders and fulfilments look different from each other, and products have their
        variants inside."""
        spec = self.pushing.topics.get(topic)
        if spec is None or spec.means == "ignored":
            return PushContent()
        document = self._document(body)
        if topic.startswith("fulfillments/"):
            return self.fulfillment_pushed(document)
        return self.order_pushed(document) if spec.means == "orders" else self.content(spec, [document])

    def content(self, spec: PushTopic, records: Sequence[Any]) -> PushContent:
        """The variants of pushed products that are on sale. What went off sale is left to the next pull, which knows
        whether it was a copy; stock is told by location, which these payloads do not have."""
        listings, bad = [], []
        for product in records:
            if not isinstance(product, dict) or not isinstance(product.get("variants"), list):
                bad.append(bad_row(product, "it is no product with its variants"))
                continue
            told = _product(product)
            if not on_sale(told, published_only=self.published_only) or product.get(
                "has_variants_that_requires_components"
            ):
                continue
            variants = [_variant(v, product) for v in product["variants"] if isinstance(v, dict)]
            skus = Skus()
            for variant in variants:
                skus.add(variant)
            unshipped = self.config["unshipped"] == "leave_out"
            mapped = self.mapper.page(
                [
                    record_of(variant, told, skus.name(variant), self.config, active=True)
                    for variant in variants
                    if not (unshipped and variant["inventoryItem"]["requiresShipping"] is False)
                ]
            )
            listings += mapped.listings
            bad += mapped.bad
        return PushContent(listings=tuple(listings), bad=tuple(bad))


def _product(pushed: dict[str, Any]) -> dict[str, Any]:
    """A pushed product in the words of the API."""
    image, category = pushed.get("image"), pushed.get("category")
    return {
        "id": pushed.get("admin_graphql_api_id") or pushed.get("id"),
        "title": pushed.get("title"),
        "vendor": pushed.get("vendor"),
        "productType": pushed.get("product_type"),
        "category": category if isinstance(category, dict) else None,
        "status": pushed.get("status"),
        "publishedAt": pushed.get("published_at"),
        "description": pushed.get("body_html"),
        "featuredMedia": {"preview": {"image": {"url": image.get("src")}}} if isinstance(image, dict) else None,
    }


def _variant(pushed: dict[str, Any], product: dict[str, Any]) -> dict[str, Any]:
    """A pushed variant in the words of the API. Its global id comes first: large numbers were seen rounded."""
    options = product.get("options")
    named = [o for o in options if isinstance(o, dict)] if isinstance(options, list) else []
    chosen = [(o.get("name"), pushed.get(f"option{n}")) for n, o in enumerate(named[:3], 1)]
    return {
        "id": pushed.get("admin_graphql_api_id") or pushed.get("id"),
        "title": pushed.get("title") or NO_CHOICE,
        "sku": pushed.get("sku"),
        "barcode": pushed.get("barcode"),
        "price": pushed.get("price"),
        "selectedOptions": [{"name": name, "value": value} for name, value in chosen],
        "inventoryItem": {"requiresShipping": pushed.get("requires_shipping")},
    }
