"""Fixtures of the catalogue's tests."""

from __future__ import annotations

import pytest

from catalog import ingest
from hub.kernel.db import Database
from tests.catalog.kit import Vendor


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, database: Database) -> Vendor:
    """The test plays the vendor behind every connection."""
    played = Vendor()
    monkeypatch.setattr(ingest.connectors, "open_connector", played.open)
    return played
