"""A stage on an empty database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.kernel.db import Database
from tests.fulfillment.emergency.kit import Stage, stage


@pytest.fixture
async def played(database: Database) -> AsyncIterator[Stage]:
    async with stage() as made:
        yield made
