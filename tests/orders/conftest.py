"""The world that orders' tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors import api as connectors
from hub.kernel import clock, db
from hub.kernel.settings import reset_settings
from tests.orders.world import World, serving


@pytest.fixture
async def world(database: db.Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[World]:
    monkeypatch.setenv("SUPPLYHUB_CLOCK_FILE", str(tmp_path / "clock"))
    reset_settings()
    clock._read_at = -1.0
    async with serving() as client:
        made = World(client, tmp_path / "clock")
        monkeypatch.setattr(connectors, "open_connector", made.open_connector)
        monkeypatch.setattr(connectors, "get_connection", made.get_connection)
        yield made
    monkeypatch.undo()
    reset_settings()
