"""A shop on plain http lets in only what is signed, and a signature is what RFC 5849 says it is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import ReceiptStatus
from connectors.woocommerce.adapter import Adapter
from connectors.woocommerce.oauth import Digest, ShopCredentials, base_string, signature
from hub.kernel import clock
from hub.kernel.errors import Misconfigured
from tests.connectors.test_woocommerce import po, pull, shop


def test_the_base_string_is_that_of_the_rfc() -> None:
    """RFC 5849, section 3.4.1: a name given twice, empty values, an encoded name, a port that goes without saying."""
    params = [
        ("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q"),
        ("oauth_consumer_key", "9djdj82h48djs9d2"), ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"), ("oauth_timestamp", "137131201"), ("oauth_nonce", "7d8f3e4a"),
    ]  # fmt: skip
    assert base_string("post", "http://EXAMPLE.COM:80/request?b5=%3D%253D", params) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
        "c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


@pytest.mark.parametrize(
    ("method", "url", "params", "secrets", "digest", "wanted"),
    [
        (  # RFC 5849, section 1.2: the token is asked for
            "POST", "https://photos.example.net/token",
            {"oauth_token": "hh5s93j4hdidpola", "oauth_timestamp": "137131201", "oauth_nonce": "walatlh",
             "oauth_verifier": "hfdp7dh39dks9884", "oauth_consumer_key": "dpf43f3p2l4k3l03",
             "oauth_signature_method": "HMAC-SHA1"},
            ("kd94hf93k423kf44", "hdhd0244k9j7ao03"), "sha1", "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        ),
        (  # the same section: the photo is asked for
            "GET", "http://photos.example.net/photos",
            {"file": "vacation.jpg", "size": "original", "oauth_token": "nnch734d00sl2jdk",
             "oauth_timestamp": "137131202", "oauth_nonce": "chapoH", "oauth_consumer_key": "dpf43f3p2l4k3l03",
             "oauth_signature_method": "HMAC-SHA1"},
            ("kd94hf93k423kf44", "pfkkdhi9sl3r4s00"), "sha1", "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
        (  # without a token and with SHA-256, as oauthlib 4.0.1 signs it
            "GET", "http://shop.example:8080/wp-json/wc/v3/products",
            {"per_page": "100", "search": "杯 子&+~", "_fields": "id,sku", "oauth_consumer_key": "ck_abc",
             "oauth_nonce": "n1", "oauth_signature_method": "HMAC-SHA256", "oauth_timestamp": "1780000000"},
            ("cs_secret", ""), "sha256", "AHpQIQK/i0FEPfJesS+w5gdg6G126PQUmx7ZyLGotE4=",
        ),
    ],
)  # fmt: skip
def test_known_requests_get_their_known_signatures(
    method: str, url: str, params: dict[str, str], secrets: tuple[str, str], digest: Digest, wanted: str
) -> None:
    assert signature(base_string(method, url, params.items()), *secrets, digest=digest) == wanted


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_plain_shop_is_read_and_ordered_from(where: str) -> None:
    async with shop(oauth_in=where) as (sandbox, connector):
        sandbox.gate.basic = False
        [page] = await pull(connector())
        assert [x.vendor_sku for x in page.listings] == ["MUG"]
        order = po(("MUG", 1, "12.90"))
        assert (await connector().place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
        assert await connector().find(order.number) is not None
        signed = [seen.path for seen in sandbox.seen if "oauth_" in seen.path]
        assert bool(signed) == (where == "query")
        assert not any(sandbox.consumer_secret in seen.path for seen in sandbox.seen)


async def test_a_plain_shop_refuses_basic_and_says_so() -> None:
    async with shop(auth="basic") as (sandbox, connector):
        sandbox.gate.basic = False
        with pytest.raises(Misconfigured):
            await pull(connector())
        assert len(sandbox.seen) == 1


async def test_a_shop_reached_under_another_address_is_signed_for_under_its_own() -> None:
    async with shop() as (sandbox, connector):
        sandbox.home_url = "http://shop.internal/store"
        with pytest.raises(Misconfigured):
            await pull(connector())
    async with shop(home_url="http://shop.internal/store/") as (sandbox, connector):
        sandbox.gate.basic, sandbox.home_url = False, "http://shop.internal/store"
        assert (await pull(connector()))[-1].complete


def requests_to(base_url: str, **config: Any) -> tuple[Adapter, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    secrets = {"consumer_key": SecretStr("ck_key_12345"), "consumer_secret": SecretStr("cs_secret_67890")}
    made = base.build(manifest.HOME / "woocommerce", {"base_url": base_url, **config}, secrets, http)
    assert isinstance(made, Adapter)
    return made, seen


async def test_https_says_basic_and_http_never_sends_the_secret() -> None:
    for base_url, config, wanted in (
        ("https://shop.example", {}, "Basic "),
        ("https://shop.example", {"auth": "oauth1"}, "OAuth "),
        ("http://shop.example", {}, "OAuth "),
    ):
        adapter, seen = requests_to(base_url, **config)
        await adapter.call.get("/wp-json/wc/v3/products", {"per_page": 10})
        await adapter.aclose()
        guards.forget()
        assert seen[0].headers["Authorization"].startswith(wanted)
        assert "cs_secret" not in str(seen[0].headers.raw) + str(seen[0].url)


async def test_every_request_has_a_nonce_of_its_own_and_the_time_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    adapter, seen = requests_to("http://shop.example")
    for _ in range(3):
        await adapter.call.get("/wp-json/wc/v3/products")
    await adapter.aclose()
    guards.forget()
    headers = [request.headers["Authorization"] for request in seen]
    assert len({re.findall('oauth_nonce="([0-9a-f]{32})"', header)[0] for header in headers}) == 3
    assert all(f'oauth_timestamp="{int(now.timestamp())}"' in header for header in headers)


async def test_a_signed_request_cannot_be_sent_twice_changed_or_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stand-in checks is what WooCommerce checks; without this the tests above would prove nothing."""
    async with shop() as (sandbox, _), httpx.AsyncClient() as thief:
        adapter, seen = requests_to(sandbox.base_url)
        adapter.secrets.update({name: SecretStr(value) for name, value in sandbox.credentials().items()})
        adapter.call.credentials = ShopCredentials(adapter.manifest, adapter.config, adapter.secrets)
        for _ in range(3):
            await adapter.call.get("/wp-json/wc/v3/products", {"per_page": 10})
        await adapter.aclose()
        first, second, third = ((request.url, {"Authorization": request.headers["Authorization"]}) for request in seen)

        async def status(url: httpx.URL, headers: dict[str, str]) -> int:
            return (await thief.get(url, headers=headers)).status_code

        assert [await status(*first), await status(*first)] == [200, 401]
        assert await status(second[0].copy_merge_params({"per_page": 99}), second[1]) == 401
        now = clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=16))
        assert await status(*third) == 401
