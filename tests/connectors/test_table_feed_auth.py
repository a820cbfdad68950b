"""Who asks for a table, in every way that a manifest knows; and no credential in any error or address that is shown."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.directory import check_settings
from connectors.table_feed import fetch
from connectors.table_feed.adapter import Adapter
from hub.kernel.egress import EgressRefused
from hub.kernel.errors import HubError, Misconfigured, Rejected, Retry

URL = "https://vendor.example/out/stock.csv?shop=7"
MAP = {"vendor_sku": "sku", "title": "name", "price": "price"}
SECRETS = {"token": "secret-token-1", "password": "secret-password-2", "key": "secret-key-3"}
OAUTH = {
    "token": {
        "post": "/oauth/token",
        "form": {
            "grant_type": "client_credentials",
            "client_id": {"config": "user"},
            "client_secret": {"secret": "key"},
        },
        "read": "access_token",
        "expires": "expires_in",
    }
}
SIGNED = {
    "signed": {
        "algorithm": "md5",
        "params": {"app": {"config": "user"}},
        "over": [{"params": {"skip": ["sign"]}}, {"secret": "key"}],
        "to": {"query": "sign"},
    }
}


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


class Vendor:
    """Publishes one row to whoever `lets` in, and hands out tokens."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []
        self.tokens = 0
        self.live = "token-1"
        self.denied = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if request.url.path == "/oauth/token":
            sent = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
            if sent != {"grant_type": "client_credentials", "client_id": "shop", "client_secret": SECRETS["key"]}:
                return httpx.Response(401, json={"error": "invalid_client"})
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"token-{self.tokens}", "expires_in": 3600})
        if self.denied or (self.tokens and request.headers.get("Authorization") != f"Bearer {self.live}"):
            return httpx.Response(401)
        return httpx.Response(200, stream=httpx.ByteStream(b"sku,name,price\nA,x,1.00\n"))


def connect(vendor: Vendor, secrets: tuple[str, ...] = tuple(SECRETS), **config: Any) -> Adapter:
    hidden = {name: SecretStr(SECRETS[name]) for name in secrets}
    http = httpx.AsyncClient(transport=httpx.MockTransport(vendor))
    wanted = {"url": URL, "map": MAP, **config}
    made = base.build(manifest.HOME / "table_feed", wanted, hidden, http, connection_id=f"a{id(vendor)}")
    assert isinstance(made, Adapter)
    return made


async def pull(adapter: Adapter) -> list[str]:
    try:
        return [listing.vendor_sku async for page in adapter.pull(None) for listing in page.listings]
    finally:
        await adapter.aclose()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("secrets", "config", "header", "query"),
    [
        ((), {}, {}, {}),
        (("token",), {}, {"Authorization": "Bearer secret-token-1"}, {}),
        (("password",), {"user": "shop"}, {"Authorization": basic("shop", "secret-password-2")}, {}),
        (("password",), {}, {"Authorization": basic("", "secret-password-2")}, {}),
        (
            ("key",),
            {"auth": {"header": {"name": "X-Api-Key", "secret": "key"}}},
            {"X-Api-Key": "secret-key-3"},
            {},
        ),
        (("key",), {"auth": {"query": {"name": "api_key", "secret": "key"}}}, {}, {"api_key": "secret-key-3"}),
        (
            ("key", "token"),
            {"auth": {"basic": {"user": {"secret": "token"}, "password": {"secret": "key"}}}},
            {"Authorization": basic("secret-token-1", "secret-key-3")},
            {},
        ),
    ],
)
async def test_a_table_is_asked_for_as_the_settings_say(
    secrets: tuple[str, ...], config: dict[str, Any], header: dict[str, str], query: dict[str, str]
) -> None:
    vendor = Vendor()
    assert await pull(connect(vendor, secrets, **config)) == ["A"]
    [request] = vendor.seen
    assert dict(request.url.params) == {"shop": "7", **query}
    for name in ("Authorization", "X-Api-Key"):
        assert request.headers.get(name) == header.get(name)


async def test_a_signature_covers_the_addresss_own_parameters() -> None:
    vendor = Vendor()
    assert await pull(connect(vendor, user="shop", auth=SIGNED)) == ["A"]
    sign = hashlib.md5(b"app=shop&shop=7secret-key-3").hexdigest()
    assert dict(vendor.seen[0].url.params) == {"app": "shop", "shop": "7", "sign": sign}


