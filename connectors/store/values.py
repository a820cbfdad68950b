"""Values on their way into and out of SQL."""

from __future__ import annotations

import json
from typing import Any


def as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def row_id(value: Any) -> int | None:
    return None if value is None else int(value)
