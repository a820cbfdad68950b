"""Structured logs. Whatever looks like a secret or personal data is struck out before a line is written."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from hub.kernel.settings import Settings

_SECRET_NAME = re.compile(
    r"(?i)(secret|token|password|passwd|authorization|api_?key|signature|cookie|phone|address|employee)"
)
_SECRET_TEXT = re.compile(
    r"(?i)(shk_(?:mall|vendor|staff)_[A-Za-z0-9_-]{6})[A-Za-z0-9_-]+"
    r"|((?:consumer_secret|consumer_key|access_token|token|secret|password)=)[^&\s\"']+"
    r"|((?:Basic|Bearer)\s+)[A-Za-z0-9+/=._-]{8,}"
    r"|(://[^/:@\s]+:)[^@/\s]+(?=@)"
)


def _strike(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(lambda m: next(g for g in m.groups() if g is not None) + "…", value)
    if isinstance(value, dict) and depth < 4:
        return {k: "…" if _SECRET_NAME.search(str(k)) else _strike(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple) and depth < 4:
        return [_strike(item, depth + 1) for item in value]
    return value


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: strike out secrets by field name and by shape."""
    for key in list(event):
        event[key] = "…" if _SECRET_NAME.search(key) else _strike(event[key])
    return event


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return str(_strike(super().format(record)))


def configure(settings: Settings) -> None:
    """Send all logs of this process to stderr in the chosen format."""
    level = getattr(logging, settings.log_level.upper(), logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
