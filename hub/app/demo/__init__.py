"""`make demo`: the main job from end to end on a stage of its own, and the report of what came out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

import catalog.api
import fulfillment.api
import orders.api
import pricing.api
from fulfillment.emergency import api as emergency
from hub.app.demo import drill, story
from hub.app.demo.parity import act_parity
from hub.app.demo.report import OrdersRow, ParityRow, Report, Share, VendorRow, show
from hub.app.demo.scene import Role, Scene, scene, until
from hub.kernel import audit, db, store
from hub.kernel.events import handler_name

MALLS = ("甲公司福利商城", "乙公司福利商城")


def run_demo(*, json_file: Path | None, keep: bool) -> bool:
    """Play the demo, print its report, write it as JSON when asked; True when every promise was kept."""
    return asyncio.run(_play(json_file, keep))


async def _play(json_file: Path | None, keep: bool) -> bool:
    console = Console(width=118, highlight=False)
    played = story.Played()
    started = time.perf_counter()

    def say(words: str) -> None:
        console.print(f"[dim]{time.perf_counter() - started:5.1f} s[/]  {words}")

    # Orders are made five days ago, so that their 72 hours are over when the report is written.
    async with scene(start_offset=timedelta(days=-5), say=say, SUPPLYHUB_LOG_LEVEL="ERROR") as stage:
        played.seconds["start"] = time.perf_counter() - started
        malls = [await stage.mall(name) for name in MALLS]
        say("pulling five vendors and a price reference")
        await story.act_pull(stage, played)
        say("comparing a pack by the unit; a breach, a call to the vendor, a level price")
        await act_parity(stage, malls[0], played)
        say("searching")
        await story.act_search(malls[0], played)
        say("placing orders while stock moves")
        await story.act_order(stage, malls, played)
        say("shipping and delivering; the clock runs ahead")
        await story.act_deliver(stage, malls, played)
        say("pulling again: what vendors counted after our orders")
        await story.act_pull_again(stage, played)
        say("a corner shop without barcodes")
        await story.act_match(stage, played)
        report = await _report(stage, malls, played)
        say("a lockdown drill")
        report.drill = await drill.play(stage, malls, say)
        report.seconds["drill"] = report.drill.took_s
        console.print()
        show(report, console)
        drill.show(report.drill, console)
        if json_file is not None:
            report.write(json_file)
            say(f"report written to {json_file}")
        if keep:
            await _stay(stage, console)
    return report.kept


def run_drill(*, json_file: Path | None, keep: bool) -> bool:
    """Play the lockdown drill alone; True when every promise was kept."""
    return asyncio.run(_drill(json_file, keep))


async def _drill(json_file: Path | None, keep: bool) -> bool:
    console = Console(width=118, highlight=False)
    started = time.perf_counter()

    def say(words: str) -> None:
        console.print(f"[dim]{time.perf_counter() - started:5.1f} s[/]  {words}")

    async with scene(say=say, small=True, SUPPLYHUB_LOG_LEVEL="ERROR") as stage:
        malls = [await stage.mall(name) for name in MALLS]
        say("a lockdown drill")
        found = await drill.play(stage, malls, say)
        async with db.uow() as tx:
            found.promises |= await emergency.invariants(tx)
            found.promises["counters_equal_the_ledger"] = not await catalog.api.drift(tx)
        console.print()
        drill.show(found, console)
        if json_file is not None:
            drill.write(found, json_file)
            say(f"report written to {json_file}")
        if keep:
            await _stay(stage, console)
    return all(found.promises.values())


async def _stay(stage: Scene, console: Console) -> None:
    """Print the addresses and wait for Ctrl-C."""
    staff = stage.staff.http.headers["Authorization"].removeprefix("Bearer ")
    mall = stage.roles[0].http.headers["Authorization"].removeprefix("Bearer ")
    console.print(f"\nAPI {stage.hub.base_url}   description {stage.hub.base_url}/docs")
    console.print(f"staff key {staff}\nmall key  {mall}\nCtrl-C stops.", soft_wrap=True)
    forever = asyncio.Event()
    try:
        await forever.wait()
    except asyncio.CancelledError:
        console.print("stopping")


async def _report(stage: Scene, malls: list[Role], played: story.Played) -> Report:
    await until(_settled, "the last events' effects")
    staff = stage.staff
    runs = [(run, stage.vendors[run["vendor"]]) for run in played.pulls]
    quarantine = await staff.pages("/v1/quarantine", cursor="cursor", limit=200)
    assortment = await staff.get("/v1/metrics/assortment")
    parity = await staff.get("/v1/metrics/parity")
    delivery = await staff.get("/v1/metrics/delivery-72h")
    stockouts = await staff.get("/v1/metrics/stockouts")
    async with db.uow() as tx:
        figures = await catalog.api.size(tx)
        verdicts = await pricing.api.parity_counts(tx, figures.listings)
        held = await pricing.api.held_count(tx)
        orders_row = await orders.api.counts(tx)
        drift = await catalog.api.drift(tx)
        shelf = await catalog.api.shelf_totals(tx)
        invariants = {**await orders.api.invariants(tx), **await fulfillment.api.invariants(tx)}
        chain_holds = await audit.first_broken(tx) is None
        outbox = await store.outbox_state(tx)
        pushes = await store.deliveries_to(tx, handler_name(catalog.api.on_payload))
    at_vendors = await stage.play("orders")
    kinds = {row["kind"]: row["numerator"] for row in assortment["kinds"]}
    invariants |= {
        "counters_equal_the_ledger": not drift,
        "nothing_oversold_at_vendors": at_vendors["oversold"] == 0,
        "each_purchase_order_once_at_its_vendor": at_vendors["duplicates"] == 0,
        "the_scarce_item_sold_exactly": played.scarce_sold == story.SCARCE_UNITS,
        "delivery_classes_add_up": delivery["denominator"]
        == sum(delivery["partition"][name] for name in ("on_time", "late", "open_overdue", "supply_cancelled")),
        "assortment_500_per_kind": all(live >= 500 for live in kinds.values()) and len(kinds) == 3,
        "delivery_72h_at_least_90_percent": delivery["numerator"] >= 0.9 * delivery["denominator"] > 0,
        "false_friends_refused_and_the_same_thing_found": played.friends_told_apart,
        "every_refused_row_has_a_reason": bool(quarantine) and all(row["reason"] for row in quarantine),
        **played.kept,
        "audit_chain_holds": chain_holds,
        "no_event_given_up": outbox["dead"] == 0 and outbox["pending"] == 0,
    }
    statuses = Counter([each["status"] for mall in malls for each in await mall.pages("/v1/orders", limit=200)])
    return Report(
        vendors=sum(1 for _run, vendor in runs if vendor.role == "supply"),
        listings=figures.listings,
        products=figures.products,
        kinds=kinds,
        skus_per_second=figures.listings / played.seconds["pulling vendors"],
        duplicates_merged=figures.listings - figures.products,
        quarantined=len(quarantine),
        quarantine_reasons=dict(Counter(_reason(row) for row in quarantine)),
        pulls=[
            VendorRow(
                vendor=vendor.name,
                vendor_en=vendor.name_en,
                connector=vendor.connector,
                role=vendor.role,
                seen=run["seen"],
                created=run["created"],
                quarantined=run["quarantined"],
                seconds=story.spent(run),
                calls_failed=at_vendors["faults"].get(vendor.key, 0),
            )
            for run, vendor in runs
        ],
        parity=ParityRow(
            passed=verdicts["pass"],
            breach=verdicts["breach"],
            unknown=verdicts["unknown"],
            cases_open=parity["open_cases"],
            held=held,
        ),
        searches=played.searches,
        friends=played.friends,
        orders=OrdersRow(**{**orders_row, "refused": orders_row["refused"] + len(played.refused_at_once)}),
        orders_by_status=dict(statuses),
        oversold=at_vendors["oversold"],
        contended=Share(numerator=played.scarce_sold, denominator=story.SCARCE_UNITS),
        webhooks_applied=pushes,
        reserved_units=shelf.reserved,
        open_hold_units=shelf.held,
        ledger_equals_counters=not drift,
        delivery_72h=Share(numerator=delivery["numerator"], denominator=delivery["denominator"]),
        delivery_partition=delivery["partition"],
        stockouts=Share(numerator=stockouts["numerator"], denominator=stockouts["denominator"]),
        visible_stockouts=Share(numerator=stockouts["visible_numerator"], denominator=stockouts["denominator"]),
        invariants=invariants,
        seconds=played.seconds,
        as_of=delivery["as_of"],
    )


def _reason(row: dict[str, Any]) -> str:
    """The field at fault and what is wrong with it."""
    field = row["pointer"].rpartition("/")[2]
    return f"{field}: {row['reason']}" if field else str(row["reason"])


async def _settled() -> bool:
    async with db.uow() as tx:
        return bool((await store.outbox_state(tx))["pending"] == 0)
