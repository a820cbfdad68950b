"""Long lists as the text of a PostgreSQL array, for parameters written `$1::text::bigint[]`. The driver inspects every
element of a list that it is given, which costs a bulk path more than the statement itself; one text goes through whole
and the server reads it in passing. Join with `unnest` of it: `= ANY` of an array that the planner cannot see is
compared element by element."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def integers(values: Iterable[int | None]) -> str:
    """An array of whole numbers; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def texts(values: Collection[str]) -> str:
    """An array of texts, whatever they hold. (What no text column can hold, a NUL, the server refuses.)"""
    if not values:
        return "{}"
    inside = '","'.join(values)
    if "\\" in inside or inside.count('"') > 2 * (len(values) - 1):
        inside = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return '{"' + inside + '"}'
