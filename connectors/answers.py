"""What a vendor answered, and what it means: status, code and envelope become an Answer or an error named by what the
caller does with it. The manifest's `errors` come first; the usual HTTP meaning fills the rest."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors import jsonio
from connectors.manifest import Manifest
from connectors.paths import compile_path
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Rejected, Retry

_LONGEST_RETRY_AFTER_S = 3600.0
_UNREAD: Any = object()


@dataclass
class Refused(Rejected):
    """The vendor understood and said no; repeating the call will not help."""


@dataclass
class OutOfStock(Refused):
    """The vendor said no because there is none."""

    skus: tuple[str, ...] = field(default_factory=tuple)


@dataclass(slots=True)
class Answer:
    """A successful answer. `sent_at` is when the request left: the time of the figures in it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: datetime
    url: str
    _value: Any = field(default=_UNREAD, repr=False)

    def json(self, manifest: Manifest) -> Any:
        """The parsed body; raises Broken when it is not JSON or is nested too deep."""
        if self._value is _UNREAD:
            self._value = self._parsed(manifest)
        return self._value

    def _parsed(self, manifest: Manifest) -> Any:
        content_type = self.headers.get("content-type", "")
        head = self.body[:64].lstrip().lower()
        if "html" in content_type or head.startswith((b"<!doctype", b"<html")):
            raise Broken(f"{manifest.id} answered a web page where JSON was due", code="html_answer")
        try:
            return jsonio.loads(self.body, manifest.http.max_depth)
        except ValueError as error:
            raise Broken(f"{manifest.id} answered something that is not JSON: {error}", code="not_json") from None


def in_order(answer: Answer, manifest: Manifest) -> bool:
    """Whether a 2xx answer went well by its own word; one without an envelope in the manifest always did. Raises Broken
    for a body that holds no envelope."""
    envelope = manifest.envelope
    if envelope is None:
        return True
    ok = compile_path(envelope.ok)(answer.json(manifest))
    return any(type(ok) is type(good) and ok == good for good in envelope.is_)


def check_complete(answer: Answer, manifest: Manifest) -> None:
    """Raises Broken for a body that is shorter than it said."""
    declared = answer.headers.get("content-length", "")
    encoded = answer.headers.get("content-encoding", "identity")
    if encoded in ("", "identity") and declared.isdigit() and int(declared) != len(answer.body):
        raise Broken(f"{manifest.id} sent {len(answer.body)} of {declared} bytes", code="cut_answer")


def meaning(answer: Answer, manifest: Manifest) -> HubError:
    """The error that an answer outside 2xx, or one whose envelope says no, stands for."""
    status, after = answer.status, retry_after(answer.headers)
    code, said = _said(answer, manifest)
    action: str | None = next(
        (
            rule.action
            for rule in manifest.errors
            if (rule.status is None or rule.status == status) and (rule.code is None or rule.code == code)
        ),
        None,
    )
    if action is None:
        action = _usual(status)
    who = f"{manifest.id} answered {status}" + (f" {code}" if code else "")
    detail = f"{who}: {said}" if said else who
    if action == "Retry":
        return Retry(detail, code=code or "vendor_unavailable", after=after if after is not None else 1.0)
    if action == "Misconfigured":
        return Misconfigured(detail, code=code or "vendor_denied")
    if action == "Broken":
        return Broken(detail, code=code or "vendor_broken")
    if action == "OutOfStock":
        return OutOfStock(detail, code=code or "out_of_stock")
    if action == "NotFound":
        return NotFound(detail, code=code or "vendor_has_none")
    return Refused(detail, code=code or "vendor_refused")


def _said(answer: Answer, manifest: Manifest) -> tuple[str, str]:
    """The error's code and text, when the answer is JSON that holds them."""
    try:
        value = orjson.loads(answer.body) if len(answer.body) < 200_000 else None
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(value, dict):
        return "", ""
    code = compile_path(manifest.error_code)(value) if manifest.error_code else value.get("code")
    if manifest.error_text:
        text = compile_path(manifest.error_text)(value)
    else:
        text = value.get("message") or value.get("detail") or value.get("error") or ""
    return (str(code) if isinstance(code, str | int) else "")[:80], (text if isinstance(text, str) else "")[:300]


def _usual(status: int) -> str:
    if status in (401, 403):
        return "Misconfigured"
    if status == 404:
        return "NotFound"
    if status in (408, 425, 429) or status >= 500:
        return "Retry"
    if 300 <= status < 400:
        return "Misconfigured"  # redirects are refused: the base URL is not the vendor's real address
    return "Refused"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor asks to wait (delta or HTTP date), at most an hour; None when it does not say."""
    raw = headers.get("retry-after", "").strip()
    if not raw:
        return None
    try:
        seconds = float(raw)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(raw)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)
