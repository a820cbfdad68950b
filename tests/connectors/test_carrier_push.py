"""Pushes that carriers' systems sign with HMAC-SHA256."""

from __future__ import annotations

import base64
import hmac

import pytest
from pydantic import SecretStr

from connectors import base, manifest
from connectors.carrier_push.adapter import Adapter
from connectors.carrier_push.sandbox import HEADER, PREFIX, SIGNED_WITH, PusherSandbox
from hub.kernel.errors import Misconfigured, NotFound, Unauthorized


def account(secret: str = SIGNED_WITH, **config: str) -> Adapter:
    hidden = {"secret": SecretStr(secret)} if secret else {}
    made = base.build(manifest.HOME / "carrier_push", {"carrier": "EasyPost ", "prefix": PREFIX, **config}, hidden)
    assert isinstance(made, Adapter)
    return made


def test_only_signed_bytes_are_believed() -> None:
    adapter, good = account(), PusherSandbox.push(b'{"a": 1}')
    assert adapter.source == "easypost"
    first = adapter.called({name.upper(): value for name, value in good.headers.items()}, good.body)
    assert first == adapter.called(good.headers, good.body)
    mac = good.headers[HEADER].removeprefix(PREFIX)
    for signature in (
        "",
        mac,
        PREFIX,
        PREFIX + mac[::-1],
        PREFIX + mac[:-2],
        PREFIX + "zz",
        PREFIX + "\u2603",
        PREFIX + mac + "0",
    ):
        with pytest.raises(Unauthorized):
            adapter.called({HEADER: signature}, good.body)
    with pytest.raises(Unauthorized):
        adapter.called(good.headers, good.body + b" ")
    with pytest.raises(Unauthorized):
        adapter.called({}, good.body)
    with pytest.raises(Unauthorized):
        adapter.called(PusherSandbox.push(good.body, "another secret").headers, good.body)
    with pytest.raises(NotFound):
        account(secret="").called(good.headers, good.body)


def test_two_secrets_are_believed_during_a_rotation_and_other_ways_to_write_it() -> None:
    body = b"<tracking/>"
    both = account(secret=f"newer,{SIGNED_WITH}")
    for secret in ("newer", SIGNED_WITH):
        assert both.called(PusherSandbox.push(body, secret).headers, body).external_id
    mac = base64.b64encode(hmac.digest(SIGNED_WITH.encode(), body, "sha256")).decode()
    assert account(header="aftership-hmac-sha256", prefix="", encoding="base64").called(
        {"Aftership-Hmac-SHA256": mac}, body
    )


async def test_nobody_is_ever_called() -> None:
    with pytest.raises(Misconfigured):
        await account().call.get("/anything")
