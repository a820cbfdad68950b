"""Reading a certificate without trusting it: every number is a number, every list as long as it must be, every
reference inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from fulfillment.allocation.checker.findings import Malformed
from fulfillment.allocation.tables import Ints

MOST = 2**62


def part(document: Any, key: str, kind: type, where: str) -> Any:
    """The value of a key, which must be there and of this kind."""
    if not isinstance(document, dict) or key not in document:
        raise Malformed(f"{where} has no {key!r}")
    value = document[key]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{where}: {key!r} is not {kind.__name__}")
    return value


def numbers(
    document: Any, key: str, where: str, *, count: int | None = None, least: int = 0, below: int = MOST
) -> Ints:
    """A list of whole numbers within bounds."""
    values = document.get(key) if isinstance(document, dict) else None
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list):
        raise Malformed(f"{where} has no list {key!r}")
    if count is not None and len(values) != count:
        raise Malformed(f"{where}: {key!r} has {len(values)} numbers, not {count}")
    if any(type(value) is not int for value in values):
        raise Malformed(f"{where}: {key!r} holds something that is not a whole number")
    if values and not (least <= min(values) and max(values) < below):
        raise Malformed(f"{where}: {key!r} holds a number outside {least} to {below - 1}")
    return np.array(values, dtype=np.int64)


def sums(at: Ints, amount: Ints, count: int) -> tuple[Ints, Ints]:
    """Sums of non-negative amounts by `at`, exact however large: in units of 2^32, and the rest."""
    high, low = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.add.at(high, at, amount >> 32)
    np.add.at(low, at, amount & 0xFFFFFFFF)
    return high + (low >> 32), low & 0xFFFFFFFF
