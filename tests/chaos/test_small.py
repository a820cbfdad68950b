"""The fault tests at the size that the suite can afford. Those about a whole hub share one stage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.app.demo.scene import Scene
from hub.kernel.embedded import Embedded
from tests.chaos import (
    ground,
    idempotency,
    kill,
    lost_answer,
    outbox,
    push_kill,
    reconciling,
    reserve,
    signatures,
    stock_order,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300), pytest.mark.xdist_group("chaos")]


@pytest.fixture(scope="module")
async def databases(servers: Embedded) -> None:
    """Databases of their own on this process's server."""
    await ground.serve_from(servers.database_url)


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Scene]:
    async with ground.shared_stage() as made:
        yield made


def _kept(result: dict[str, Any]) -> None:
    """No promise was broken, and the control, where there is one, broke it."""
    assert result["violations"] == 0, result
    assert result.get("control_violations") != 0, f"the control saw nothing, so the test proves nothing: {result}"


async def test_eight_processes_after_the_same_stock_oversell_nothing(databases: None) -> None:
    result = await reserve.run(reserve.SMALL)
    _kept(result)
    assert result["refused"] > 0, "nothing was contended"


async def test_the_newest_report_stands_in_whatever_order_they_come(databases: None) -> None:
    _kept(await stock_order.run(stock_order.SMALL))


async def test_events_committed_out_of_sequence_are_neither_skipped_nor_doubled(databases: None) -> None:
    _kept(await outbox.run(outbox.SMALL))


async def test_no_altered_push_is_accepted_and_no_genuine_one_refused(databases: None) -> None:
    _kept(await signatures.run(signatures.SMALL))


async def test_every_drift_is_found_in_one_sweep_and_nothing_is_repaired(databases: None) -> None:
    _kept(await reconciling.run(reconciling.SMALL))


async def test_64_posts_of_one_key_have_one_effect_and_one_answer(stage: Scene) -> None:
    result = await idempotency.run(idempotency.SMALL)
    _kept(result)
    assert result["answered_409_first"] > 0, "no two posts met"


async def test_an_order_whose_answer_was_lost_is_not_bought_again(stage: Scene) -> None:
    result = await lost_answer.run(lost_answer.SMALL)
    _kept(result)
    assert result["answers_lost"] == lost_answer.SMALL


async def test_killed_processes_lose_and_double_no_pushed_stock(stage: Scene) -> None:
    result = await push_kill.run(push_kill.SMALL)
    _kept(result)
    assert result["kills"] >= 3


async def test_killed_processes_lose_and_double_no_order(stage: Scene) -> None:
    result = await kill.run(kill.SMALL)
    _kept(result)
    assert result["kills"] >= 3
