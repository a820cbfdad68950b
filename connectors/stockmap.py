"""From a vendor's record to a stock figure alone, for systems that are asked for stock by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from connectors.contracts import BadRow, StockFigure
from connectors.mapping import bad_row, compile_reading
from connectors.parts import StockMap
from hub.kernel.types import Instant, Level

_LEVELS = {level.value: level for level in Level}
_instant: TypeAdapter[datetime] = TypeAdapter(Instant)
MOST = 100_000_000


class StockMapper:
    """The compiled map of stock figures of one connection."""

    def __init__(self, spec: StockMap, config: Mapping[str, Any]) -> None:
        self._getters = {name: compile_reading(name, reading, config) for name, reading in spec.fields.items()}

    def figures(self, records: Sequence[Any]) -> tuple[list[StockFigure], list[BadRow]]:
        """The figures of a page, and the records that give none, each with its reason."""
        good: list[StockFigure] = []
        bad: list[BadRow] = []
        for record in records:
            try:
                good.append(self.figure(record))
            except (ValidationError, ValueError, TypeError, ArithmeticError) as error:
                said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                bad.append(bad_row(record, f"no usable stock figure: {said}"[:300]))
        return good, bad

    def figure(self, record: Any) -> StockFigure:
        """One record's figure; raises ValueError when it says none that can be used."""
        values = {name: get(record) for name, get in self._getters.items()}
        sku, on_hand, level = values.get("vendor_sku"), values.get("on_hand"), values.get("level")
        if not isinstance(sku, str) or not 0 < len(sku.strip()) <= 128:
            raise ValueError("it has no SKU")
        if on_hand is not None:
            if type(on_hand) is not int or on_hand > MOST:
                raise ValueError(f"{str(on_hand)[:40]!r} is no count")
            level = None
        elif level not in _LEVELS:
            raise ValueError("it gives neither a count nor a level")
        version = values.get("version")
        if version is not None and type(version) is not int:
            raise ValueError(f"{str(version)[:40]!r} is no version")
        when = values.get("reported_at")
        return StockFigure(
            sku.strip(),
            on_hand,
            _LEVELS[level] if level is not None else None,
            str(values.get("location") or "")[:120],
            version,
            _instant.validate_python(when) if when is not None else None,
        )
