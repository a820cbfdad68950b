"""Outgoing webhooks: told in the transaction, signed as the specification says, sent until they are taken, and nobody's
trouble is anybody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from hub.kernel import clock, db, webhook_lanes, webhooks
from hub.kernel.errors import Conflict, Rejected
from hub.kernel.settings import reset_settings
from hub.kernel.store import webhooks as store

MALL = "mall:7"


class Receiver:
    """A mall's server: keeps what came and answers as told."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[int], Any] = lambda _n: 204
        self.hang = asyncio.Event()
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(({k.lower(): v for k, v in request.headers.items()}, body))
        answer = self.answer(len(self.seen))
        if answer == "hang":
            await self.hang.wait()
            answer = 204
        if isinstance(answer, web.Response):
            return answer
        return web.Response(status=answer, text="" if answer == 204 else "no thanks")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]


@contextlib.asynccontextmanager
async def receiving(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> AsyncIterator[list[Receiver]]:
    made: list[Receiver] = []
    runners: list[web.AppRunner] = []
    try:
        for _ in range(count):
            receiver = Receiver()
            app = web.Application()
            app.router.add_post("/hook", receiver.handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            receiver.port = runner.addresses[0][1]
            made.append(receiver)
            runners.append(runner)
        monkeypatch.setenv("SUPPLYHUB_EGRESS_ALLOW", ",".join(f"127.0.0.1:{r.port}" for r in made))
        reset_settings()
        yield made
    finally:
        for receiver in made:
            receiver.hang.set()
        await webhook_lanes.stop()
        for runner in runners:
            await runner.cleanup()
        reset_settings()


async def endpoint(url: str, tenant: str = MALL, types: list[str] | None = None) -> tuple[uuid.UUID, str]:
    async with db.uow() as tx:
        return await webhooks.add_endpoint(tx, tenant, url, types or [], "")


async def tell(count: int = 1, tenant: str = MALL, kind: str = "order.updated") -> None:
    for number in range(count):
        async with db.uow() as tx:
            await webhooks.announce(tx, tenant, kind, {"order_id": f"ord_{number}"})


async def due_now() -> None:
    """As if the pauses were over."""
    async with db.uow() as tx:
        await tx.run("UPDATE webhook_sendings SET due_at = now() - interval '1 second' WHERE state = 0")
        await tx.run("UPDATE webhook_endpoints SET hold_until = NULL")


async def row(query: str, *args: Any) -> Any:
    async with db.uow() as tx:
        return await tx.fetchrow(query, *args)


async def states() -> dict[int, int]:
    async with db.uow() as tx:
        rows = await tx.fetch("SELECT state, count(*) AS n FROM webhook_sendings GROUP BY state")
    return {r["state"]: r["n"] for r in rows}


async def test_a_message_arrives_once_and_its_signature_holds(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        _, secret = await endpoint(receiver.url)
        await tell()
        await webhook_lanes.drain()
        await webhook_lanes.drain()
        [(headers, body)] = receiver.seen
        said = Webhook(secret).verify(body, headers)
        assert said["type"] == "order.updated" and said["data"] == {"order_id": "ord_0"}
        assert headers["webhook-id"].startswith("msg_") and headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body.replace(b"ord_0", b"ord_1"), headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(webhooks.new_secret()).verify(body, headers)
    assert await states() == {store.DELIVERED: 1}


async def test_what_is_rolled_back_is_told_to_nobody(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(monkeypatch) as [receiver]:
        await endpoint(receiver.url)
        with pytest.raises(RuntimeError):
            async with db.uow() as tx:
                await webhooks.announce(tx, MALL, "order.updated", {})
                raise RuntimeError("changed my mind")
        await webhook_lanes.drain()
        assert receiver.seen == []


async def test_everybody_is_told_what_is_theirs_and_what_they_asked_for(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch, 3) as [all_, some, other]:
        await endpoint(all_.url)
        await endpoint(some.url, types=["shipment.updated"])
        await endpoint(other.url, tenant="mall:8")
        await tell(2)
        await tell(1, kind="shipment.updated")
        await webhook_lanes.drain()
        assert (len(all_.seen), len(some.seen), len(other.seen)) == (3, 1, 0)
        with pytest.raises(ValueError, match="no message type"):
            await tell(1, kind="order.exploded")


async def test_what_is_not_taken_comes_again_with_the_same_id_and_bytes(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, _ = await endpoint(receiver.url)
        receiver.answer = lambda n: 500 if n < 3 else 200
        await tell()
        await webhook_lanes.drain()
        assert len(receiver.seen) == 1, "an endpoint that fails is left alone for a while"
        waiting = await row(
            "SELECT attempts, status, error, due_at > now() + interval '4 s' AS later FROM webhook_sendings"
        )
        assert dict(waiting) == {"attempts": 1, "status": 500, "error": "no thanks", "later": True}
        for _ in range(3):
            await due_now()
            await webhook_lanes.drain()
        assert (
            len(receiver.seen) == 3 and len(set(receiver.ids())) == 1 and len({body for _, body in receiver.seen}) == 1
        )
        well = await row("SELECT failures, failing_since, state FROM webhook_endpoints WHERE id = $1", made)
        assert dict(well) == {"failures": 0, "failing_since": None, "state": "active"}


async def test_after_the_last_pause_it_has_failed_and_can_be_sent_again(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, _ = await endpoint(receiver.url)
        receiver.answer = lambda _n: 503
        await tell()
        for _ in range(len(webhook_lanes.LADDER) + 3):
            await due_now()
            await webhook_lanes.drain()
        assert len(receiver.seen) == len(webhook_lanes.LADDER) + 1 and await states() == {store.FAILED: 1}
        receiver.answer = lambda _n: 200
        await due_now()
        since = clock.now() - timedelta(hours=1)
        async with db.uow() as tx:
            assert await store.replay(tx, MALL, made, since, clock.now() + timedelta(seconds=1), False, 10) == 1
            assert await store.replay(tx, "mall:8", made, since, clock.now() + timedelta(seconds=1), True, 10) == 0
        await webhook_lanes.drain()
        assert await states() == {store.DELIVERED: 1} and len(set(receiver.ids())) == 1


async def test_gone_is_gone_until_somebody_says_otherwise(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, _ = await endpoint(receiver.url)
        receiver.answer = lambda _n: 410
        await tell(1)
        await webhook_lanes.drain()
        await tell(2)
        await due_now()
        await webhook_lanes.drain()
        assert len(receiver.seen) == 1
        off = await row("SELECT state, reason FROM webhook_endpoints")
        assert off["state"] == "disabled" and "410" in off["reason"]
        assert await row("SELECT 1 FROM audit WHERE action = 'webhook.disabled'")
        receiver.answer = lambda _n: 200
        async with db.uow() as tx:
            await store.change_endpoint(tx, made, {"state": "active", "reason": None})
            window = (clock.now() - timedelta(hours=1), clock.now() + timedelta(seconds=1))
            assert await store.replay(tx, MALL, made, *window, False, 10) == 2, "what was told meanwhile was kept"
        await due_now()
        await webhook_lanes.drain()
        assert await states() == {store.DELIVERED: 3}


async def test_nothing_taken_for_five_days_switches_it_off(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        await endpoint(receiver.url)
        receiver.answer = lambda _n: 500
        await tell()
        await webhook_lanes.drain()
        async with db.uow() as tx:
            await tx.run("UPDATE webhook_endpoints SET failing_since = now() - interval '121 hours'")
        await due_now()
        await webhook_lanes.drain()
        assert (await row("SELECT state FROM webhook_endpoints"))["state"] == "disabled"


async def test_an_endpoint_that_hangs_holds_up_nobody_else(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch, 2) as [slow, quick]:
        await endpoint(slow.url)
        await endpoint(quick.url, tenant="mall:8")
        slow.answer = lambda _n: "hang"
        await tell(3)
        await tell(40, tenant="mall:8")
        while await webhook_lanes.send_due():
            pass
        async with asyncio.timeout(10):
            while len(quick.seen) < 40:
                await webhook_lanes.send_due()
                await asyncio.sleep(0.01)
            while len(webhook_lanes.lanes().running) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert len(slow.seen) == 3 and len(webhook_lanes.lanes().running) == 1


async def test_a_server_that_is_down_costs_one_call_a_visit(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        await endpoint(receiver.url)
        receiver.answer = lambda _n: 500
        await tell(1)
        await webhook_lanes.drain()
        await tell(20)
        await due_now()
        await webhook_lanes.drain()
        assert len(receiver.seen) == 2, "the second visit tried one message of twenty-one"
        receiver.answer = lambda _n: 200
        await due_now()
        await webhook_lanes.drain()
        assert await states() == {store.DELIVERED: 21}


async def test_retry_after_is_honoured(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(monkeypatch) as [receiver]:
        await endpoint(receiver.url)
        receiver.answer = lambda _n: web.Response(status=429, headers={"Retry-After": "600"})
        await tell()
        await webhook_lanes.drain()
        held = await row(
            "SELECT hold_until > now() + interval '590 s' AS held, "
            "(SELECT due_at FROM webhook_sendings) > now() + interval '590 s' AS later FROM webhook_endpoints"
        )
        assert held["held"] and held["later"]


async def test_redirects_are_not_followed(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(monkeypatch, 2) as [first, second]:
        await endpoint(first.url)
        first.answer = lambda _n: web.Response(status=307, headers={"Location": second.url})
        await tell()
        await webhook_lanes.drain()
        assert not second.seen
        assert "redirects are not followed" in (await row("SELECT error FROM webhook_sendings"))["error"]


async def test_a_worker_that_died_leaves_its_messages_to_the_next(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, _ = await endpoint(receiver.url)
        await tell(2)
        async with db.uow() as tx:
            assert len(await store.claim(tx, made, 10, 90)) == 2  # and then it dies
        await webhook_lanes.drain()
        assert not receiver.seen, "claimed by somebody who may still be sending"
        await due_now()
        await webhook_lanes.drain()
        assert len(receiver.seen) == 2


async def test_several_workers_send_each_message_once(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, _ = await endpoint(receiver.url)
        await tell(60)
        taken = await asyncio.gather(*(webhook_lanes.visit(made) for _ in range(4)))
        assert sum(taken) == 60 and len(receiver.seen) == len(set(receiver.ids())) == 60


async def test_a_new_secret_signs_beside_the_old_one_for_a_day(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        made, old = await endpoint(receiver.url)
        async with db.uow() as tx:
            new, until = await webhooks.rotate(tx, MALL, made)
        assert new != old and until > clock.now() + timedelta(hours=23)
        await tell()
        await webhook_lanes.drain()
        headers, body = receiver.seen[-1]
        assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)
        async with db.uow() as tx:
            await tx.run("UPDATE webhook_endpoints SET old_until = now()")
        await tell()
        await webhook_lanes.drain()
        headers, body = receiver.seen[-1]
        assert Webhook(new).verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(body, headers)


@pytest.mark.parametrize(
    "url",
    [
        "http://mall.example/hook", "https://127.0.0.1/hook", "https://10.0.0.5/", "https://[::1]/", "https://[fd00::1]/",
        "https://169.254.169.254/latest/meta-data", "https://2130706433/", "https://0x7f.1/", "ftp://mall.example/",
        "https://user:pass@mall.example/", "https://mall.example/#part", "//mall.example/", "mall.example", "https://",
    ],
)  # fmt: skip
def test_addresses_inside_or_unsafe_are_refused(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        webhooks.checked_url(url)
    assert refused.value.faults[0].pointer == "/url"


async def test_a_name_that_leads_inside_is_refused_when_it_is_sent(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as [receiver]:
        await endpoint("https://localhost/hook")
        await tell()
        await webhook_lanes.drain()
        error = (await row("SELECT error FROM webhook_sendings"))["error"]
        assert "no public address" in error and not receiver.seen


async def test_endpoints_are_few_even_for_those_who_add_at_once(database: db.Database) -> None:
    async def add(number: int) -> bool:
        try:
            await endpoint(f"https://mall.example/{number}")
        except Conflict:
            return False
        return True

    added = await asyncio.gather(*(add(n) for n in range(webhooks.MOST_ENDPOINTS + 5)))
    assert sum(added) == webhooks.MOST_ENDPOINTS


async def test_secrets_are_stored_encrypted(database: db.Database) -> None:
    made, secret = await endpoint("https://mall.example/hook")
    stored = await row("SELECT secret FROM webhook_endpoints WHERE id = $1", made)
    assert secret.encode() not in stored["secret"] and secret[6:].encode() not in stored["secret"]


async def test_old_messages_are_forgotten_with_their_sendings(database: db.Database) -> None:
    await endpoint("https://mall.example/hook")
    await tell(3)
    async with db.uow() as tx:
        await tx.run(
            "UPDATE webhook_messages SET created_at = now() - interval '31 days' WHERE body LIKE '%ord_0%'::bytea"
        )
        assert await store.forget(tx, webhooks.KEPT_DAYS, 100) == 1
    assert await states() == {store.PENDING: 2}
    assert json.loads((await row("SELECT body FROM webhook_messages LIMIT 1"))["body"])["type"] == "order.updated"
