"""Nothing of a vendor is written here: what is spoken stands in the connection's setting `protocol` (read by
connectors.described), and the engine speaks it. A connection can do what its protocol has sections for.

Orders get one more look than in a connector that somebody wrote and tried: whoever fills in a form may misplace a
path, and an answer that holds our order somewhere else must not read as "there is none": it would be bought again."""

from __future__ import annotations

from typing import Any

from connectors.contracts import Receipt
from connectors.declarative import (
    PlacesByManifest,
    PullsByManifest,
    PullsStockByManifest,
    ReceivesByManifest,
    TracksByManifest,
)
from connectors.filling import fill_params
from connectors.paths import compile_path
from hub.kernel.errors import Broken, NotFound, Retry


class PlacesDescribed(PlacesByManifest):
    """PlacesOrders by the connection's own `place_orders`."""

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order placed with this key. None only when the vendor says so: 404, or an empty list where
        the protocol says that orders stand. Raises Retry when other orders came, Broken when there is no list."""
        spec = self.placing.find
        try:
            answer = await self.call.get(self.call.fill(spec.get, key=key), fill_params(spec.params, self.config))
        except NotFound:
            return None
        body = answer.json(self.manifest)
        if spec.records is None:
            return self._only(body, key)
        orders = compile_path(spec.records)(body)
        if orders is None and _says_nothing(body, spec.records):
            return None
        if not isinstance(orders, list):
            raise Broken(f"the answer holds no list of orders at {spec.records}", code="bad_shape")
        ours = [order for order in orders if self._repeats(order, key)]
        if orders and not ours:
            raise Retry(
                f"the vendor answered {len(orders)} orders and none with our number; whether it has ours is not known",
                code="find_inconclusive",
                after=60.0,
            )
        return self.receipt(ours[0]) if ours else None

    def _only(self, body: Any, key: str) -> Receipt | None:
        """One order is the whole answer; an empty one is none."""
        if body in (None, {}, []):
            return None
        if self.placing.find.match is not None and not self._repeats(body, key):
            raise Retry("the vendor answered another order than ours", code="find_inconclusive", after=60.0)
        return self.receipt(body)

    def _repeats(self, order: Any, key: str) -> bool:
        match = self.placing.find.match
        return match is None or str(compile_path(match)(order)) == key


def _says_nothing(body: Any, path: str) -> bool:
    """Whether a plain path ends at a null that is there: some vendors write no orders so."""
    outer, _, last = path.rpartition(".")
    held = compile_path(outer)(body) if outer else body
    return isinstance(held, dict) and last in held


class Adapter(PullsByManifest, PullsStockByManifest, PlacesDescribed, TracksByManifest, ReceivesByManifest):
    """The most that a connection can do."""
