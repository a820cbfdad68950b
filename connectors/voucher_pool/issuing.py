"""A vendor that issues codes itself, as far as a connection's setting `issue` describes it: one POST an order under our
number as its idempotency key, answered with the codes. That it issues once for a key is the vendor's promise; without
it, a lost answer would be paid for twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from connectors.calling import Caller, Refused
from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus
from connectors.filling import fill_body, order_document
from connectors.manifest import Manifest
from connectors.paths import compile_path
from connectors.voucher_pool.settings import Issuing
from connectors.vouchers import NewCode, moment
from hub.kernel.errors import Broken, NotFound


class AsksVendor:
    """The issuing API of one connection."""

    def __init__(
        self, call: Caller, manifest: Manifest, config: Mapping[str, Any], spec: Issuing, zone: tzinfo
    ) -> None:
        self._call = call
        self._manifest = manifest
        self._config = config
        self._spec = spec
        self._zone = zone

    @property
    def takes_back(self) -> bool:
        """Whether the vendor can be told to take codes back."""
        return self._spec.cancel is not None

    async def issue(self, po: PurchaseOrder, key: str) -> list[tuple[int, NewCode]] | Receipt:
        """The codes for the lines of the order, or the refusal. Raises Retry when the outcome is unknown."""
        spec = self._spec
        if spec.sku is None and len({line.vendor_sku for line in po.lines}) > 1:
            return Receipt(
                status=ReceiptStatus.REFUSED,
                reason="the vendor does not say which article a code is of: order one at a time",
            )
        try:
            answer = await self._call.send(
                "POST",
                self._call.fill(spec.post, key=key),
                fill_body(spec.body, order_document(po, key), self._config),
                headers={spec.idempotency_header: key},
            )
        except (Refused, NotFound) as error:
            gone = error.code in ("out_of_stock", *spec.out_of_stock)
            skus = tuple(sorted({line.vendor_sku for line in po.lines})) if gone else ()
            return Receipt(status=ReceiptStatus.REFUSED, reason=str(error), out_of_stock=gone, out_of_stock_skus=skus)
        return self._assigned(self._codes(answer.json(self._manifest)), po)

    async def knows(self, key: str) -> bool:
        """Whether the vendor says that it issued codes for this key; False too where it cannot be asked."""
        if self._spec.find is None:
            return False
        try:
            answer = await self._call.get(self._call.fill(self._spec.find.get, key=key))
        except NotFound:
            return False
        return bool(self._codes(answer.json(self._manifest)))

    async def cancel(self, key: str) -> str | None:
        """Tell the vendor to take its codes back; why it does not, if so. One that has none of ours has nothing to take
        back."""
        if self._spec.cancel is None:
            return "this vendor takes no codes back"
        try:
            await self._call.send("POST", self._call.fill(self._spec.cancel.post, key=key), {})
        except NotFound:
            return None
        except Refused as error:
            return str(error)
        return None

    def _codes(self, body: Any) -> list[Any]:
        found = compile_path(self._spec.codes)(body)
        if not isinstance(found, list):
            raise Broken(f"the vendor's answer holds no list of codes at {self._spec.codes}", code="bad_shape")
        return found

    def _assigned(self, items: list[Any], po: PurchaseOrder) -> list[tuple[int, NewCode]]:
        """The codes, each for a line of its article. Raises Broken unless there is one for every unit."""
        waiting: dict[str, Iterator[PoLine]] = {
            sku: iter([line for line in po.lines if line.vendor_sku == sku for _ in range(line.quantity)])
            for sku in sorted({line.vendor_sku for line in po.lines})
        }
        only = next(iter(waiting))
        made = []
        for place, item in enumerate(items, 1):
            sku = only if self._spec.sku is None else str(compile_path(self._spec.sku)(item))
            line = next(waiting.get(sku, iter(())), None)
            if line is None:
                raise Broken(f"the vendor issued more codes than were ordered, or of another article: {sku[:60]!r}")
            made.append((line.line_no, self._code(place, sku, item)))
        if any(next(rest, None) is not None for rest in waiting.values()):
            raise Broken(f"the vendor issued {len(items)} codes, fewer than were ordered", code="codes_missing")
        return made

    def _code(self, place: int, sku: str, item: Any) -> NewCode:
        spec = self._spec
        code = compile_path(spec.code)(item)
        pin = compile_path(spec.pin)(item) if spec.pin else None
        until = compile_path(spec.valid_until)(item) if spec.valid_until else None
        if not isinstance(code, str | int) or isinstance(code, bool) or not str(code).strip():
            raise Broken("the vendor issued something that is no code", code="no_code")
        try:
            valid_until = self._instant(until)
        except (ValueError, OverflowError, OSError):
            raise Broken("the vendor says no readable time until which a code is good", code="bad_time") from None
        return NewCode(place, sku, str(code).strip(), str(pin) if isinstance(pin, str | int) else None, valid_until)

    def _instant(self, raw: Any) -> datetime | None:
        if raw is None or raw == "":
            return None
        if isinstance(raw, int | float):
            return datetime.fromtimestamp(raw / 1000 if raw > 1e11 else raw, UTC)
        return moment(str(raw), self._zone)
