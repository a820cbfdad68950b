"""A Kuaidi100 account at its stand-in, and the carriers' routes behind the real web shell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from connectors import api as connectors
from connectors import guards
from connectors.kit_stage import reachable
from connectors.kuaidi100.sandbox import CUSTOMER, KEY, SALT, KuaidiSandbox
from fulfillment.carriers_web import routes
from hub.app.wiring import FLOW
from hub.kernel import events, keys
from hub.kernel.db import Database, uow
from hub.kernel.web import application


class Account:
    """A live account, and the server that it is at."""

    def __init__(self, sandbox: KuaidiSandbox, connection_id: int) -> None:
        self.sandbox = sandbox
        self.id = connection_id


@pytest.fixture
async def account(database: Database) -> AsyncIterator[Account]:
    sandbox = KuaidiSandbox()
    await sandbox.start()
    with reachable(sandbox):
        async with uow() as tx:
            vendor = await connectors.add_vendor(tx, "快递100")
            made = await connectors.add_connection(
                tx,
                vendor_id=vendor,
                connector="kuaidi100",
                name="account",
                config={"base_url": sandbox.base_url, "customer": CUSTOMER, "callback_url": "http://hub.example/v1"},
                secrets={"key": KEY, "salt": SALT},
            )
        yield Account(sandbox, made)
    await sandbox.stop()
    guards.forget()


@pytest.fixture
async def web(database: Database) -> AsyncIterator[TestClient[Any, Any]]:
    app = application(routes.all, body_limit=8 * 2**20)
    async with TestClient(TestServer(app)) as made:
        yield made


@pytest.fixture
async def staff(database: Database) -> dict[str, str]:
    async with uow() as tx:
        return {"Authorization": f"Bearer {await keys.create_key(tx, 'staff', None, 'staff')}"}


async def work() -> None:
    """What the workers do with events."""
    await events.drain(FLOW, width=1)
