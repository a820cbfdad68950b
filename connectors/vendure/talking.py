"""Speaking GraphQL to Vendure: an administrator's credential on the Admin API, a session of its own for each order on
the Shop API.

A session is told by the header `vendure-auth-token` where the server takes bearer tokens, else by a signed cookie. A
server that takes both prefers the cookie, so each request here says its own `Cookie`: whatever a client keeps from one
answer would else tie all orders to one session."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from connectors.answers import Answer
from connectors.base import Adapter
from connectors.credentials import Credentials, Draft, Post
from connectors.tokens import Fetched, Purse
from connectors.vendure import documents
from hub.kernel.errors import Broken, Misconfigured

_TOKEN_HEADER = "vendure-auth-token"  # noqa: S105 - a header's name
_CHANNEL_HEADER = "vendure-token"
_KEY_HEADER = "vendure-api-key"
_NO_COOKIE = "supplyhub=1"
_COOKIE = re.compile(r"(?:^|, )([A-Za-z0-9_.-]+)=([^;,\s]*)")
_OPERATION = re.compile(r"(?:query|mutation) (\w+)")
_SESSION_LIVES_S = 3600.0


@dataclass(frozen=True, slots=True)
class Session:
    """What proves a session in a request's headers."""

    headers: dict[str, str] = field(repr=False)


def session_of(answer: Answer) -> Session | None:
    """The session that an answer opened, if it did."""
    token = answer.headers.get(_TOKEN_HEADER, "")
    if token:
        return Session({"Authorization": f"Bearer {token}"})
    cookies = dict(_COOKIE.findall(answer.headers.get("set-cookie", "")))
    if any(name.endswith(".sig") for name in cookies):
        return Session({"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())})
    return None


class AdminCredentials(Credentials):
    """An API key, or a login whose session is kept while it lives. The Shop API gets neither."""

    admin_path = shop_path = ""

    async def put_on(self, draft: Draft, purse: Purse, post: Post, token_url: Callable[[str], str]) -> None:
        """Complete `draft`; raises Misconfigured when the connection has no credential or the wrong one."""
        channel = draft.headers.pop(_CHANNEL_HEADER, self._config.get("channel"))
        if channel:
            draft.headers[_CHANNEL_HEADER] = str(channel)
        draft.headers.setdefault("Cookie", _NO_COOKIE)
        if draft.url.partition("?")[0].endswith(self.shop_path):
            return
        if self._secrets.get("api_key") is not None and self._secrets["api_key"].get_secret_value():
            draft.headers[_KEY_HEADER] = self.secret("api_key")
            return
        if not self._config.get("username"):
            raise Misconfigured("the connection has neither an API key nor a user name", code="no_secret")
        draft.token = await purse.take(lambda: self._login(post, token_url(self.admin_path)))
        draft.headers.update(orjson.loads(draft.token))

    async def _login(self, post: Post, url: str) -> Fetched:
        asked = {"username": self._config["username"], "password": self.secret("password")}
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Cookie": _NO_COOKIE}
        answer = await post(Draft("POST", url, headers, body=orjson.dumps(body(documents.LOGIN, asked))))
        said = data_of(answer.json(self._manifest)).get("login")
        if not isinstance(said, dict) or said.get("__typename") != "CurrentUser":
            raise Misconfigured(
                f"vendure refused the login: {problem(said)}", code=str((said or {}).get("errorCode") or "login")
            )
        session = session_of(answer)
        if session is None:
            raise Broken("vendure let us in and gave neither a token nor a cookie", code="no_token")
        return Fetched(orjson.dumps(session.headers).decode(), _SESSION_LIVES_S)


class Talks(Adapter):
    """The base of what speaks to one Vendure server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = AdminCredentials(self.manifest, self.config, self.secrets)
        found.admin_path = self._admin = f"/{self.config['admin_path'].strip('/')}"
        found.shop_path = self._shop = f"/{self.config['shop_path'].strip('/')}"
        self.call.credentials = found

    async def admin(
        self, document: str, variables: Mapping[str, Any] | None = None, *, channel: str | None = None
    ) -> tuple[dict[str, Any], datetime]:
        """Ask the Admin API; the answer's data and when it was asked. `channel` other than the connection's own: the
        token of one, or nothing for the default channel."""
        headers = {_CHANNEL_HEADER: channel} if channel is not None else None
        answer = await self.call.ask("POST", self._admin, body(document, variables), params=self._in(), headers=headers)
        return data_of(answer.json(self.manifest)), answer.sent_at

    async def admin_acts(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """A mutation of the Admin API: sent once."""
        answer = await self.call.send("POST", self._admin, body(document, variables), params=self._in())
        return data_of(answer.json(self.manifest))

    async def shop(
        self, document: str, variables: Mapping[str, Any], session: Session | None
    ) -> tuple[dict[str, Any], Session | None]:
        """A mutation of the Shop API in this session: sent once. Also the session that it opened, if it did."""
        headers = session.headers if session is not None else None
        answer = await self.call.send("POST", self._shop, body(document, variables), params=self._in(), headers=headers)
        return data_of(answer.json(self.manifest)), session_of(answer)

    async def shop_asks(self, document: str, session: Session) -> dict[str, Any]:
        """A query of the Shop API in this session."""
        answer = await self.call.ask("POST", self._shop, body(document), params=self._in(), headers=session.headers)
        return data_of(answer.json(self.manifest))

    def decimal(self, amount: Any) -> Decimal | None:
        """One of the server's whole-number amounts as money; None when it is none."""
        return Decimal(amount).scaleb(-int(self.config["precision"])) if type(amount) is int else None

    def amount(self, thing: Mapping[str, Any], name: str = "price") -> Decimal | None:
        """The kind of amount that is agreed, with tax or without."""
        return self.decimal(thing.get(f"{name}WithTax" if self.config["with_tax"] else name))

    def _in(self) -> dict[str, str]:
        return {"languageCode": self.config["language"]}


def body(document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The request of `document`."""
    named = _OPERATION.search(document)
    assert named is not None, "a document has a named operation"
    return {"query": document, "operationName": named.group(1), "variables": dict(variables or {})}


def data_of(answered: Any) -> dict[str, Any]:
    """The data of an answer; raises Broken when it holds none."""
    data = answered.get("data") if isinstance(answered, dict) else None
    if not isinstance(data, dict):
        raise Broken("vendure answered without data", code="bad_shape")
    return data


def listed(data: Mapping[str, Any], name: str) -> tuple[list[dict[str, Any]], int]:
    """The rows of a list and how many there are in all; raises Broken for anything else."""
    found = data.get(name)
    items, total = (found.get("items"), found.get("totalItems")) if isinstance(found, dict) else (None, None)
    if not isinstance(items, list) or type(total) is not int or not all(isinstance(item, dict) for item in items):
        raise Broken(f"vendure: {name} is not a list", code="bad_shape")
    return items, total


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; anything else holds none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def problem(said: Any) -> str:
    """What an error of a union says of itself."""
    if not isinstance(said, Mapping):
        return "no answer"
    parts = ("transitionError", "paymentErrorMessage", "eligibilityCheckerMessage", "message", "errorCode")
    text = next((said[part] for part in parts if isinstance(said.get(part), str) and said[part]), None)
    return (text or str(said.get("__typename") or "no answer"))[:300]
