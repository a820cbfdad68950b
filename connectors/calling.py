"""Calls to a vendor: authentication, rate, retries of what may be repeated, and the meaning of every failure.

A GET is tried again on outages and throttling, after at least what Retry-After says; anything that acts is sent
once, since only the caller knows how to ask whether it happened. What the vendor's status and code mean is data
(the manifest's `errors`); the usual HTTP meaning fills the rest."""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import tenacity
from pydantic import SecretStr

from connectors import jsonio
from connectors.guards import Guard, guard_of, jitter
from connectors.manifest import FromConfig, Manifest, SecretRef
from connectors.paths import compile_path
from hub.kernel import clock, metrics
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Rejected, Retry
from hub.kernel.http import as_hub_error, capped_body, client

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LONGEST_RETRY_AFTER_S = 3600.0


@dataclass
class Refused(Rejected):
    """The vendor understood and said no; repeating the call will not help."""


@dataclass
class OutOfStock(Refused):
    """The vendor said no because there is none."""

    skus: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. `sent_at` is when the request left: the time of the figures in it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: datetime
    url: str

    def json(self, manifest: Manifest) -> Any:
        """The parsed body; raises Broken when it is not JSON or is nested too deep."""
        content_type = self.headers.get("content-type", "")
        head = self.body[:64].lstrip().lower()
        if "html" in content_type or head.startswith((b"<!doctype", b"<html")):
            raise Broken(f"{manifest.id} answered a web page where JSON was due", code="html_answer")
        try:
            return jsonio.loads(self.body, manifest.http.max_depth)
        except ValueError as error:
            raise Broken(f"{manifest.id} answered something that is not JSON: {error}", code="not_json") from None


