"""JSON lines: one object a line. Numbers keep the digits they were written with; nested objects get dotted names."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from connectors.tables.limits import Limits, too_large
from connectors.tables.records import Record, trouble


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One word on each key: a price that is said twice is not known."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"an object says {twice[:80]!r} twice")
    return made


_decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_object)


def records(text: io.TextIOWrapper, limits: Limits) -> Iterator[Record]:
    """Records of a JSON-lines text; a line that is no object is marked and the next one is read."""
    number = 0
    cap = limits.record_bytes
    while line := text.readline(cap):
        if len(line) >= cap:
            raise too_large(f"a line is longer than {cap} characters", "line_too_long")
        unended = not line.endswith(("\n", "\r"))
        line = line.strip().lstrip("\ufeff")
        if not line:
            continue
        number += 1
        if number > limits.rows:
            raise too_large(f"the file has more than {limits.rows} rows", "too_many_rows")
        try:
            value = _decoder.decode(line)
        except (ValueError, RecursionError) as error:
            yield Record(number, {"line": line[:2000]}, f"the line is not JSON: {error}", lost=unended)
            continue
        if not isinstance(value, dict):
            yield Record(number, {"line": line[:2000]}, "the line is not a JSON object")
            continue
        fields: dict[str, str] = {}
        try:
            reason = _flatten(value, "", fields, 0, limits)
        except RecursionError:  # a list of lists of lists
            reason = f"the object is nested more than {limits.depth} levels deep"
        yield Record(number, fields, reason or trouble(fields.values(), limits))


def _flatten(value: dict[str, Any], prefix: str, fields: dict[str, str], depth: int, limits: Limits) -> str:
    if depth > limits.depth:
        return f"the object is nested more than {limits.depth} levels deep"
    for key, item in value.items():
        name = prefix + key
        if isinstance(item, dict):
            reason = _flatten(item, f"{name}.", fields, depth + 1, limits)
            if reason:
                return reason
        elif isinstance(item, list):
            fields[name] = json.dumps(item, ensure_ascii=False) if depth < limits.depth else ""
        elif isinstance(item, bool):
            fields[name] = "true" if item else "false"
        else:
            fields[name] = "" if item is None else str(item)
        if len(fields) > limits.columns:
            return f"the object has more than {limits.columns} fields"
    return ""
