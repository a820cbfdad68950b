"""A product table whose columns are known beforehand: table_feed with Google's product data specification as its map.
The specification itself is in connectors.table_feed.merchant."""

from __future__ import annotations

from typing import Any

from connectors.table_feed import adapter as table_feed


class Adapter(table_feed.Adapter):
    """A connection to one merchant's product feed."""

    def described(self) -> dict[str, Any]:
        """The settings, with the one map that a merchant feed has."""
        return {**self.config, "preset": "merchant_feed"}
