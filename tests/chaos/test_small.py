"""The fault tests at the size that the suite can afford."""

from __future__ import annotations

import pytest

from tests.chaos import kill

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


async def test_killed_processes_lose_and_double_no_order() -> None:
    result = await kill.run(120)
    assert result["kills"] >= 3
    assert result["violations"] == 0, result
