"""A book of played orders, a clock moved by hand, and fulfilment's routes behind the real web shell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fulfillment.web import routes
from hub.kernel import clock
from hub.kernel.db import Database
from hub.kernel.web import endpoint
from tests.fulfillment.kit import T0, Book


class Hand:
    """A clock that the test moves by hand."""

    def __init__(self) -> None:
        self.at: datetime = T0

    def forward(self, **parts: float) -> None:
        self.at += timedelta(**parts)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    moved = Hand()
    monkeypatch.setattr(clock, "now", lambda: moved.at)
    return moved


@pytest.fixture
def book(database: Database, monkeypatch: pytest.MonkeyPatch) -> Book:
    made = Book()
    made.install(monkeypatch)
    return made


@pytest.fixture
async def client(database: Database) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    for route in routes.all:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with TestClient(TestServer(app)) as made:
        yield made
