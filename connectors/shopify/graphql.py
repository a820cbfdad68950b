"""Speaking GraphQL to one shop: what a query costs, what its errors mean, and who we are.

Shopify charges points for a query and tells with every answer how many are left and how fast they come back
(`extensions.cost`). The connection's `Points` keep that account for everything in the process that asks this shop; a
query waits until its last known price fits. THROTTLED means that nothing was done, so even a mutation may be sent
again after it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import structlog
from pydantic import SecretStr

from connectors.auths import Auth
from connectors.base import Adapter, Known
from connectors.guards import Guard
from connectors.manifest import Manifest
from hub.kernel.errors import Broken, HubError, Misconfigured, Retry

_PATH = "/admin/api/{api_version}/graphql.json"
_OPERATION = re.compile(r"\s*(?:query|mutation)\s+(\w+)")
_FIRST_PRICE = 10.0  # of an operation that was never sent: what a mutation costs
_VERSION = re.compile(r"\d{4}-\d{2}|unstable")
_DENIED = frozenset({"ACCESS_DENIED", "SHOP_INACTIVE", "FORBIDDEN", "UNAUTHORIZED"})
_PASSING = frozenset({"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"})

log = structlog.get_logger()
_warned: weakref.WeakSet[Guard] = weakref.WeakSet()
_prices: dict[str, float] = {}  # operation -> points that it was last charged for; a hint, the same for every shop


@dataclass(frozen=True, slots=True)
class Said:
    """A shop's answer. `sent_at` is when the request left; `missing` holds the messages of tolerated errors."""

    data: Mapping[str, Any]
    sent_at: datetime
    missing: tuple[str, ...] = ()


class SpeaksGraphql(Adapter):
    """Asks and tells a shop."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: Known | None = None,
    ) -> None:
        token = secrets.get("access_token")
        if config.get("client_id") and not (token and token.get_secret_value()):
            # an app of the Dev Dashboard has no lasting token: it fetches one a day
            fetched = Auth.model_validate({"token": manifest.options["client_credentials"]})
            manifest = manifest.model_copy(update={"auth": fetched})
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        if not _VERSION.fullmatch(str(self.config["api_version"])):
            raise Misconfigured("the setting 'api_version' must look like 2026-07", code="bad_config")

    async def ask(self, document: str, variables: Mapping[str, Any] | None = None, *, tolerate: str = "") -> Said:
        """What only reads, or may be repeated without harm: tried again while that may help. An error with the code
        `tolerate` is told in `Said.missing`."""
        return await self._say(document, variables, acts=False, tolerate=tolerate)

    async def act(self, document: str, variables: Mapping[str, Any] | None = None) -> Said:
        """What acts: sent once, unless the shop said that it did nothing. Raises Retry when the outcome is unknown."""
        return await self._say(document, variables, acts=True, tolerate="")

    async def _say(self, document: str, variables: Mapping[str, Any] | None, *, acts: bool, tolerate: str) -> Said:
        name = operation_of(document)
        send = self.call.send if acts else self.call.ask
        path = self.call.fill(_PATH)
        body = {"query": document, "operationName": name, "variables": dict(variables or {})}
        spec = self.manifest.http
        for left in reversed(range(spec.attempts)):
            await self.call.guard().points.take(_prices.get(name, _FIRST_PRICE))
            answer = await send("POST", path, body)
            said = answer.json(self.manifest)
            if not isinstance(said, dict):
                raise Broken("shopify answered something that is no GraphQL answer", code="bad_shape")
            self._note_version(answer.headers.get("x-shopify-api-version", ""))
            wait = self._note_cost(name, said)
            errors, missing = _sorted_errors(said.get("errors"), tolerate)
            if not errors:
                data = said.get("data")
                if not isinstance(data, dict):
                    raise Broken("shopify's answer holds no data", code="bad_shape")
                return Said(data, answer.sent_at, missing)
            error = _meaning(errors, wait)
            if error.code != "THROTTLED" or not left or wait is None or wait > spec.longest_wait_s:
                raise error
        raise AssertionError("unreachable")

    def _note_version(self, version: str) -> None:
        """Say once when the shop answers in another version than it was asked in: ours is no longer supported."""
        guard = self.call.guard()
        if version and version != self.config["api_version"] and guard not in _warned:
            _warned.add(guard)
            log.warning(
                "api_version_differs", connection=guard.name, asked=self.config["api_version"], answered=version
            )

    def _note_cost(self, name: str, said: Mapping[str, Any]) -> float | None:
        """Keep the account that an answer tells; returns the seconds until such a query fits, if it says."""
        extensions = said.get("extensions")
        cost = extensions.get("cost") if isinstance(extensions, dict) else None
        if not isinstance(cost, dict):
            return None
        price, status = cost.get("requestedQueryCost"), cost.get("throttleStatus")
        if isinstance(price, int | float):
            _prices[name] = float(price)
        if not isinstance(status, dict):
            return None
        figures = [status.get(key) for key in ("currentlyAvailable", "restoreRate", "maximumAvailable")]
        if not all(isinstance(figure, int | float) for figure in figures):
            return None
        available, restore, maximum = (float(figure) for figure in figures)  # type: ignore[arg-type]
        self.call.guard().points.told(available, restore, maximum)
        short = min(_prices.get(name, _FIRST_PRICE), maximum) - available
        return max(0.0, short / max(restore, 0.1))


def operation_of(document: str) -> str:
    """The name of the operation in `document`."""
    found = _OPERATION.match(document)
    assert found is not None, "every document names its operation"
    return found.group(1)


def field(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object at `name`; raises Broken when there is none."""
    found = data.get(name)
    if not isinstance(found, dict):
        raise Broken(f"shopify's answer has no {name}", code="bad_shape")
    return found