class Caller:
    """Sends requests for one connection. The HTTP client is made on the first call unless one was given."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None,
        connection_id: int | str,
    ) -> None:
        self._manifest = manifest
        self._config = config
        self._secrets = secrets
        self._http = http
        self._name = f"{manifest.id}:{connection_id}"
        self._code = compile_path(manifest.error_code) if manifest.error_code else None

    @property
    def base_url(self) -> str:
        """Where the vendor lives, without a trailing slash; raises Misconfigured when it is not set."""
        spec = self._manifest.http.base_url
        url = self._config.get(spec.config) if isinstance(spec, FromConfig) else spec
        if not url:
            raise Misconfigured("the connection has no base URL", code="no_base_url")
        return str(url).rstrip("/")

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            spec = self._manifest.http
            self._http = client(timeout_s=spec.timeout_s, connections=spec.concurrency)
        return self._http

    def guard(self) -> Guard:
        """The brakes shared by everything in this process that calls this connection."""
        spec = self._manifest.http
        return guard_of(
            f"{self._name}:{self.base_url}" if self._name.endswith(":unsaved") else self._name,
            lambda: Guard(self._name, rate=spec.rate, burst=spec.burst, concurrency=spec.concurrency),
        )

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def fill(self, path: str, **arguments: str) -> str:
        """`path` with each {name} replaced by the URL-escaped argument or setting."""

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            found = arguments.get(name, self._config.get(name))
            if found is None:
                raise Misconfigured(f"the path {path} needs {name!r}", code="bad_config")
            return quote(str(found), safe="")

        return _PLACEHOLDER.sub(value, path)

    def url(self, path: str) -> str:
        """The absolute URL of `path`; an absolute one must stay on the vendor's own origin, since our credentials
        go with it."""
        base = httpx.URL(self.base_url)
        if "://" not in path:
            return f"{self.base_url}/{path.lstrip('/')}"
        given = httpx.URL(path)
        if (given.scheme, given.host, given.port) != (base.scheme, base.host, base.port):
            raise Broken(f"{self._manifest.id} pointed to another origin: {given.host}", code="foreign_link")
        return path

    async def get(
        self, path: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET, tried again while that may help. Raises Retry, Misconfigured, Refused, NotFound or Broken."""
        spec = self._manifest.http

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return jitter(state.attempt_number, error.after if isinstance(error, Retry) else 0.0)

        def again(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return isinstance(error, Retry) and error.code != "breaker_open" and error.after <= spec.longest_wait_s

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(spec.attempts), wait=wait, retry=again, reraise=True
        )
        answer: Answer = await retrying(self._once, "GET", path, params, None, headers)
        return answer

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call that acts: sent once. Raises Retry when the outcome is unknown or the vendor is unavailable."""
        return await self._once(method, path, params, body, headers)

    async def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        spec, guard = self._manifest.http, self.guard()
        url = self.url(path)
        sending = {**spec.headers, **(headers or {})}
        query = dict(params or {})
        auth = self._authenticate(sending, query)
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            sending.setdefault("Content-Type", "application/json")
        async with guard.seat(spec.longest_wait_s):
            sent_at = clock.now()
            try:
                target = httpx.URL(url).copy_merge_params(query) if query else url
                request = self._client().build_request(method, target, content=content, headers=sending)
                response = await self._client().send(request, auth=auth, stream=True)
                try:
                    data = await capped_body(response)
                finally:
                    await response.aclose()
            except HubError as error:
                self._count("refused" if isinstance(error, Misconfigured) else "broken")
                raise
            except Exception as error:
                meaning = as_hub_error(error)
                if isinstance(meaning, Retry):
                    guard.failed()
                self._count("unreachable")
                raise meaning from None  # the original may carry the URL with its secrets
            answer = Answer(response.status_code, response.headers, data, sent_at, url)
            if 200 <= answer.status < 300:
                guard.succeeded()
                self._count("ok")
                _check_complete(answer, self._manifest)
                return answer
            raise self._meaning(answer, guard)

    def _authenticate(self, headers: dict[str, str], query: dict[str, Any]) -> httpx.Auth | None:
        """Puts the credential where the manifest says; raises Misconfigured when the connection has none."""
        auth = self._manifest.auth
        if auth is None:
            return None
        if auth.basic is not None:
            user = auth.basic.user
            name = self._secret(user.secret) if isinstance(user, SecretRef) else str(self._config.get(user.config, ""))
            return httpx.BasicAuth(name, self._secret(auth.basic.password.secret))
        if auth.bearer is not None:
            headers["Authorization"] = "Bearer " + self._secret(auth.bearer.secret)
        elif auth.header is not None:
            headers[auth.header.name] = auth.header.prefix + self._secret(auth.header.secret)
        elif auth.query is not None:
            query[auth.query.name] = auth.query.prefix + self._secret(auth.query.secret)
        return None

    def _secret(self, name: str) -> str:
        value = self._secrets.get(name)
        if value is None or not value.get_secret_value():
            raise Misconfigured(f"the connection has no secret {name!r}", code="no_secret")
        return value.get_secret_value()

    def _meaning(self, answer: Answer, guard: Guard) -> HubError:
        """What an answer outside 2xx means."""
        status, after = answer.status, retry_after(answer.headers)
        code, said = self._said(answer)
        action: str | None = next(
            (
                rule.action
                for rule in self._manifest.errors
                if (rule.status is None or rule.status == status) and (rule.code is None or rule.code == code)
            ),
            None,
        )
        if action is None:
            action = _usual(status)
        who = f"{self._manifest.id} answered {status}" + (f" {code}" if code else "")
        detail = f"{who}: {said}" if said else who
        if action == "Retry":
            if after is not None or status == 429:
                guard.pause(after if after is not None else 1.0)
            if status >= 500:
                guard.failed()
            self._count("throttled" if status == 429 else "unavailable")
            return Retry(detail, code=code or "vendor_unavailable", after=after if after is not None else 1.0)
        guard.succeeded()
        if action == "Misconfigured":
            self._count("misconfigured")
            return Misconfigured(detail, code=code or "vendor_denied")
        if action == "Broken":
            self._count("broken")
            return Broken(detail, code=code or "vendor_broken")
        self._count("refused")
        if action == "OutOfStock":
            return OutOfStock(detail, code=code or "out_of_stock")
        if action == "NotFound":
            return NotFound(detail, code=code or "vendor_has_none")
        return Refused(detail, code=code or "vendor_refused")

    def _said(self, answer: Answer) -> tuple[str, str]:
        """The error's code and text, when the answer is JSON that holds them."""
        try:
            value = orjson.loads(answer.body) if len(answer.body) < 200_000 else None
        except orjson.JSONDecodeError:
            return "", ""
        if not isinstance(value, dict):
            return "", ""
        code = self._code(value) if self._code is not None else value.get("code")
        text = value.get("message") or value.get("detail") or value.get("error") or ""
        return (str(code) if isinstance(code, str | int) else "")[:80], (text if isinstance(text, str) else "")[:300]

    def _count(self, outcome: str) -> None:
        metrics.VENDOR_CALLS.labels(self._manifest.id, outcome).inc()


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


def _check_complete(answer: Answer, manifest: Manifest) -> None:
    declared = answer.headers.get("content-length", "")
    encoded = answer.headers.get("content-encoding", "identity")
    if encoded in ("", "identity") and declared.isdigit() and int(declared) != len(answer.body):
        raise Broken(f"{manifest.id} sent {len(answer.body)} of {declared} bytes", code="cut_answer")


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
