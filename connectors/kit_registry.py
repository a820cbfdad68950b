"""The register of the contract kit's checks, and how one of them is run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from connectors import manifest
from connectors.contracts import Capability
from connectors.kit import CheckResult, SystemKit, kit_of
from connectors.kit_stage import KitFailure, must
from hub.kernel.errors import HubError

Check = Callable[[SystemKit], Awaitable[None]]
CHECKS: dict[str, tuple[Check, Capability | None]] = {}


def promise(capability: Capability | None = None) -> Callable[[Check], Check]:
    """Register a check; it is skipped for connectors without `capability`."""

    def register(check: Check) -> Check:
        CHECKS[check.__name__] = (check, capability)
        return check

    return register


async def run(folder: Path, name: str) -> CheckResult:
    """One check on one system, as a result."""
    check, capability = CHECKS[name]
    try:
        declared = manifest.load(folder)
    except HubError as error:
        return CheckResult(name, "failed", str(error))
    if name in declared.waive:
        return CheckResult(name, "waived", declared.waive[name])
    if capability is not None and capability not in declared.capabilities:
        return CheckResult(name, "skipped", f"not among its capabilities: {capability}")
    try:
        async with asyncio.timeout(60):
            await check(kit_of(folder))
    except Exception as error:
        return CheckResult(name, "failed", f"{type(error).__name__}: {error}")
    return CheckResult(name, "passed")


async def raises(kind: type[HubError], work: Awaitable[Any]) -> None:
    """Fail unless `work` raises exactly this kind of error, and soon."""
    started = time.monotonic()
    try:
        await work
    except kind:
        must(time.monotonic() - started < 30, f"{kind.__name__} took too long")
        return
    except HubError as error:
        raise KitFailure(f"{kind.__name__} was due, {type(error).__name__} came: {error}") from error
    raise KitFailure(f"{kind.__name__} was due, nothing was raised")
