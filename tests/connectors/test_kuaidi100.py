"""Kuaidi100: parcels followed and asked for, phone numbers that carriers want, callbacks that prove themselves."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.answers import Refused
from connectors.contracts import ShipmentStatus
from connectors.kit_stage import reachable
from connectors.kuaidi100.adapter import Adapter
from connectors.kuaidi100.sandbox import CUSTOMER, KEY, PHONE, SALT, KuaidiSandbox
from connectors.sandbox_kit import Faults
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry, Unauthorized

NUMBER = "YT1234567890123"


def account(sandbox: KuaidiSandbox | None = None, **secrets: str) -> Adapter:
    config = {"customer": CUSTOMER, "callback_url": "http://hub.example/v1/"}
    if sandbox is not None:
        config["base_url"] = sandbox.base_url
    held = {"key": KEY, "salt": SALT, **secrets}
    hidden = {name: SecretStr(value) for name, value in held.items() if value}
    made = base.build(manifest.HOME / "kuaidi100", config, hidden, connection_id=7)
    assert isinstance(made, Adapter)
    return made


@pytest.fixture
async def sandbox() -> AsyncIterator[KuaidiSandbox]:
    made = KuaidiSandbox(Faults())
    await made.start()
    with reachable(made):
        yield made
    await made.stop()
    guards.forget()


async def test_a_parcel_is_followed_with_all_that_a_callback_needs(sandbox: KuaidiSandbox) -> None:
    adapter = account(sandbox)
    assert not (await adapter.subscribe("yuantong", f" {NUMBER} ")).again
    said = sandbox.followed["yuantong", NUMBER]
    assert said["callbackurl"] == "http://hub.example/v1/push/carriers/kuaidi100?connection=7"
    assert (said["salt"], said["resultv2"], said["autoCom"]) == (SALT, "4", "0")
    assert (await adapter.subscribe("yuantong", NUMBER)).again  # 501 is no failure
    await adapter.subscribe("", "NOBODYKNOWSWHOSE1")
    assert sandbox.followed["", "NOBODYKNOWSWHOSE1"]["autoCom"] == "1"
    await adapter.aclose()


async def test_a_lost_answer_to_a_subscription_is_asked_again(sandbox: KuaidiSandbox) -> None:
    sandbox.faults.lose_answer = 1
    adapter = account(sandbox)
    assert (await adapter.subscribe("yuantong", NUMBER)).again
    assert len(sandbox.followed) == 1
    await adapter.aclose()


async def test_a_carrier_that_wants_a_phone_number_says_so_clearly(sandbox: KuaidiSandbox) -> None:
    bare, with_phone = account(sandbox), account(sandbox, phone=PHONE[-4:])
    for asked in (bare.subscribe("shunfeng", "SF1234567890123"), bare.query("shunfeng", "SF1234567890123")):
        with pytest.raises(Refused) as refused:
            await asked
        assert refused.value.code == "phone_needed"
        assert "set `phone`" in refused.value.detail
    await with_phone.subscribe("shunfeng", "SF1234567890123")
    await with_phone.subscribe("zhongtong", "73111111111111", phone=PHONE)  # the parcel's own goes before the account's
    assert sandbox.followed["zhongtong", "73111111111111"]["phone"] == PHONE
    for adapter in (bare, with_phone):
        await adapter.aclose()


async def test_parcels_that_cannot_be_followed_and_wrong_keys_are_told_apart(sandbox: KuaidiSandbox) -> None:
    adapter, wrong = account(sandbox), account(sandbox, key="another-key-00000")
    with pytest.raises(Refused):
        await adapter.subscribe("nobody", NUMBER)
    for number in ("12345", "1" * 33):
        with pytest.raises(Refused):
            await adapter.subscribe("yuantong", number)
    with pytest.raises(Misconfigured):
        await wrong.subscribe("yuantong", NUMBER)
    with pytest.raises(Misconfigured):
        await wrong.query("yuantong", NUMBER)
    for each in (adapter, wrong):
        await each.aclose()


async def test_a_parcel_is_asked_for_and_nothing_known_is_no_error(sandbox: KuaidiSandbox) -> None:
    adapter = account(sandbox)
    with pytest.raises(NotFound):
        await adapter.query("yuantong", NUMBER)
    assert await adapter.track(f"yuantong:{NUMBER}") == ()
    assert await adapter.track("nonsense") == ()
    sandbox.scan("yuantong", NUMBER, "2026-05-02 09:00:00", "5", "派件中")
    sandbox.scan("yuantong", NUMBER, "2026-05-01 09:00:00", "103", "已揽收")
    assert json.loads(await adapter.query("yuantong", NUMBER))["state"] == "5"
    [update] = await adapter.track(f"yuantong:{NUMBER}")
    assert (update.status, update.tracking_no) == (ShipmentStatus.OUT_FOR_DELIVERY, NUMBER)
    assert update.at.isoformat() == "2026-05-02T09:00:00+08:00"
    await adapter.aclose()


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(throttle=9, retry_after_s=900), Retry),
        (Faults(deny=True), Misconfigured),
        (Faults(garbage=9), Broken),
        (Faults(truncate=9), Broken),
    ],
)
async def test_failures_mean_what_they_are_and_show_no_secret(
    sandbox: KuaidiSandbox, faults: Faults, kind: type[HubError]
) -> None:
    sandbox.faults = faults
    sandbox.scan("yuantong", NUMBER, "2026-05-02 09:00:00", "5", "派件中")
    adapter = account(sandbox, phone=PHONE)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(kind) as failed:
            await adapter.query("yuantong", NUMBER)
    finally:
        logging.getLogger().removeHandler(handler)
    shown = f"{failed.value!r} {failed.value.__cause__!r} {adapter!r} {adapter.__dict__!r} {stream.getvalue()}"
    assert not any(secret in shown for secret in (KEY, SALT, PHONE))
    await adapter.aclose()


async def test_one_outage_is_ridden_out(sandbox: KuaidiSandbox) -> None:
    sandbox.faults.unavailable = 1
    adapter = account(sandbox)
    await adapter.subscribe("yuantong", NUMBER)
    await adapter.aclose()


def form(param: str, sign: str | None = None, salt: str = SALT) -> bytes:
    made = hashlib.md5((param + salt).encode()).hexdigest().upper()
    return urlencode({"sign": made if sign is None else sign, "param": param}).encode()


def test_only_signed_callbacks_are_believed() -> None:
    adapter = account()
    delivery = KuaidiSandbox().callback("yuantong", NUMBER)
    called = adapter.called({}, delivery.body)
    assert (called.carrier, called.number, called.ended) == ("yuantong", NUMBER, "")
    good = form('{"a": 1}')
    forged: list[bytes] = [
        b"", b"param=1", b"sign=ABC", b"\xff\xfe", form('{"a": 1}', ""), form('{"a": 1}', "A" * 32),
        form('{"a": 1}', "\u2603"),
        form('{"a": 1}', salt="another-salt"), good + b"%20", good + b"&param=2", good + b"&sign=2", b'{"param": "x"}',
        good.replace(b"a", b"b"), b"&".join(b"x=1" for _ in range(500)), good[: len(good) // 2],
    ]  # fmt: skip
    for body in forged:
        with pytest.raises(Unauthorized):
            adapter.called({}, body)
    adapter.called({}, good)
    lower = hashlib.md5(('{"a": 1}' + SALT).encode()).hexdigest()
    adapter.called({}, form('{"a": 1}', lower))  # the case of its letters carries nothing
    with pytest.raises(NotFound):
        account(salt="").called({}, good)


def test_a_rotated_salt_is_believed_and_the_newest_one_sent() -> None:
    adapter = account(salt=f"newer-salt-1,{SALT}")
    adapter.called({}, form("{}", salt="newer-salt-1"))
    adapter.called({}, form("{}", salt=SALT))
    with pytest.raises(Misconfigured):
        account(salt="short")


def test_a_callback_is_recognised_by_what_it_says() -> None:
    box, adapter = KuaidiSandbox(), account()
    box.scan("yuantong", NUMBER, "2026-05-01 09:00:00", "103", "已揽收")
    first = adapter.called({}, box.callback("yuantong", NUMBER).body)
    assert adapter.called({}, box.callback("yuantong", NUMBER).body) == first
    box.scan("yuantong", NUMBER, "2026-05-02 09:00:00", "301", "已签收")
    second = adapter.called({}, box.callback("yuantong", NUMBER).body)
    assert second.external_id != first.external_id and second.ended == "shutdown"
    lost = adapter.called({}, box.callback("yuantong", NUMBER, status="abort", message="3天查询无记录").body)
    assert (lost.ended, lost.message) == ("abort", "3天查询无记录")


@pytest.mark.parametrize("param", ["", "null", "[]", '"x"', '{"lastResult": 5}', '{"lastResult": {"nu": ["x"]}}', "{"])
def test_signed_nonsense_is_a_callback_about_nothing(param: str) -> None:
    called = account().called({}, form(param))
    assert called.carrier == "" and called.ended == ""


@pytest.mark.parametrize("told", [[], "x", {"message": "ok"}, {"status": None}])
async def test_answers_outside_the_protocol_are_broken(told: Any) -> None:
    import httpx

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=told))
    adapter = base.build(
        manifest.HOME / "kuaidi100",
        {"customer": CUSTOMER, "callback_url": "http://hub.example/v1"},
        {"key": SecretStr(KEY), "salt": SecretStr(SALT)},
        httpx.AsyncClient(transport=transport),
        connection_id=f"told-{told}",
    )
    assert isinstance(adapter, Adapter)
    with pytest.raises(Broken):
        await adapter.query("yuantong", NUMBER)
