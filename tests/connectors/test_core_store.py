"""Vendors, connections, runs, the inbox and the quarantine on a real database."""

from __future__ import annotations

import asyncio
import base64
import hmac
from datetime import timedelta
from typing import Any

import orjson
import pytest
import structlog

from connectors import api, store
from connectors.contracts import BadRow, PushContent, ShipmentStatus
from connectors.runs import LEASE_S
from hub.kernel import clock, tasks
from hub.kernel.db import Database, Tx, uow
from hub.kernel.errors import Conflict, HubError, NotFound, Rejected, Unauthorized

SECRETS = {"consumer_key": "ck_shop_key", "consumer_secret": "cs_shop_secret", "webhook_secret": "hook_shop_secret"}
CONFIG = {"base_url": "https://shop.example"}
FIGURES = {
    "seen": 10,
    "created": 4,
    "updated": 3,
    "unchanged": 2,
    "quarantined": 1,
    "stock_seen": 0,
    "stock_changed": 0,
}


async def shop(name: str = "一家店", **changes: Any) -> int:
    async with uow() as tx:
        vendor = await api.add_vendor(tx, name)
        settings: dict[str, Any] = {"connector": "woocommerce", "name": "shop", "config": CONFIG, "secrets": SECRETS}
        return await api.add_connection(tx, vendor_id=vendor, **{**settings, **changes})


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Move the clock that transactions read."""
    real = clock.now
    offset = timedelta(0)

    def move(**by: float) -> None:
        nonlocal offset
        offset += timedelta(**by)

    monkeypatch.setattr(clock, "now", lambda: real() + offset)
    return move


# Vendors and connections --------------------------------------------------------------------------------------


async def test_a_connection_is_what_was_asked_for_and_shows_no_secret(database: Database) -> None:
    connection_id = await shop(role="reference", sync_every_s=60, defaults={"buffer": 1})
    async with uow() as tx:
        view = await api.get_connection(tx, connection_id)
        stored = await store.connection(tx, connection_id)
        assert await api.list_connections(tx) == [view] == await api.list_connections(tx, view.vendor_id)
        assert await api.list_connections(tx, view.vendor_id + 1) == []
        assert (await api.list_vendors(tx))[0]["connections"] == 1
        assert await api.vendor_name(tx, view.vendor_id) == "一家店"
        assert [due.connection_id for due in await api.due_connections(tx)] == [connection_id]
    assert (view.role, view.sync_every_s, view.defaults) == ("reference", 60, {"buffer": 1})
    assert view.capabilities == api.capabilities("woocommerce")
    assert stored is not None
    for value in SECRETS.values():
        assert value not in repr(view) and value.encode() not in stored["secrets"] and value not in repr(dict(stored))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"connector": "nobody"}, NotFound, "nobody"),
        ({"secrets": {}}, Rejected, "consumer_key"),
        ({"secrets": {**SECRETS, "pin": "1"}}, Rejected, "pin"),
        ({"config": {}}, Rejected, "base_url"),
        ({"config": {**CONFIG, "colour": 1}}, Rejected, "colour"),
        ({"config": {"base_url": "http://169.254.169.254/"}}, Rejected, "public"),
        ({"config": {"base_url": "http://127.0.0.1:5432"}}, Rejected, "public"),
        ({"config": {"base_url": "https://key:pw@shop.example"}}, Rejected, "credentials"),
        ({"config": {"base_url": "file:///etc/passwd"}}, Rejected, "https"),
        ({"sync_every_s": 0}, Rejected, "sync_every_s"),
    ],
)
async def test_a_wrong_connection_is_refused_in_words(
    database: Database, changes: dict[str, Any], error: type[HubError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await shop(**changes)
    async with uow() as tx:
        assert await api.list_connections(tx) == []


async def test_names_are_taken_once(database: Database) -> None:
    await shop()
    with pytest.raises(Conflict):
        await shop()
    async with uow() as tx:
        with pytest.raises(NotFound):
            await api.vendor_name(tx, 99)
        with pytest.raises(NotFound):
            await api.get_connection(tx, 99)


async def test_secrets_of_one_connection_open_no_other(database: Database) -> None:
    one, two = await shop("a"), await shop("b")
    async with uow() as tx:
        row = await store.connection(tx, one)
        assert row is not None
        await store.keep_secrets(tx, two, row["secrets"])
    with pytest.raises(HubError, match="altered or belongs elsewhere"):
        async with api.open_connector(two):
            pass


async def test_a_rotated_secret_is_used_from_then_on(database: Database) -> None:
    connection_id = await shop()
    async with uow() as tx:
        await api.rotate_secrets(tx, connection_id, {"consumer_secret": "cs_new"})
    async with api.open_connector(connection_id) as connector:
        assert connector.secret("consumer_secret") == "cs_new"
        assert connector.secret("consumer_key") == "ck_shop_key"


# Runs ---------------------------------------------------------------------------------------------------------


async def test_one_worker_pulls_a_connection_at_a_time(database: Database) -> None:
    connection_id = await shop()

    async def start() -> Any:
        async with uow() as tx:
            return await api.start_run(tx, connection_id, "full")

    outcomes = await asyncio.gather(*(start() for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(o, Conflict) for o in outcomes) == 7
    async with uow() as tx:
        assert await api.due_connections(tx) == []


async def test_an_abandoned_run_resumes_after_its_last_page(database: Database, later: Any) -> None:
    connection_id = await shop()
    async with uow() as tx:
        run = await api.start_run(tx, connection_id, "full")
        await api.save_progress(tx, run.id, cursor={"position": 2}, pages=1, figures=FIGURES)
    later(seconds=LEASE_S - 5)
    async with uow() as tx:
        with pytest.raises(Conflict):
            await api.start_run(tx, connection_id, "full")
        await api.save_progress(tx, run.id, cursor={"position": 3}, pages=2, figures=FIGURES)
    later(seconds=LEASE_S - 5)  # the saved page renewed the lease
    async with uow() as tx:
        with pytest.raises(Conflict):
            await api.start_run(tx, connection_id, "full")
    later(seconds=10)
    async with uow() as tx:
        assert [due.connection_id for due in await api.due_connections(tx)] == [connection_id]
        assert await api.next_sync_kind(tx, connection_id) == "full"
        again = await api.start_run(tx, connection_id, "full")
    assert (again.id, again.resumed, again.cursor, again.page_no) == (run.id, True, {"position": 3}, 2)
    assert (again.seen, again.created, again.quarantined) == (10, 4, 1)


async def test_a_run_that_was_taken_over_can_save_nothing(database: Database, later: Any) -> None:
    connection_id = await shop()
    async with uow() as tx:
        run = await api.start_run(tx, connection_id, "full")
    later(seconds=LEASE_S + 1)
    async with uow() as tx:
        newer = await api.start_run(tx, connection_id, "full")  # the first had no page: a new one begins
        assert newer.id != run.id and not newer.resumed
    async with uow() as tx:
        with pytest.raises(Conflict):
            await api.save_progress(tx, run.id, cursor=None, pages=1, figures=FIGURES)
        with pytest.raises(Conflict):
            await api.finish_run(tx, run.id, complete=True, unlisted=0, error=None)


async def test_a_failed_run_resumes_and_gives_up_after_three_tries(database: Database) -> None:
    connection_id = await shop()
    runs = []
    for _ in range(4):
        async with uow() as tx:
            run = await api.start_run(tx, connection_id, "full")
            await api.save_progress(tx, run.id, cursor={"position": 2}, pages=1, figures=FIGURES)
        async with uow() as tx:
            await api.finish_run(tx, run.id, complete=False, unlisted=0, error="page 2 came again")
        runs.append((run.id - (runs[0][0] if runs else run.id), run.resumed))
    assert [resumed for _, resumed in runs] == [False, True, True, False]


async def test_failures_wait_longer_each_time_and_never_less_than_asked(database: Database, later: Any) -> None:
    connection_id = await shop(sync_every_s=100_000)
    waits = []
    for retry_after in (None, None, None, 5000.0):
        async with uow() as tx:
            run = await api.start_run(tx, connection_id, "full")
            await api.finish_run(tx, run.id, complete=False, unlisted=0, error="down", retry_after=retry_after)
        async with uow() as tx:
            row = await store.connection(tx, connection_id)
            assert row is not None
            waits.append((row["next_sync_at"] - tx.now).total_seconds())
    assert waits[0] < waits[1] < waits[2] < 300 and waits[3] > 4990


async def test_a_complete_pull_is_due_again_in_time_and_increments_start_where_it_began(
    database: Database, later: Any
) -> None:
    connection_id = await shop(sync_every_s=600)
    async with uow() as tx:
        assert await api.next_sync_kind(tx, connection_id) == "full"
        began = tx.now
        run = await api.start_run(tx, connection_id, "full")
        assert run.cursor is None
    later(seconds=50)
    async with uow() as tx:
        await api.finish_run(tx, run.id, complete=True, unlisted=0, error=None)
    async with uow() as tx:
        assert await api.due_connections(tx) == []
    later(seconds=601)
    async with uow() as tx:
        assert [due.connection_id for due in await api.due_connections(tx)] == [connection_id]
        assert await api.next_sync_kind(tx, connection_id) == "incremental"
        newer = await api.start_run(tx, connection_id, "incremental")
        assert newer.cursor == {"since": began.isoformat()}
        await api.finish_run(tx, newer.id, complete=True, unlisted=0, error=None)
    later(seconds=100_000)  # a sale may leave no trace in an increment: sweep now and then
    async with uow() as tx:
        assert await api.next_sync_kind(tx, connection_id) == "full"


async def test_an_incomplete_pull_never_counts_as_complete(database: Database) -> None:
    connection_id = await shop()
    async with uow() as tx:
        run = await api.start_run(tx, connection_id, "full")
        await api.finish_run(tx, run.id, complete=False, unlisted=0, error=None)
        assert (await api.get_connection(tx, connection_id)).last_complete_at is None
        assert (await store.run_rows(tx, connection_id, 2**62, 9))[0]["status"] == "failed"


async def test_sync_now_wakes_a_worker_and_is_not_lost_while_a_pull_runs(database: Database) -> None:
    connection_id = await shop()
    woken: list[str] = []
    tasks.install(woken.append)
    try:
        async with uow() as tx:
            run = await api.start_run(tx, connection_id, "full")
        async with uow() as tx:
            await api.sync_now(tx, connection_id)
        assert woken == [tasks.SYNC]
        async with uow() as tx:
            await api.finish_run(tx, run.id, complete=True, unlisted=0, error=None)
        async with uow() as tx:
            assert [due.connection_id for due in await api.due_connections(tx)] == [connection_id]
            with pytest.raises(NotFound):
                await api.sync_now(tx, 99)
    finally:
        tasks.install(None)


async def test_a_paused_connection_is_not_pulled(database: Database) -> None:
    connection_id = await shop()
    async with uow() as tx:
        await api.set_status(tx, connection_id, "paused")
        assert await api.due_connections(tx) == []
        with pytest.raises(Conflict, match="paused"):
            await api.start_run(tx, connection_id, "full")
        with pytest.raises(NotFound):
            await api.start_run(tx, 99, "full")


# Inbox --------------------------------------------------------------------------------------------------------


def signed(body: bytes, delivery: str = "d1", topic: str = "order.updated", **headers: str) -> dict[str, str]:
    mac = base64.b64encode(hmac.digest(b"hook_shop_secret", body, "sha256")).decode()
    return {
        "X-WC-Webhook-Signature": mac,
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-Delivery-ID": delivery,
        **headers,
    }


def order(number: int = 138, status: str = "completed", second: int = 0) -> bytes:
    return orjson.dumps(
        {
            "id": number,
            "status": status,
            "created_via": "rest-api",
            "date_modified_gmt": f"2026-11-22T07:00:{second:02d}",
            "shipping": {"first_name": "李伟", "phone": "13800000000"},
            "meta_data": [{"key": "supplyhub_po", "value": "po_1"}],
        }
    )


async def outbox(tx: Tx) -> list[str]:
    return [row["type"] for row in await tx.fetch("SELECT type FROM outbox ORDER BY id")]


async def test_a_push_lands_once_however_often_it_comes(database: Database) -> None:
    connection_id = await shop()
    body = order()
    results = await asyncio.gather(*(api.land_push(connection_id, signed(body), body) for _ in range(6)))
    assert sorted(r.result for r in results) == ["duplicate"] * 5 + ["landed"]
    async with uow() as tx:
        assert await outbox(tx) == ["PayloadLanded"]
        inbox_id = next(r.inbox_id for r in results if r.inbox_id is not None)
        view, content = await api.landed(tx, inbox_id)
    assert view.id == connection_id
    assert [(o.vendor_order_no, o.po_number, o.status) for o in content.orders] == [
        ("138", "po_1", ShipmentStatus.SHIPPED)
    ]


async def test_two_deliveries_of_one_second_share_an_id_and_both_land(database: Database) -> None:
    connection_id = await shop()
    for body in (order(138), order(139)):
        assert (await api.land_push(connection_id, signed(body), body)).result == "landed"


async def test_forged_pushes_leave_no_trace(database: Database) -> None:
    connection_id = await shop()
    body = order()
    good = signed(body)
    forged: list[tuple[dict[str, str], bytes]] = [
        ({}, body),
        ({**good, "X-WC-Webhook-Signature": ""}, body),
        ({**good, "X-WC-Webhook-Signature": "AAAA"}, body),
        ({**good, "X-WC-Webhook-Signature": "☃"}, body),
        (good, body + b" "),
        (good, b""),
        (signed(body) | {"X-WC-Webhook-Signature": hmac.digest(b"hook_shop_secret", body, "sha256").hex()}, body),
    ]
    for headers, sent in forged:
        with pytest.raises(Unauthorized):
            await api.land_push(connection_id, headers, sent)
    async with uow() as tx:
        assert await outbox(tx) == [] and await tx.fetchval("SELECT count(*) FROM inbox") == 0


async def test_an_unsigned_ping_is_answered_and_has_no_effect(database: Database) -> None:
    connection_id = await shop()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await api.land_push(connection_id, form, b"webhook_id=4")).result == "ping"
    for headers, body in ((form, b"webhook_id=4&status=completed"), (form, b"webhook_id=x"), ({}, b"webhook_id=4")):
        with pytest.raises(Unauthorized):
            await api.land_push(connection_id, headers, body)
    async with uow() as tx:
        assert await outbox(tx) == []


async def test_without_a_secret_there_is_no_address(database: Database) -> None:
    without = await shop(secrets={k: v for k, v in SECRETS.items() if k != "webhook_secret"})
    for connection_id in (without, 99):
        with pytest.raises(NotFound):
            await api.land_push(connection_id, signed(order()), order())
        with pytest.raises(NotFound):
            await api.land_push(connection_id, {"Content-Type": "application/x-www-form-urlencoded"}, b"webhook_id=4")


async def test_a_paused_connection_still_hears_of_its_orders(database: Database) -> None:
    connection_id = await shop()
    async with uow() as tx:
        await api.set_status(tx, connection_id, "paused")
    assert (await api.land_push(connection_id, signed(order()), order())).result == "landed"


async def test_both_secrets_are_believed_during_a_rotation(database: Database) -> None:
    connection_id = await shop(secrets={**SECRETS, "webhook_secret": "newer_secret,hook_shop_secret"})
    assert (await api.land_push(connection_id, signed(order()), order())).result == "landed"


async def test_personal_data_in_a_push_is_not_readable_at_rest(database: Database) -> None:
    connection_id = await shop()
    await api.land_push(connection_id, signed(order()), order())
    async with uow() as tx:
        kept = await tx.fetchval("SELECT body FROM inbox")
    assert "李伟".encode() not in kept and b"13800000000" not in kept


async def test_a_poisonous_push_is_one_bad_row_not_an_endless_retry(database: Database) -> None:
    connection_id = await shop()
    for body in (b"{", b"[[[" * 500, b'"text"', b"\xff\xfe"):
        landing = await api.land_push(connection_id, signed(body, str(len(body))), body)
        assert landing.inbox_id is not None
        async with uow() as tx:
            _, content = await api.landed(tx, landing.inbox_id)
        assert content == PushContent(bad=content.bad) and len(content.bad) == 1


async def test_old_pushes_are_forgotten_after_two_weeks(database: Database, later: Any) -> None:
    connection_id = await shop()
    await api.land_push(connection_id, signed(order()), order())
    later(days=13)
    async with uow() as tx:
        assert await api.forget_old(tx) == 0
    later(days=2)
    async with uow() as tx:
        assert await api.forget_old(tx) == 1
        with pytest.raises(NotFound):
            await api.landed(tx, 1)


# Quarantine and drift -----------------------------------------------------------------------------------------


async def test_a_row_refused_again_counts_up_instead_of_piling_up(database: Database) -> None:
    connection_id = await shop()
    bad = [
        BadRow(reason="no price", pointer="/price", vendor_sku="A", raw='{"sku":"A"}'),
        BadRow(reason="no price", pointer="/price", vendor_sku="B\x00", raw="nul \x00 and \ud800 surrogate"),
    ]
    for _ in range(3):
        async with uow() as tx:
            await api.quarantine(tx, connection_id, None, [*bad, bad[0]])
    async with uow() as tx:
        rows = await store.quarantine_rows(tx, connection_id, 2**62, 10)
        assert sorted((row["times"], row["reason"]) for row in rows) == [(3, "no price"), (3, "no price")]
        assert await api.quarantine_counts(tx) == {connection_id: {"no price": 2}}
        assert await outbox(tx) == ["Quarantined"] * 3
        await api.quarantine(tx, connection_id, None, [])
    async with uow() as tx:
        assert await outbox(tx) == ["Quarantined"] * 3


async def test_drift_is_reported_once_per_connection(database: Database) -> None:
    one, two = await shop("a"), await shop("b")
    with structlog.testing.capture_logs() as logs:
        for connection_id, fields, new in (
            (one, ["warranty", "seo", "seo"], ["seo", "warranty"]),
            (one, ["warranty", "nul\x00"], ["nul\ufffd"]),
            (one, [], []),
            (two, ["warranty"], ["warranty"]),
        ):
            async with uow() as tx:
                assert await api.note_drift(tx, connection_id, fields) == new
    assert len([line for line in logs if line["event"] == "schema_drift"]) == 3
    async with uow() as tx:
        assert sorted(await api.drift_of(tx, one)) == ["nul\ufffd", "seo", "warranty"]
