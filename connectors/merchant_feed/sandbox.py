"""A stand-in for a merchant who publishes a product feed, as RSS and as text."""

from __future__ import annotations

from typing import Any

from connectors.sandbox_kit import Faults
from connectors.table_feed.sandbox import FeedSandbox

TOKEN = "merchant-sandbox-token-47"  # noqa: S105 - the sandbox's own


class MerchantSandbox(FeedSandbox):
    """Thirty items at /feed.xml, /feed.tsv and /feed.csv."""

    def __init__(self, faults: Faults | None = None, items: list[dict[str, Any]] | None = None) -> None:
        super().__init__(items if items is not None else [item(n) for n in range(1, 31)], faults, token=TOKEN)


def item(n: int, **changed: Any) -> dict[str, Any]:
    """An item with all that the specification requires."""
    return {
        "id": f"M-{n}",
        "title": f"参考商品 {n}",
        "description": "示例",
        "link": f"https://merchant.example/p/{n}",
        "image_link": f"https://merchant.example/i/{n}.jpg",
        "availability": "in_stock" if n % 3 else "out_of_stock",
        "price": f"{10 + n}.50 CNY",
        "brand": "示例",
        "mpn": f"MPN-{n}",
        "condition": "new",
        **changed,
    }
