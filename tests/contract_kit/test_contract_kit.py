"""The inherited contract kit: every check, on every system found under connectors/, so that none can be forgotten."""

from __future__ import annotations

import pytest

from connectors import kit, kit_registry, manifest


@pytest.mark.parametrize("check", sorted(kit.checks()))
@pytest.mark.parametrize("system", manifest.systems())
async def test_every_connector_keeps_its_promises(system: str, check: str) -> None:
    result = await kit_registry.run(manifest.HOME / system, check)
    if result.outcome in ("waived", "skipped"):
        pytest.skip(f"{result.outcome}: {result.detail}")
    assert result.outcome == "passed", result.detail