def nodes(connection: Any) -> list[Any]:
    """The nodes of a connection; raises Broken when it is none."""
    found = connection.get("nodes") if isinstance(connection, dict) else None
    if not isinstance(found, list):
        raise Broken("shopify's answer has no list where one was due", code="bad_shape")
    return found


def following(connection: Mapping[str, Any]) -> str | None:
    """Where the connection goes on, or None at its end. Raises Broken when it does not say."""
    info = connection.get("pageInfo")
    if not isinstance(info, dict) or not isinstance(info.get("hasNextPage"), bool):
        raise Broken("shopify does not say whether there is another page", code="bad_shape")
    if not info["hasNextPage"]:
        return None
    if not isinstance(info.get("endCursor"), str) or not info["endCursor"]:
        raise Broken("shopify has another page and does not say where", code="bad_shape")
    return str(info["endCursor"])


def user_errors(payload: Mapping[str, Any], name: str = "userErrors") -> list[Mapping[str, Any]]:
    """What a mutation refused to do."""
    found = payload.get(name)
    return [error for error in found if isinstance(error, dict)] if isinstance(found, list) else []


def said_in(errors: list[Mapping[str, Any]]) -> str:
    """User errors in one sentence."""
    return "; ".join(str(error.get("message") or error.get("code") or "no reason") for error in errors)[:500]


def quoted(text: str) -> str:
    """`text` as one value of Shopify's search syntax."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sorted_errors(errors: Any, tolerate: str) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Errors of an answer, and the messages of those that were to be expected."""
    if not errors:
        return [], ()
    if not isinstance(errors, list):
        return [{"message": str(errors)[:300]}], ()
    real: list[Mapping[str, Any]] = [e if isinstance(e, dict) else {"message": str(e)[:300]} for e in errors]
    kept = [error for error in real if not tolerate or _code(error) != tolerate]
    return kept, tuple(str(error.get("message", ""))[:300] for error in real if error not in kept)


def _code(error: Mapping[str, Any]) -> str:
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return str(code)[:80] if code else "THROTTLED" if error.get("message") == "Throttled" else ""


def _meaning(errors: list[Mapping[str, Any]], wait: float | None) -> HubError:
    codes = [_code(error) for error in errors]
    text = str(errors[0].get("message", ""))[:300] or "no reason"
    if "THROTTLED" in codes:
        return Retry("shopify has no points left for this query", code="THROTTLED", after=max(1.0, wait or 2.0))
    if _DENIED.intersection(codes):
        return Misconfigured(f"shopify denies access: {text}", code=next(c for c in codes if c in _DENIED))
    if _PASSING.intersection(codes):
        return Retry(f"shopify failed: {text}", code=next(c for c in codes if c in _PASSING), after=2.0)
    return Broken(f"shopify does not take this query: {text}", code=codes[0] or "graphql_error")
