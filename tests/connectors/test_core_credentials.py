"""Credentials that a manifest describes: tokens fetched, kept and replaced; signatures as vendors document them;
envelopes, quotas and points."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
import pytest
import yaml
from pydantic import SecretStr, TypeAdapter, ValidationError

from connectors import base, guards, scaffold
from connectors.auths import Auth, Signing
from connectors.calling import OutOfStock
from connectors.guards import Guard, Points
from connectors.manifest import Manifest
from connectors.signing import Unsigned, sent_value, signature
from hub.kernel.errors import Broken, Misconfigured, Retry

Handler = Callable[[httpx.Request], httpx.Response]
SECRETS = {"token": "very-secret-token", "app_secret": "shhh-secret", "password": "pass-secret"}


@pytest.fixture(autouse=True)
def no_brakes_left_over() -> Iterator[None]:
    guards.forget()
    yield
    guards.forget()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """A connector from the template with its manifest changed at the top, speaking to a handler."""

    def made(handler: Handler, **changes: Any) -> Any:
        folder = tmp_path / "shop"
        scaffold.create("shop", tmp_path)
        path = folder / "manifest.yaml"
        raw = yaml.safe_load(path.read_text())
        for name in ("app_secret", "password"):
            raw["config"][name] = {"secret": True}
        raw["config"]["app_id"] = {"default": "app-7"}
        raw |= {**changes, "http": {"timeout_s": 5, "attempts": 2, **changes.get("http", {})}}
        path.write_text(yaml.safe_dump(raw))
        http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        hidden = {name: SecretStr(value) for name, value in SECRETS.items()}
        return base.build(folder, {"base_url": "https://shop.example/api"}, hidden, http, connection_id=1)

    return made


class Login:
    """A vendor that hands out tokens and takes only the newest."""

    def __init__(self, **extra: Any) -> None:
        self.given = 0
        self.good = ""
        self.extra = extra
        self.asked: list[httpx.Request] = []
        self.logins: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/login"):
            self.logins.append(request)
            self.given += 1
            self.good = f"t{self.given}"
            return httpx.Response(200, json={"access": self.good, **self.extra}, headers={"X-Session": self.good})
        self.asked.append(request)
        if request.headers.get("Authorization") != f"Bearer {self.good}":
            return httpx.Response(401, json={"message": "who are you"})
        return httpx.Response(200, json={"fine": True})


FORM = {"post": "/login", "read": "access", "form": {"grant_type": "client_credentials", "id": {"config": "app_id"},
        "pass": {"secret": "password"}}}  # fmt: skip


async def test_a_token_is_fetched_once_however_many_wait_for_it(make: Any) -> None:
    login = Login()
    adapter = make(login, auth={"token": FORM})
    await asyncio.gather(*(adapter.call.get(f"/x{n}") for n in range(5)))
    assert (login.given, len(login.asked)) == (1, 5)
    sent = dict(parse_qsl(login.logins[0].content.decode()))
    assert sent == {"grant_type": "client_credentials", "id": "app-7", "pass": "pass-secret"}
    assert "pass-secret" not in repr(adapter.__dict__) and "t1" not in repr(adapter.call.guard().purse)


async def test_a_denied_token_is_replaced_once_and_then_it_is_the_credentials_fault(make: Any) -> None:
    login = Login()
    adapter = make(login, auth={"token": FORM})
    await adapter.call.get("/x")
    login.good = "somebody-logged-us-out"
    await adapter.call.get("/y")
    assert login.given == 2

    def never(request: httpx.Request) -> httpx.Response:
        return Login.__call__(login, request) if request.url.path.endswith("/login") else httpx.Response(401, json={})

    adapter.call._http = httpx.AsyncClient(transport=httpx.MockTransport(never))
    with pytest.raises(Misconfigured):
        await adapter.call.get("/z")
    assert login.given == 3, "one fresh token, not a loop"


async def test_a_token_is_fetched_anew_before_it_ends(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    login = Login(expires_in="100")
    adapter = make(login, auth={"token": {**FORM, "expires": "expires_in"}})
    await adapter.call.get("/x")
    tick = time.monotonic
    monkeypatch.setattr("connectors.tokens.time.monotonic", lambda: tick() + 89)
    await adapter.call.get("/x")
    assert login.given == 1
    monkeypatch.setattr("connectors.tokens.time.monotonic", lambda: tick() + 91)
    await adapter.call.get("/x")
    assert login.given == 2


async def test_a_session_token_may_come_in_a_header_and_from_json(make: Any) -> None:
    login = Login()
    spec = {"post": "/login", "json": {"user": "me", "password": {"secret": "password"}}, "read_header": "X-Session"}
    adapter = make(login, auth={"token": spec})
    await adapter.call.get("/x")
    assert login.logins[0].headers["content-type"] == "application/json"
    assert orjson.loads(login.logins[0].read()) == {"user": "me", "password": "pass-secret"}


async def test_a_login_without_a_token_is_broken_and_a_denied_login_misconfigured(make: Any) -> None:
    adapter = make(lambda _: httpx.Response(200, json={}), auth={"token": FORM})
    with pytest.raises(Broken, match="no token"):
        await adapter.call.get("/x")
    adapter.call._http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(401, json={})))
    with pytest.raises(Misconfigured):
        await adapter.call.get("/x")


def secret(name: str) -> str:
    return SECRETS[name]


def signing(**spec: Any) -> Signing:
    return Signing.model_validate(spec)


def test_meituan_s_signature() -> None:
    """md5hex(url + "?" + sorted k=v joined by & + secret), as PROTOCOLS.md has it."""
    spec = signing(
        algorithm="md5", over=[{"request": "url"}, "?", {"params": {"skip": ["sig"]}}, {"secret": "app_secret"}],
        to={"query": "sig"},
    )  # fmt: skip
    params = {"timestamp": "1700000000", "app_id": "7", "app_poi_code": "店1"}
    request = Unsigned("GET", "https://m.example/api/v1/retail/list", "/api/v1/retail/list", params, b"")
    text = "https://m.example/api/v1/retail/list?app_id=7&app_poi_code=店1&timestamp=1700000000shhh-secret"
    assert signature(spec, request, {}, secret) == hashlib.md5(text.encode()).hexdigest()


def test_a_signature_with_the_secret_among_the_sorted_parameters() -> None:
    """Ele.me: body=&cmd=&encrypt=&secret=&source=&ticket=&timestamp=&version=, in upper case."""
    spec = signing(
        algorithm="md5", over=[{"params": {"secret_as": {"secret": "app_secret"}}}], digest="HEX", to={"form": "sign"}
    )
    params = {
        "version": "3",
        "cmd": "sku.list",
        "body": "{}",
        "ticket": "T",
        "timestamp": "1",
        "source": "s",
        "encrypt": "",
    }
    text = "body={}&cmd=sku.list&encrypt=&secret=shhh-secret&source=s&ticket=T&timestamp=1&version=3"
    made = signature(spec, Unsigned("POST", "u", "/", params, b""), {}, secret)
    assert made == hashlib.md5(text.encode()).hexdigest().upper()


def test_a_signature_over_a_hashed_password() -> None:
    """JD: UPPER(md5(secret + timestamp + client_id + username + md5(password) + "access_token" + secret))."""
    over = [
        {"secret": "app_secret"}, {"param": "timestamp"}, {"config": "client_id"}, {"param": "username"},
        {"secret_md5": "password"}, "access_token", {"secret": "app_secret"},
    ]  # fmt: skip
    spec = signing(algorithm="md5", over=over, digest="HEX", to={"form": "sign"})
    params = {"timestamp": "2026-11-25 10:00:00", "username": "u"}
    inner = hashlib.md5(b"pass-secret").hexdigest()
    text = f"shhh-secret2026-11-25 10:00:00cu{inner}access_tokenshhh-secret"
    made = signature(spec, Unsigned("POST", "u", "/", params, b""), {"client_id": "c"}, secret)
    assert made == hashlib.md5(text.encode()).hexdigest().upper()


def test_values_that_are_sent() -> None:
    at = datetime(2026, 11, 25, 6, 32, 5, tzinfo=UTC)
    read: TypeAdapter[Any] = TypeAdapter(Auth)
    spec = read.validate_python(
        {"signed": {"algorithm": "md5", "over": ["x"], "to": {"query": "s"}, "params": {
            "a": {"now": "china"}, "b": {"now": "epoch"}, "c": {"fresh": "UUID"}, "d": True, "e": {"config": "no"}}}}
    ).signed.params  # fmt: skip
    made = {name: sent_value(value, {}, secret, at) for name, value in spec.items()}
    assert made["a"] == "2026-11-25 14:32:05" and made["b"] == str(int(at.timestamp())) and made["d"] == "true"
    assert made["e"] is None and made["c"] == made["c"].upper() and len(made["c"]) == 36


async def test_a_signed_form_carries_its_parameters_and_signature(make: Any) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    signed = {
        "algorithm": "hmac_sha256", "key": "app_secret", "params": {"app": {"config": "app_id"}}, "send": "form",
        "over": [{"request": "body"}], "digest": "base64", "to": {"header": "X-Sign"},
    }  # fmt: skip
    adapter = make(handler, auth={"signed": signed})
    await adapter.call.send("POST", "/order", form={"n": 1, "flag": False, "none": None})
    assert dict(parse_qsl(seen[0].content.decode())) == {"n": "1", "flag": "false", "app": "app-7"}

    assert (
        seen[0].headers["X-Sign"] == base64.b64encode(hmac.digest(b"shhh-secret", seen[0].content, "sha256")).decode()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithm": "md5", "key": "app_secret", "over": ["x"], "to": {"query": "s"}},
        {"algorithm": "hmac_md5", "over": ["x"], "to": {"query": "s"}},
        {"algorithm": "md5", "over": [], "to": {"query": "s"}},
        {"algorithm": "md5", "over": [{"text": "a", "secret": "b"}], "to": {"query": "s"}},
        {"algorithm": "md5", "over": ["x"], "to": {"query": "s", "form": "s"}},
        {"algorithm": "crc", "over": ["x"], "to": {"query": "s"}},
    ],
)
def test_a_signature_that_makes_no_sense_does_not_load(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        signing(**wrong)


def test_a_secret_that_nobody_declared_does_not_load() -> None:
    raw = {
        "schema": 1, "id": "x1", "title": "x", "family": "other", "capabilities": [],
        "auth": {"token": {"post": "/t", "read": "a", "basic": {"user": {"secret": "u"}, "password": {"secret": "p"}}}},
    }  # fmt: skip
    with pytest.raises(ValidationError, match="declare under config as secret: p, u"):
        Manifest.model_validate(raw)


async def test_a_200_that_says_no_is_an_error_with_its_code(make: Any) -> None:
    answers = iter(
        [
            {"success": True, "result": 1},
            {"success": False, "resultCode": "3008", "resultMessage": "无货"},
            {"success": False, "resultCode": "5001", "resultMessage": "忙"},
            {"success": True},
            {"success": "true"},
        ]
    )
    adapter = make(
        lambda _: httpx.Response(200, json=next(answers)),
        envelope={"ok": "success"}, error_code="resultCode", error_text="resultMessage",
        errors=[{"code": "3008", "raise": "OutOfStock"}, {"code": "5001", "raise": "Retry"}],
    )  # fmt: skip
    assert (await adapter.call.get("/a")).json(adapter.manifest)["result"] == 1
    with pytest.raises(OutOfStock, match="无货"):
        await adapter.call.send("POST", "/b", {})
    assert (await adapter.call.get("/c")).status == 200, "a Retry of the envelope is tried again"
    with pytest.raises(Exception, match="answered 200"):
        await adapter.call.send("POST", "/d", {})


async def test_graphql_errors_are_told_by_their_absence(make: Any) -> None:
    answers = iter([{"data": {}}, {"errors": [{"message": "denied", "extensions": {"code": "FORBIDDEN"}}]}])
    adapter = make(
        lambda _: httpx.Response(200, json=next(answers)),
        envelope={"ok": "!errors"}, error_code="errors[0].extensions.code", error_text="errors[0].message",
        errors=[{"code": "FORBIDDEN", "raise": "Misconfigured"}],
    )  # fmt: skip
    await adapter.call.ask("POST", "/graphql", {"query": "{a}"})
    with pytest.raises(Misconfigured, match="denied"):
        await adapter.call.ask("POST", "/graphql", {"query": "{a}"})


async def test_a_used_up_quota_pauses_until_it_fills_again(make: Any) -> None:
    left = iter(["3", "1", "9"])
    adapter = make(
        lambda _: httpx.Response(200, json={}, headers={"X-Left": next(left), "X-Reset": "0.3"}),
        http={"quota": {"remaining": "X-Left", "reset": "X-Reset", "keep": 1}},
    )
    await adapter.call.get("/a")
    await adapter.call.get("/b")
    started = time.monotonic()
    await adapter.call.get("/c")
    assert time.monotonic() - started >= 0.29


async def test_a_budget_is_spent_freely_and_then_waited_for() -> None:
    guard = Guard("x", rate=None, burst=1, concurrency=4, budget=(3, 0.3))
    started = time.monotonic()
    for _ in range(3):
        async with guard.seat(5):
            pass
    assert time.monotonic() - started < 0.1
    async with guard.seat(5):
        pass
    assert time.monotonic() - started >= 0.29
    guard = Guard("x", rate=None, burst=1, concurrency=4, budget=(1, 3600))
    async with guard.seat(5):
        pass
    with pytest.raises(Retry) as refused:
        async with guard.seat(5):
            pass
    assert refused.value.after > 3000


async def test_points_are_waited_for_as_the_vendor_restores_them() -> None:
    points = Points()
    await points.take(5000)  # unknown: the first query finds out
    points.told(available=10, restore_per_s=100, maximum=50)
    started = time.monotonic()
    await points.take(10)
    await points.take(20)
    assert 0.15 <= time.monotonic() - started < 1
    await points.take(500)  # dearer than the bucket is deep: a full bucket must do
