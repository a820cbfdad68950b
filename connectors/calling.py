"""Calls to a vendor: credentials, rate and quota, retries of what may be repeated, and the meaning of every failure.

What only reads (`get`, and `ask` for systems that read by POST) is tried again on outages and throttling, after at
least what Retry-After says; anything that acts (`send`) goes out once, since only the caller knows how to ask whether
it happened."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import tenacity
from pydantic import SecretStr

from connectors.answers import Answer, OutOfStock, Refused, check_complete, in_order, meaning, retry_after
from connectors.credentials import Credentials, Draft
from connectors.guards import Guard, guard_of, jitter
from connectors.manifest import FromConfig, Manifest
from hub.kernel import clock, metrics
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry
from hub.kernel.http import as_hub_error, capped_body, client

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
        self._http = http
        self._name = f"{manifest.id}:{connection_id}"
        self.credentials = Credentials(manifest, config, secrets)

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
        budget = (spec.budget.calls, float(spec.budget.per_s)) if spec.budget else None
        return guard_of(
            f"{self._name}:{self.base_url}" if self._name.endswith(":unsaved") else self._name,
            lambda: Guard(self._name, rate=spec.rate, burst=spec.burst, concurrency=spec.concurrency, budget=budget),
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
        return await self._patiently("GET", path, params, None, None, headers)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call that only reads although it is no GET (GraphQL, forms): tried again as a GET is."""
        return await self._patiently(method, path, params, body, form, headers)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call that acts: sent once. Raises Retry when the outcome is unknown or the vendor is unavailable."""
        return await self._once(method, path, params, body, form, headers)

    async def _patiently(self, *request: Any) -> Answer:
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
        answer: Answer = await retrying(self._once, *request)
        return answer

    async def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Any,
        form: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        """One call; a token that the vendor no longer takes is replaced once."""
        guard = self.guard()
        for fresh in (False, True):
            draft = self._draft(method, path, params, body, form, headers)
            await self.credentials.put_on(draft, guard.purse, self._out, self._token_url)
            try:
                return await self._out(draft)
            except Misconfigured as error:
                by_vendor = "vendor_status" in error.facts
                if fresh or not by_vendor or draft.token is None or not guard.purse.drop(draft.token):
                    raise
        raise AssertionError("unreachable")

    def _draft(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Any,
        form: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Draft:
        draft = Draft(method, self.url(path), {**self._manifest.http.headers, **(headers or {})}, dict(params or {}))
        if form is not None:
            draft.form = dict(form)
        elif body is not None:
            draft.body = body if isinstance(body, bytes) else orjson.dumps(body)
            draft.headers.setdefault("Content-Type", "application/json")
        return draft

    def _token_url(self, given: str) -> str:
        """Where tokens come from: the manifest's own word, which may name another host than the vendor's."""
        filled = self.fill(given)
        return filled if "://" in filled else f"{self.base_url}/{filled.lstrip('/')}"

    async def _out(self, draft: Draft) -> Answer:
        """Send one finished request behind the connection's brakes."""
        spec, guard = self._manifest.http, self.guard()
        async with guard.seat(spec.longest_wait_s):
            sent_at, started = clock.now(), time.monotonic()
            try:
                content = draft.content()
                target = httpx.URL(draft.url).copy_merge_params(draft.query) if draft.query else draft.url
                request = self._client().build_request(
                    draft.method, target, content=content or None, headers=draft.headers
                )
                response = await self._client().send(request, auth=draft.auth, stream=True)
                try:
                    data = await capped_body(response, until=started + (spec.deadline_s or 3 * spec.timeout_s))
                finally:
                    await response.aclose()
            except (Misconfigured, Broken) as error:
                self._count("refused" if isinstance(error, Misconfigured) else "broken")
                raise
            except Exception as error:
                unreached = as_hub_error(error)
                if isinstance(unreached, Retry):
                    guard.failed(time.monotonic() - started)
                self._count("unreachable")
                raise unreached from None  # the original may carry the URL with its secrets
            answer = Answer(response.status_code, response.headers, data, sent_at, draft.url)
            self._note_quota(answer, guard)
            if 200 <= answer.status < 300:
                check_complete(answer, self._manifest)
                if in_order(answer, self._manifest):
                    guard.succeeded()
                    self._count("ok")
                    return answer
            raise self._failed(answer, guard, time.monotonic() - started)

    def _failed(self, answer: Answer, guard: Guard, took_s: float) -> HubError:
        """What an answer that did not go well means, noted at the brakes and in the metrics."""
        error = meaning(answer, self._manifest)
        error.facts["vendor_status"] = answer.status
        if isinstance(error, Retry):
            after = retry_after(answer.headers)
            if after is not None or answer.status == 429:
                guard.pause(after if after is not None else 1.0)
            if answer.status >= 500:
                guard.failed(took_s)
            self._count("throttled" if answer.status == 429 else "unavailable")
            return error
        guard.succeeded()
        kind = "misconfigured" if isinstance(error, Misconfigured) else "broken" if isinstance(error, Broken) else ""
        self._count(kind or "refused")
        return error

    def _note_quota(self, answer: Answer, guard: Guard) -> None:
        """Pause once the vendor says that the quota is used up, until it fills up again."""
        quota = self._manifest.http.quota
        if quota is None:
            return
        left = answer.headers.get(quota.remaining, "").strip()
        if not left.lstrip("-").isdigit() or int(left) > quota.keep:
            return
        reset = answer.headers.get(quota.reset, "").strip() if quota.reset else ""
        seconds = float(reset) if reset.replace(".", "", 1).isdigit() else 1.0
        if quota.reset_is == "epoch" and seconds > 1.0:
            seconds -= clock.now().timestamp()
        guard.pause(min(max(seconds, 0.0), 3600.0))

    def _count(self, outcome: str) -> None:
        metrics.VENDOR_CALLS.labels(self._manifest.id, outcome).inc()


__all__ = ["Answer", "Caller", "NotFound", "OutOfStock", "Refused", "retry_after"]
