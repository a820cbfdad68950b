"""What the contract kit needs to try signed pushes of carriers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.base import Adapter as AnyAdapter
from connectors.carrier_push.adapter import Adapter
from connectors.carrier_push.sandbox import PREFIX, SIGNED_WITH, PusherSandbox
from connectors.kit import FixtureCheck, SystemKit
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import Unauthorized


class Kit(SystemKit):
    """The kit of an account at EasyPost."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return PusherSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        return {"carrier": "easypost", "prefix": PREFIX}, {"secret": SIGNED_WITH}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {"easypost_event.json": _is_believed_when_signed}


def _is_believed_when_signed(adapter: AnyAdapter, raw: bytes) -> None:
    assert isinstance(adapter, Adapter)
    delivery = PusherSandbox.push(raw)
    called = adapter.called(delivery.headers, delivery.body)
    assert adapter.source == "easypost" and called == adapter.called(delivery.headers, raw)
    try:
        adapter.called(delivery.headers, raw + b" ")
    except Unauthorized:
        return
    raise AssertionError("changed bytes were believed")
