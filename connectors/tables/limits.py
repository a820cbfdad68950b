"""Caps on what a file may cost, and the refusals they lead to. A cap is checked while bytes arrive, never after,
so that a small bomb stays small: no reader holds more than one record, one chunk and one string table."""

from __future__ import annotations

from dataclasses import dataclass

from hub.kernel.errors import Malformed, TooLarge

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one file may cost. Sizes are decompressed bytes unless said otherwise."""

    total_bytes: int = 256 * MIB
    rows: int = 2_000_000
    columns: int = 1_000
    cell_chars: int = 32_767  # what a spreadsheet cell can hold
    record_bytes: int = MIB  # one line or one XML element
    string_table_bytes: int = 32 * MIB  # an XLSX's shared strings must sit in memory
    ratio: int = 200  # decompressed : compressed, looked at once `ratio_after` bytes have come out
    ratio_after: int = 8 * MIB
    depth: int = 40  # nesting of XML elements
    parts: int = 2_000  # entries of an XLSX archive


DEFAULT = Limits()


def too_large(what: str, code: str) -> TooLarge:
    """The refusal of a file that costs more than a cap allows."""
    return TooLarge(what, code=code)


def unreadable(what: str, code: str) -> Malformed:
    """The refusal of a file that is not what it claims to be."""
    return Malformed(what, code=code)
