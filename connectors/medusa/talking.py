"""Speaking to a Medusa server: the Admin API with a secret key or a login, the Store API with a publishable key; and
the market that a connection buys in (region, currency, sales channel and the stock locations behind it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import httpx
import orjson

from connectors.answers import Answer
from connectors.base import Adapter
from connectors.calling import Refused
from connectors.credentials import Credentials, Draft, Post
from connectors.tokens import Fetched, Purse
from hub.kernel.errors import Broken, Misconfigured, NotFound

_LOGIN = "/auth/user/emailpass"
_TOKEN_LIVES_S = 3600.0  # a server gives a day unless told otherwise
_MOST = 100


class ShopCredentials(Credentials):
    """Each API its own: a publishable key for /store, a secret key or a login's token for the rest."""

    async def put_on(self, draft: Draft, purse: Purse, post: Post, token_url: Callable[[str], str]) -> None:
        """Complete `draft`; raises Misconfigured when the connection has no credential or the wrong one."""
        if draft.url.startswith(token_url("/store/")):
            key = self._config.get("publishable_key")
            if not key:
                raise Misconfigured("the connection has no publishable key", code="no_secret")
            draft.headers["x-publishable-api-key"] = str(key)
        elif self._secrets.get("secret_key") is not None and self._secrets["secret_key"].get_secret_value():
            draft.auth = httpx.BasicAuth(self.secret("secret_key"), "")
        elif self._config.get("email"):
            draft.token = await purse.take(lambda: self._login(post, token_url(_LOGIN)))
            draft.headers["Authorization"] = f"Bearer {draft.token}"
        else:
            raise Misconfigured("the connection has neither a secret key nor an e-mail address", code="no_secret")

    async def _login(self, post: Post, url: str) -> Fetched:
        body = orjson.dumps({"email": self._config["email"], "password": self.secret("password")})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = (await post(Draft("POST", url, headers, body=body))).json(self._manifest)
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:  # a second factor or another provider's page
            raise Misconfigured("medusa's login gave no token; use a secret key", code="no_token")
        return Fetched(token, _TOKEN_LIVES_S)


@dataclass(frozen=True, slots=True)
class Market:
    """Where a connection buys. `locations` None: stock at any location counts."""

    region_id: str
    currency: str
    sales_channel_id: str | None
    locations: frozenset[str] | None


class Talks(Adapter):
    """The base of what speaks to one Medusa server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.call.credentials = ShopCredentials(self.manifest, self.config, self.secrets)

    async def rows(self, path: str, name: str, params: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int, datetime]:
        """One page of a list: its rows, how many there are in all, and when it was asked for."""
        answer = await self.call.get(path, params)
        return *self.listed(answer, name), answer.sent_at

    def listed(self, answer: Answer, name: str) -> tuple[list[dict[str, Any]], int]:
        """The rows of a list and their number in all; raises Broken for anything else."""
        body = answer.json(self.manifest)
        found, count = (body.get(name), body.get("count")) if isinstance(body, dict) else (None, None)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Broken(f"medusa: {name} is not a list", code="bad_shape")
        return found, count if type(count) is int else len(found)

    def one(self, answer: Answer, name: str) -> dict[str, Any]:
        """The object in an answer; raises Broken when there is none."""
        body = answer.json(self.manifest)
        found = body.get(name) if isinstance(body, dict) else None
        if not isinstance(found, dict):
            raise Broken(f"medusa answered without {name}", code="bad_shape")
        return found

    async def shop_gets(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """GET of the Store API."""
        try:
            return await self.call.get(path, params)
        except Refused as error:
            raise _by_key(error) from None

    async def shop_does(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """A call of the Store API that changes a cart: sent once."""
        try:
            return await self.call.send(method, path, body, params=params)
        except Refused as error:
            raise _by_key(error) from None

    async def market(self) -> Market:
        """The connection's market, looked up once; raises Misconfigured when the settings do not tell which."""
        found: Market | None = self.__dict__.get("_market")
        if found is None:
            region = await self._region()
            channel = self.config["sales_channel_id"] or await self._channel_of_key()
            locations = await self._locations(channel) if channel else None
            currency = str(region.get("currency_code") or "").upper()
            found = self.__dict__["_market"] = Market(str(region["id"]), currency, channel, locations)
        return found

    async def _region(self) -> dict[str, Any]:
        fields = {"fields": "id,currency_code,countries.iso_2"}
        wanted = self.config["region_id"]
        if wanted:
            try:
                return self.one(await self.call.get(self.call.fill("/admin/regions/{id}", id=wanted), fields), "region")
            except NotFound:
                raise Misconfigured(f"the shop has no region {wanted!r}", code="bad_config") from None
        regions, _, _ = await self.rows("/admin/regions", "regions", {**fields, "limit": _MOST})
        country = self.config["country"].lower()
        fits = [r for r in regions if any(c.get("iso_2") == country for c in objects(r.get("countries")))]
        if len(fits) != 1:
            raise Misconfigured(f"say which region to buy in: {len(fits)} of them have {country!r}", code="bad_config")
        return fits[0]

    async def _channel_of_key(self) -> str | None:
        key = self.config["publishable_key"]
        if not key:
            return None
        params = {"type": "publishable", "token": key, "fields": "id,token,sales_channels.id", "limit": _MOST}
        keys, _, _ = await self.rows("/admin/api-keys", "api_keys", params)
        channels = [str(c["id"]) for k in keys if k.get("token") == key for c in objects(k.get("sales_channels"))]
        if len(channels) != 1:
            raise Misconfigured(
                f"the publishable key has {len(channels)} sales channels; say which one to buy from", code="bad_config"
            )
        return channels[0]

    async def _locations(self, channel: str) -> frozenset[str]:
        found: set[str] = set()
        while True:
            params = {"sales_channel_id": channel, "fields": "id", "limit": _MOST, "offset": len(found)}
            rows, count, _ = await self.rows("/admin/stock-locations", "stock_locations", params)
            found |= {str(row.get("id")) for row in rows}
            if not rows or len(found) >= count:
                return frozenset(found)


def _by_key(error: Refused) -> Refused | Misconfigured:
    """The Store API answers 400 to a missing or wrong publishable key, as it does to refusals."""
    if "publishable" in str(error).lower():
        return Misconfigured(str(error), code="vendor_denied", facts=error.facts)
    return error


def amount(raw: Any) -> Decimal | None:
    """An amount in major units as it was written; what was calculated is rounded to four places. None for no amount."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        value = Decimal(str(raw))
    except InvalidOperation:
        return None
    if not value.is_finite():
        return None
    exponent = value.as_tuple().exponent
    return value.quantize(Decimal("0.0001"), ROUND_HALF_UP) if isinstance(exponent, int) and exponent < -4 else value


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; anything else holds none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
