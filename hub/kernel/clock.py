"""The one clock. Pure rules never import it: they take the time as an argument. Demos and drills may move it
with `SUPPLYHUB_CLOCK_FILE`, a file that holds an offset in seconds which all processes of one run share."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from hub.kernel.settings import settings

_offset = timedelta(0)
_read_at = -1.0


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC) + _clock_offset()


def _clock_offset() -> timedelta:
    global _offset, _read_at
    path = settings().clock_file
    if path is None:
        return timedelta(0)
    tick = time.monotonic()
    if tick - _read_at > 0.05:
        _read_at = tick
        try:
            _offset = timedelta(seconds=float(path.read_text().strip() or 0))
        except FileNotFoundError:
            _offset = timedelta(0)
    return _offset
