"""A newcomer at a terminal brings a vendor to life by answering questions."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Sequence

import pytest
from rich.console import Console

from connectors import api as connectors
from connectors.kit_stage import reachable
from connectors.woocommerce.sandbox import WooSandbox
from hub.app import onboarding
from hub.kernel.db import Database, uow
from hub.kernel.errors import Rejected


class Person:
    """Answers by the first words of a question that fit; the rest as offered. A list is answered from one by one."""

    def __init__(self, **answers: str | bool | list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def _answer(self, question: str, default: str | bool) -> str | bool:
        self.asked.append(question)
        for part, answer in self.answers.items():
            if part in question:
                return answer.pop(0) if isinstance(answer, list) and answer else default if answer == [] else answer  # type: ignore[return-value]
        return default

    def text(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        return str(self._answer(question, default))

    def choose(self, question: str, choices: Sequence[str], default: str) -> str:
        answer = str(self._answer(question, default))
        assert answer in choices
        return answer

    def yes(self, question: str, default: bool) -> bool:
        return bool(self._answer(question, default))


@pytest.fixture
async def shop(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WooSandbox]:
    @contextlib.asynccontextmanager
    async def connected() -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(onboarding.runtime, "connected", connected)
    products = [{"sku": f"P{n}", "name": f"商品 {n}", "price": "9.90", "stock": 9} for n in range(30)]
    sandbox = WooSandbox([{"sku": "BAD", "name": "x", "price": "-1"}, *products])
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()


def person(shop: WooSandbox, **answers: str | bool | list[str]) -> Person:
    answered: dict[str, str | bool | list[str]] = {"name 供应商": "一家店", "对接系统": "woocommerce"}
    answered |= {"base_url": shop.base_url, **shop.credentials()}
    return Person(**{**answered, **answers})


async def status(connection_id: int) -> str:
    async with uow() as tx:
        return (await connectors.get_connection(tx, connection_id)).status


async def test_a_vendor_is_live_after_its_questions_are_answered(shop: WooSandbox) -> None:
    out = io.StringIO()
    answering = person(shop)
    connection = await onboarding.guide(answering, Console(file=out, width=140))
    said = out.getvalue()
    assert await status(connection) == "live"
    assert "✓ the vendor answers and its rows can be read" in said
    assert "商品 4" in said and "✗" in said and "BAD" in said
    assert not any(secret in said for secret in shop.credentials().values())


async def test_a_wrong_secret_is_told_and_asked_again_without_losing_the_rest(shop: WooSandbox) -> None:
    out = io.StringIO()
    right = shop.credentials()["consumer_secret"]
    answering = person(shop, consumer_secret=["cs_wrong_wrong", right], 修改设置=True)
    connection = await onboarding.guide(answering, Console(file=out, width=140))
    assert await status(connection) == "live"
    assert "(you can mend it)" in out.getvalue()
    assert len([q for q in answering.asked if "consumer_secret" in q]) == 2


async def test_somebody_who_breaks_off_keeps_a_draft(shop: WooSandbox) -> None:
    connection = await onboarding.guide(person(shop, 现在上线=False), Console(file=io.StringIO()))
    assert await status(connection) == "draft"
    again = await onboarding.guide(person(shop, 现在上线=False), Console(file=io.StringIO()), name="另一家")
    assert again != connection


async def test_a_system_that_is_not_there_is_said_at_once(shop: WooSandbox) -> None:
    with pytest.raises(Rejected, match="connector list"):
        await onboarding.guide(person(shop), Console(file=io.StringIO()), connector="sap")
