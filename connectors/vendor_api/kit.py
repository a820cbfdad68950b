"""What the contract kit needs to try this connector: it speaks to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from connectors.kit import FixtureCheck, SystemKit
from connectors.sandbox_kit import Faults, Sandbox


class _Nobody(Sandbox):
    """A server without routes."""

    def routes(self, app: web.Application) -> None:
        """None."""


class Kit(SystemKit):
    """The kit of the vendors' own reports."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return _Nobody(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        return {}, {}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {}