async def test_client_credentials_are_traded_for_a_token_that_is_kept() -> None:
    vendor = Vendor()
    for _ in range(2):
        assert await pull(connect(vendor, user="shop", auth=OAUTH)) == ["A"]
    assert vendor.tokens == 1
    assert [str(request.url) for request in vendor.seen] == ["https://vendor.example/oauth/token", URL, URL]


async def test_a_token_that_is_no_longer_taken_is_replaced_once() -> None:
    vendor = Vendor()
    assert await pull(connect(vendor, user="shop", auth=OAUTH)) == ["A"]
    vendor.live = "token-2"
    assert await pull(connect(vendor, user="shop", auth=OAUTH)) == ["A"]
    assert vendor.tokens == 2
    vendor.denied = True
    with pytest.raises(Misconfigured, match="denies access"):
        await pull(connect(vendor, user="shop", auth=OAUTH))
    assert vendor.tokens == 3


async def test_wrong_client_credentials_are_misconfigured() -> None:
    vendor = Vendor()
    with pytest.raises(Misconfigured):
        await pull(connect(vendor, user="another", auth=OAUTH))
    assert len(vendor.seen) == 1


async def test_no_credential_shows_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "jitter", lambda *_: 0.0)

    def failing(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            raise httpx.ConnectError(f"no route to {request.url} with {request.content!r}")
        raise httpx.ConnectError(f"no route to {request.url} with {request.headers!r}")

    ways = [OAUTH, SIGNED, {"query": {"name": "k", "secret": "key"}}, {"header": {"name": "X-K", "secret": "key"}}]
    for auth in ways:
        guards.forget()
        http = httpx.AsyncClient(transport=httpx.MockTransport(failing))
        hidden = {name: SecretStr(value) for name, value in SECRETS.items()}
        config = {"url": "https://vendor.example/stock.csv", "map": MAP, "user": "shop", "auth": auth}
        adapter = base.build(manifest.HOME / "table_feed", config, hidden, http, connection_id="shown")
        assert isinstance(adapter, Adapter)
        shown = [repr(adapter), repr(adapter.__dict__), repr(adapter.call.__dict__)]
        with pytest.raises(HubError) as caught:
            await pull(adapter)
        assert isinstance(caught.value, Retry)
        shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        assert not [value for value in SECRETS.values() for text in shown if value in text]


@pytest.mark.parametrize(
    ("auth", "pointer"),
    [
        ({"bearer": {"secret": "token"}, "query": {"name": "k", "secret": "key"}}, "/config/auth"),
        ({"magic": {}}, "/config/auth/magic"),
        ({"bearer": {"secret": "nobody"}}, "/config"),
        ({"header": {"name": "X-K"}}, "/config/auth/header/secret"),
        ({"token": {**OAUTH["token"], "form": {"client_id": {"config": "client"}}}}, "/config"),
        ({"token": {**OAUTH["token"], "post": "http://169.254.169.254/latest"}}, "/config"),
        ({"token": {**OAUTH["token"], "post": "http://10.0.0.1/t"}}, "/config"),
    ],
)
def test_a_credential_that_cannot_be_is_refused_when_the_connection_is_made(auth: Any, pointer: str) -> None:
    config = {"url": URL, "map": MAP, "auth": auth, "user": "shop"}
    with pytest.raises(Rejected) as refused:
        check_settings(manifest.manifest_of("table_feed"), config, SECRETS)
    assert pointer in [fault.pointer for fault in refused.value.faults], json.dumps(str(refused.value))


async def test_a_token_is_not_fetched_from_inside_our_network() -> None:
    inside = {"token": {**OAUTH["token"], "post": "http://127.0.0.1:9/t"}}
    with pytest.raises(EgressRefused):
        connect(Vendor(), user="shop", auth=inside)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"map": {"title": "t"}}, "/config"),
        ({"map": {**MAP, "price": {"colum": "p"}}}, "/config/map/price/colum"),
        ({"currency": "yuan"}, "/config/currency"),
        ({"page_rows": 0}, "/config/page_rows"),
        ({"timezone": "Mars/Olympus"}, "/config"),
        ({"file": "a.csv"}, "/config"),
        ({"scope": "half"}, "/config/scope"),
    ],
)
def test_wrong_settings_are_refused_with_their_place_when_the_connection_is_made(
    wrong: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Rejected) as refused:
        check_settings(manifest.manifest_of("table_feed"), {"url": URL, "map": MAP, **wrong}, {})
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
