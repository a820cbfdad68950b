"""The one shape every reader yields: a numbered record of named text fields, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from connectors.tables.limits import Limits, too_large, unreadable
from connectors.tables.text import DAMAGED

_HEADER_SEARCH = 20  # rows looked at for the header: exports often start with a title and a date


@dataclass(slots=True)
class Record:
    """One row. `number` counts records from 1, header and blank rows excluded: the resume position. `reason` is
    set, and `fields` holds what could be saved, when the row cannot be trusted."""

    number: int
    fields: dict[str, str]
    reason: str = ""
    lost: bool = False  # an unknown number of records around this one cannot be seen


@dataclass(slots=True)
class Row:
    """One row of a grid before names are known."""

    cells: list[str]
    reason: str = ""
    lost: bool = False
    sparse: bool = False  # cells at the end that hold nothing are not written at all
    unended: bool = False  # the file's last line, without a line end


@dataclass(frozen=True)
class Header:
    """How a grid's columns get their names. `wanted` are the names a mapping asks for; the header is the row, among
    the first twenty, that holds most of them. With `present` False the columns are called 1, 2, 3…"""

    wanted: frozenset[str] = field(default_factory=frozenset)
    present: bool = True


def plain(name: str) -> str:
    """A column name as it is compared: no surrounding space, no case, `image link` the same as `image_link`."""
    return name.strip().lstrip("\ufeff").strip().casefold().replace("_", " ")


def named(rows: Iterable[Row], header: Header, limits: Limits) -> Iterator[Record]:
    """Records of a grid: finds the header, gives names, and marks ragged, damaged and oversized rows. Raises
    Malformed without a header, TooLarge past a cap."""
    source = (row for row in rows if row.reason or any(cell and not cell.isspace() for cell in row.cells))
    names: list[str]
    first: list[Row] = []
    if header.present:
        names, first = _find_header(source, header.wanted, limits)
    else:
        first = [row for _, row in zip(range(1), source, strict=False)]
        names = [str(position + 1) for position in range(len(first[0].cells) if first else 0)]
    width = len(names)
    if width > limits.columns:
        raise too_large(f"the table has {width} columns; at most {limits.columns} are read", "too_many_columns")
    for number, row in enumerate(chain(first, source), 1):
        if number > limits.rows:
            raise too_large(f"the table has more than {limits.rows} rows", "too_many_rows")
        cells = row.cells
        if row.sparse and len(cells) < width:
            cells = cells + [""] * (width - len(cells))
        fields = dict(zip(names, cells, strict=False))
        reason, lost = row.reason, row.lost
        if not reason and len(cells) != width:
            reason = _ragged(cells, width)
            if reason and row.unended and len(cells) < width:
                reason, lost = "the file breaks off within this row; it is truncated", True
        if not reason:
            reason = trouble(cells, limits)
        yield Record(number, fields, reason, lost)


def trouble(values: Collection[str], limits: Limits) -> str:
    """Why these values cannot be trusted as text, or an empty string."""
    whole = "".join(values)
    if len(whole) <= limits.cell_chars and (whole.isascii() or DAMAGED not in whole):
        return ""
    for value in values:
        if not value.isascii() and DAMAGED in value:
            return "the row holds bytes that are not text in the file's encoding"
        if len(value) > limits.cell_chars:
            return f"a cell is longer than {limits.cell_chars} characters"
    return ""


def _ragged(cells: list[str], width: int) -> str:
    """Trailing empty cells are a habit of spreadsheets, not a fault; missing ones are."""
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        return ""
    return f"the row has {len(cells)} cells, the header {width}"


def _find_header(rows: Iterator[Row], wanted: frozenset[str], limits: Limits) -> tuple[list[str], list[Row]]:
    """The column names and the rows already read that come after them."""
    names = {plain(name): name for name in wanted}
    seen: list[Row] = []
    best, best_hits = -1, 0
    for row in rows:
        if len(row.cells) > limits.columns and any(cell.strip() for cell in row.cells[limits.columns :]):
            raise too_large(
                f"the table has {len(row.cells)} columns; at most {limits.columns} are read", "too_many_columns"
            )
        seen.append(row)
        hits = len(names.keys() & set(map(plain, row.cells))) if names and not row.reason else 0
        if hits > best_hits:
            best, best_hits = len(seen) - 1, hits
        if (not names) or hits == len(names) or len(seen) >= _HEADER_SEARCH:
            break
    if not seen:
        raise unreadable("the file has no rows", "no_rows")
    if names and best < 0:
        first = " | ".join(cell.strip()[:40] for cell in seen[0].cells[:12])
        raise unreadable(
            f"no header row holds any of the mapped columns ({', '.join(sorted(wanted)[:8])}); "
            f"the first row reads: {first}",
            "no_header",
        )
    best = max(best, 0)
    return _unique(seen[best].cells, names), seen[best + 1 :]


def _unique(cells: list[str], wanted: dict[str, str]) -> list[str]:
    """Header cells as names, in the mapping's spelling where it asks for them: trimmed, the second `Price` called
    `Price[2]`, an empty one by its position."""
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    counts: dict[str, int] = {}
    names = []
    for position, cell in enumerate(cells, 1):
        name = cell.strip().lstrip("\ufeff").strip() or f"column {position}"
        name = wanted.get(plain(name), name)
        count = counts[name] = counts.get(name, 0) + 1
        names.append(name if count == 1 else f"{name}[{count}]")
    return names
