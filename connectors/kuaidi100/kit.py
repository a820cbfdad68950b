"""What the contract kit needs to try the Kuaidi100 connector."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from connectors import base, manifest
from connectors.answers import Refused
from connectors.base import Adapter as AnyAdapter
from connectors.contracts import ShipmentStatus
from connectors.kit import FixtureCheck, SystemKit
from connectors.kuaidi100.adapter import Adapter
from connectors.kuaidi100.sandbox import CUSTOMER, KEY, PHONE, SALT, KuaidiSandbox
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import NotFound


class Kit(SystemKit):
    """The kit of an account."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return KuaidiSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """An account whose callbacks come to an address of the documentation's own."""
        config = {"base_url": sandbox.base_url, "customer": CUSTOMER, "callback_url": "http://hub.example/v1"}
        return config, {"key": KEY, "salt": SALT, "phone": PHONE}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Answers as the documentation and its readers show them."""
        return {
            "poll_accepted.json": lambda a, raw: _subscribes(a, raw, again=False),
            "poll_repeated.json": lambda a, raw: _subscribes(a, raw, again=True),
            "poll_unsupported.json": _is_refused,
            "query_none.json": _knows_nothing,
            "query_ok.json": _is_tracked,
            "query_phone.json": _wants_a_phone,
        }


def _answering(adapter: AnyAdapter, raw: bytes) -> Adapter:
    """The adapter at a server that answers `raw` to everything."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=raw))
    http = httpx.AsyncClient(transport=transport)
    made = base.build(manifest.HOME / "kuaidi100", adapter.config, adapter.secrets, http, connection_id="fixture")
    assert isinstance(made, Adapter)
    return made


async def _subscribes(adapter: AnyAdapter, raw: bytes, *, again: bool) -> None:
    assert (await _answering(adapter, raw).subscribe("yuantong", "YT1234567890123")).again is again


async def _is_refused(adapter: AnyAdapter, raw: bytes) -> None:
    try:
        await _answering(adapter, raw).subscribe("shunfen", "SF1234567890123")
    except Refused as refused:
        assert refused.code == "700"
    else:
        raise AssertionError("a carrier that it does not know was taken")


async def _knows_nothing(adapter: AnyAdapter, raw: bytes) -> None:
    """Nothing known is no error of a vendor: the parcel may be new."""
    assert await _answering(adapter, raw).track("yuantong:YT1234567890123") == ()
    try:
        await _answering(adapter, raw).query("yuantong", "YT1234567890123")
    except NotFound:
        return
    raise AssertionError("nothing known passed for something")


async def _wants_a_phone(adapter: AnyAdapter, raw: bytes) -> None:
    try:
        await _answering(adapter, raw).query("shunfeng", "SF1234567890123")
    except Refused as refused:
        assert refused.code == "phone_needed" and "phone" in refused.detail
    else:
        raise AssertionError("a parcel was told of without the phone number that its carrier wants")


async def _is_tracked(adapter: AnyAdapter, raw: bytes) -> None:
    [update] = await _answering(adapter, raw).track("yuantong:YT1234567890123")
    assert (update.status, update.raw_status) == (ShipmentStatus.DELIVERED, "301")
    assert update.at == datetime(2026, 5, 3, 2, 34, 33, tzinfo=UTC)
    assert (update.carrier, update.tracking_no) == ("yuantong", "YT1234567890123")
