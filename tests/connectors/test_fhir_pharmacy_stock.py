"""Stock out of inventory reports: snapshot plus what came after it, or nothing at all."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import guards
from connectors.contracts import BadRow, StockFigure
from connectors.fhir_pharmacy import stock as stock_module
from connectors.fhir_pharmacy.sandbox import SKUS, PharmacySandbox, medicine, report
from connectors.kit_stage import reachable
from hub.kernel import clock
from tests.connectors.test_fhir_pharmacy import connect

GTIN = "https://www.gs1.org/gtin"
DAY = "2024-11-20"


def at(hour: int, minute: int = 0) -> str:
    return f"{DAY}T{hour:02}:{minute:02}:00+08:00"


def of(sku: str, quantity: float, **more: Any) -> dict[str, Any]:
    return {"code": (SKUS, sku), "quantity": quantity, **more}


@pytest.fixture
async def pharmacy() -> AsyncIterator[PharmacySandbox]:
    sandbox = PharmacySandbox(
        [
            medicine("a", "阿司匹林", "9.00", sku="A", gtin="06901234567892"),
            medicine("b", "布洛芬", "12.00", sku="B", associatedMedication=[{"reference": "Medication/ibu"}]),
        ]
    )
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


async def stock(
    pharmacy: PharmacySandbox, *reports: dict[str, Any], **settings: Any
) -> tuple[list[StockFigure], list[BadRow]]:
    """The figures after these reports, and what was refused."""
    pharmacy._store["InventoryReport"].clear()
    pharmacy.keep(*reports)
    client = connect(pharmacy, **settings)
    try:
        pages = [page async for page in client.pull_stock(None)]
    finally:
        await client.aclose()
    assert pages[-1].complete and not any(page.complete for page in pages[:-1])
    return [f for page in pages for f in page.unchanged], [bad for page in pages for bad in page.bad]


async def count(pharmacy: PharmacySandbox, *reports: dict[str, Any], **settings: Any) -> int | str:
    """The one figure after these reports, or the one reason why there is none."""
    figures, bad = await stock(pharmacy, *reports, **settings)
    if figures:
        assert len(figures) == 1 and not bad
        return figures[0].on_hand if figures[0].on_hand is not None else "?"
    [row] = bad
    return row.reason


COUNT = report("count", at(8), [of("A", 100)])


async def test_a_figure_is_the_newest_snapshot_and_every_later_difference(pharmacy: PharmacySandbox) -> None:
    sold = report("sold", at(10), [of("A", 30)], "subtraction")
    came = report("came", at(11), [of("A", 12)], "addition")
    early = report("early", at(7), [of("A", 5)], "subtraction")
    older = report("older", "2024-11-01T08:00:00+08:00", [of("A", 7)])
    figures, bad = await stock(pharmacy, came, early, COUNT, sold, older)
    assert figures == [
        StockFigure(
            "A", 82, None, "", figures[0].version, datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
        )  # of 11:00 in China
    ]
    assert bad == [] and figures[0].version is not None


async def test_it_does_not_matter_in_which_order_the_server_keeps_them(pharmacy: PharmacySandbox) -> None:
    """Random histories against the sum that a person would make, shuffled."""
    dice = random.Random(7)
    for _ in range(25):
        reports, level, known = [], 0, False
        for n in range(dice.randint(1, 12)):
            quantity, kind = dice.randint(0, 40), dice.choice(["snapshot", "addition", "subtraction"])
            if kind == "snapshot":
                level, known = quantity, True
            elif kind == "addition":
                level += quantity
            elif known and quantity > level:
                continue  # no pharmacy sells what it has not
            else:
                level -= quantity
            reports.append(report(f"r{n}", at(8, n), [of("A", quantity)], None if kind == "snapshot" else kind))
            if not known:
                level = 0
        if not reports:
            continue
        dice.shuffle(reports)
        found = await count(pharmacy, *reports)
        assert found == level if known else "no snapshot" in str(found)


async def test_a_difference_without_a_snapshot_invents_nothing(pharmacy: PharmacySandbox) -> None:
    figures, bad = await stock(pharmacy, report("d", at(9), [of("A", 3)], "addition"), report("c", at(8), [of("B", 4)]))
    assert [(f.vendor_sku, f.on_hand) for f in figures] == [("B", 4)]
    [row] = bad
    assert (
        row.vendor_sku == "A"
        and row.reason == "its stock is unknown: there are differences but no snapshot to count from"
    )
    assert "InventoryReport/d" in row.raw


async def test_a_snapshot_speaks_for_what_it_lists(pharmacy: PharmacySandbox) -> None:
    newer = report("newer", at(12), [of("B", 5)])
    figures, _ = await stock(pharmacy, COUNT, newer)
    assert [(f.vendor_sku, f.on_hand) for f in figures] == [("A", 100), ("B", 5)]


async def test_a_count_is_of_when_it_was_counted_not_of_when_it_was_sent(pharmacy: PharmacySandbox) -> None:
    late = report("late", at(12), [of("A", 100)])
    late["inventoryListing"][0]["countingDateTime"] = at(8)
    sold = report("sold", at(10), [of("A", 30)], "subtraction")
    assert await count(pharmacy, late, sold) == 70
    del late["inventoryListing"][0]["countingDateTime"]
    assert await count(pharmacy, late, sold) == 100
    late["inventoryListing"][0]["countingDateTime"] = "this morning"
    assert "countingDateTime" in str(await count(pharmacy, late, sold))


async def test_what_cannot_be_put_in_order_is_unknown(pharmacy: PharmacySandbox) -> None:
    same = report("same", at(8), [of("A", 30)], "subtraction")
    assert "cannot be put in order" in str(await count(pharmacy, COUNT, same))
    day = report("day", DAY, [of("A", 30)], "subtraction")  # before eight or after?
    assert "cannot be put in order" in str(await count(pharmacy, COUNT, day))
    next_day = report("next", "2024-11-21", [of("A", 30)], "subtraction")
    assert await count(pharmacy, COUNT, next_day) == 70
    spanning = report("span", at(18), [of("A", 30)], "subtraction", reportingPeriod={"start": at(7), "end": at(17)})
    assert "cannot be put in order" in str(await count(pharmacy, COUNT, spanning))
    after = report("span", at(18), [of("A", 30)], "subtraction", reportingPeriod={"start": at(8), "end": at(17)})
    figures, _ = await stock(pharmacy, COUNT, after)
    assert figures[0].on_hand == 70 and figures[0].reported_at == datetime.fromisoformat(at(17))
    twin = report("twin", at(8), [of("A", 99)])
    assert "count differently at the same time" in str(await count(pharmacy, COUNT, twin))
    assert await count(pharmacy, COUNT, report("twin", at(8), [of("A", 100)])) == 100


async def test_a_report_of_a_day_is_as_of_its_beginning(pharmacy: PharmacySandbox) -> None:
    figures, _ = await stock(pharmacy, report("c", DAY, [of("A", 10)]))
    assert figures[0].reported_at == datetime(2024, 11, 19, 16, 0, tzinfo=UTC)


async def test_reports_that_say_nothing_yet_or_no_more_do_not_count(pharmacy: PharmacySandbox) -> None:
    for status in ("draft", "requested", "entered-in-error"):
        void = report("void", at(10), [of("A", 30)], "subtraction", status=status)
        assert await count(pharmacy, COUNT, void) == 100


async def test_a_correction_is_newer_than_what_it_corrects(pharmacy: PharmacySandbox) -> None:
    """The withdrawn report is older than the figure: only the version says that the figure changed."""
    sold = report("sold", at(10), [of("A", 30)], "subtraction")
    [before], _ = await stock(pharmacy, COUNT, sold)
    pharmacy.change("InventoryReport", "sold", status="entered-in-error", meta={})
    client = connect(pharmacy)
    [page] = [page async for page in client.pull_stock(None)]
    [after] = page.unchanged
    await client.aclose()
    assert (before.on_hand, after.on_hand) == (70, 100)
    assert before.version is not None and after.version is not None and after.version > before.version
    assert after.reported_at == datetime.fromisoformat(at(8))


async def test_a_report_sent_twice_counts_once(pharmacy: PharmacySandbox) -> None:
    named = {"identifier": [{"system": "urn:reports", "value": "7"}]}
    first = report("x1", at(10), [of("A", 30)], "subtraction", **named)
    again = report("x2", at(10), [of("A", 30)], "subtraction", **named)
    assert await count(pharmacy, COUNT, first, again) == 70
    mended = report("x3", at(10), [of("A", 20)], "subtraction", **named, meta={"lastUpdated": "2199-01-01T00:00:00Z"})
    assert await count(pharmacy, COUNT, first, mended, again) == 80


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"operationType": None}, "neither addition nor subtraction"),
        (
            {"operationType": {"coding": [{"code": "addition"}, {"code": "subtraction"}]}},
            "neither addition nor subtraction",
        ),
        ({"operationType": {"text": "correction"}}, "neither addition nor subtraction"),
        ({"countType": "delta"}, "countType 'delta'"),
        ({"status": "final"}, "status 'final'"),
        ({"reportedDateTime": "yesterday"}, "reportedDateTime"),
        ({"reportedDateTime": "2024-11-20T10:00:00"}, "no time zone"),
        ({"reportedDateTime": "2199-11-20T10:00:00Z"}, "from the future"),
    ],
)
async def test_a_report_that_cannot_be_used_makes_its_items_unknown(
    pharmacy: PharmacySandbox, change: dict[str, Any], why: str
) -> None:
    odd = {**report("odd", at(10), [of("A", 30)], "subtraction"), **change}
    figures, bad = await stock(pharmacy, COUNT, report("other", at(8), [of("B", 9)]), odd)
    assert [f.vendor_sku for f in figures] == ["B"]  # what it does not name is as good as before
    assert len(bad) == 2 and all(why in row.reason for row in bad)  # the report, and what it makes unknown
    healed = report("recount", clock.now().isoformat(), [of("A", 64)])
    odd["meta"] = {"lastUpdated": "2024-11-20T12:00:00Z"}  # stored long before the recount
    figures, _ = await stock(pharmacy, COUNT, odd, healed)
    assert [(f.vendor_sku, f.on_hand) for f in figures] == [("A", 64)]


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        ({"value": 2.5}, "not whole"),
        ({"value": -3}, "negative"),
        ({"value": True}, "no number"),
        ({}, "no number"),
        ({"value": 50, "comparator": ">="}, "not exact: >=50"),
        ({"value": 10**12}, "is no count"),
    ],
)
async def test_a_quantity_that_is_no_count_is_none(
    pharmacy: PharmacySandbox, quantity: dict[str, Any], why: str
) -> None:
    odd = report("count", at(8), [of("A", 0)])
    odd["inventoryListing"][0]["item"][0]["quantity"] = quantity
    assert why in str(await count(pharmacy, odd))


async def test_taking_more_than_there_is_leaves_none_and_is_told(pharmacy: PharmacySandbox) -> None:
    figures, bad = await stock(pharmacy, COUNT, report("d", at(9), [of("A", 130)], "subtraction"))
    assert figures[0].on_hand == 0
    assert "more was taken than was there: -30" in bad[0].reason


async def test_several_locations_are_several_rows(pharmacy: PharmacySandbox) -> None:
    both = report("c", at(8), [of("A", 40, location="jingan"), of("A", 8, location="pudong")])
    sold = report("d", at(9), [of("A", 5, location="pudong")], "subtraction")
    figures, bad = await stock(pharmacy, both, sold)
    assert [(f.location, f.on_hand) for f in figures] == [("jingan", 40), ("pudong", 3)] and not bad
    figures, _ = await stock(pharmacy, both, sold, locations="pudong,hongqiao")
    assert [(f.location, f.on_hand) for f in figures] == [("pudong", 3)]


async def test_a_location_that_is_only_sometimes_named_is_unknown_until_it_is_said(pharmacy: PharmacySandbox) -> None:
    placed = report("c", at(8), [of("A", 40, location="jingan")])
    unplaced = report("d", at(9), [of("A", 5)], "subtraction")
    assert "set `default_location`" in str(await count(pharmacy, placed, unplaced))
    assert await count(pharmacy, placed, unplaced, default_location="jingan") == 35


async def test_what_is_damaged_or_set_aside_is_not_sold(pharmacy: PharmacySandbox) -> None:
    items = [of("A", 40, status="available"), of("A", 7, status="damaged"), of("A", 5, category="pending-recount")]
    assert await count(pharmacy, report("c", at(8), items)) == 40
    assert await count(pharmacy, report("c", at(8), items), sellable_statuses="available,damaged") == 47
    assert await count(pharmacy, COUNT, report("all", at(9), [of("A", 3, status="quarantine")])) == 0
    moved = report("d", at(9), [of("A", 4, status="damaged")], "addition")
    assert await count(pharmacy, COUNT, moved) == 100
    assert await count(pharmacy, report("c", at(8), [of("A", 6, category="抗生素")])) == 6  # an ordinary category


# Lots --------------------------------------------------------------------------------------------------------------


def lot(number: str, name: str, expires: str, code: str = "A") -> dict[str, Any]:
    return {
        "resourceType": "Medication",
        "id": number,
        "code": {"coding": [{"system": SKUS, "code": code}]},
        "batch": {"lotNumber": name, "expirationDate": expires},
    }


def lots(*pairs: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"reference": f"Medication/{number}", "quantity": quantity} for number, quantity in pairs]


async def test_lots_add_up_and_those_that_ended_are_not_sold(pharmacy: PharmacySandbox) -> None:
    today = clock.now().date()
    soon, gone = today + timedelta(days=20), today - timedelta(days=1)
    pharmacy.keep(lot("l1", "A1", "2099-12"), lot("l2", "A2", soon.isoformat()), lot("l3", "A3", gone.isoformat()))
    counted = report("c", at(8), lots(("l1", 50), ("l2", 20), ("l3", 9)))
    assert await count(pharmacy, counted) == 70
    assert await count(pharmacy, counted, shelf_days=30) == 50
    sold = report("d", at(9), lots(("l1", 8), ("l3", 2)), "subtraction")
    assert await count(pharmacy, counted, sold) == 62
    new = report("n", at(10), lots(("l1", 30)), "addition")
    assert await count(pharmacy, counted, sold, new) == 92
    unnamed = report(
        "u", at(11), [of("A", 10)], "subtraction"
    )  # from which lot? from those that can be sold, to be safe
    assert await count(pharmacy, counted, sold, new, unnamed) == 82


async def test_a_lot_lasts_to_the_end_of_its_month_and_its_end_makes_the_figure_new(
    pharmacy: PharmacySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pharmacy.keep(lot("l1", "A1", "2026-11"), lot("l2", "A2", "2099"))
    counted = report(
        "c", "2026-11-02T08:00:00+08:00", lots(("l1", 5), ("l2", 4)), meta={"lastUpdated": "2026-11-02T01:00:00Z"}
    )
    monkeypatch.setattr("hub.kernel.clock.now", lambda: datetime(2026, 11, 30, 15, 59, tzinfo=UTC))
    [before], _ = await stock(pharmacy, counted)
    monkeypatch.setattr("hub.kernel.clock.now", lambda: datetime(2026, 11, 30, 16, 1, tzinfo=UTC))
    [after], _ = await stock(pharmacy, counted)
    assert (before.on_hand, after.on_hand) == (9, 4)
    assert before.version is not None and after.version is not None and after.version > before.version


async def test_a_lot_whose_end_cannot_be_read_is_not_sold(pharmacy: PharmacySandbox) -> None:
    pharmacy.keep(lot("l1", "A1", "next year"))
    assert await count(pharmacy, report("c", at(8), lots(("l1", 5)))) == 0


async def test_items_of_an_inventory_and_devices_say_their_lots_too(pharmacy: PharmacySandbox) -> None:
    code = [{"coding": [{"system": SKUS, "code": "A"}]}]
    pharmacy.keep(
        {
            "resourceType": "InventoryItem",
            "id": "i1",
            "code": code,
            "instance": {"lotNumber": "X", "expiry": "2001-01-01"},
        },
        {"resourceType": "Device", "id": "d1", "type": code, "lotNumber": "Y", "expirationDate": "2099-01-01"},
    )
    items = [{"reference": "InventoryItem/i1", "quantity": 5}, {"reference": "Device/d1", "quantity": 6}]
    assert await count(pharmacy, report("c", at(8), items)) == 6


# Which item it is --------------------------------------------------------------------------------------------------


async def test_an_item_is_what_all_its_names_agree_on(pharmacy: PharmacySandbox) -> None:
    def called(**item: Any) -> dict[str, Any]:
        made = report("c", at(8), [of("A", 5)])
        made["inventoryListing"][0]["item"][0]["item"] = item
        return made

    ours, theirs = {"system": GTIN, "code": "06901234567892"}, {"system": "urn:erp", "code": "9-17"}
    assert await count(pharmacy, called(concept={"coding": [theirs, ours]})) == 5
    [figure], _ = await stock(pharmacy, called(reference={"reference": "Medication/ibu"}))
    assert figure.vendor_sku == "B"  # the catalogue names that medication
    [figure], _ = await stock(
        pharmacy, called(reference={"reference": f"{pharmacy.base_url}/fhir/Medication/ibu/_history/3"})
    )
    assert figure.vendor_sku == "B"
    [figure], _ = await stock(pharmacy, called(reference={"identifier": {"system": SKUS, "value": "A"}}))
    assert figure.vendor_sku == "A"
    assert "no listing is called '未知药'" in str(
        await count(pharmacy, called(concept={"text": "未知药", "coding": [theirs]}))
    )
    torn = called(concept={"coding": [ours, {"system": SKUS, "code": "B"}]})
    assert "no listing is called" in str(await count(pharmacy, torn))  # its names contradict each other
    pharmacy.keep({"resourceType": "Medication", "id": "m7", "definition": {"reference": "MedicationKnowledge/a"}})
    [figure], _ = await stock(pharmacy, called(reference={"reference": "Medication/m7"}))
    assert figure.vendor_sku == "A"


async def test_a_code_that_two_medicines_share_names_neither(pharmacy: PharmacySandbox) -> None:
    pharmacy.keep(medicine("a2", "阿司匹林 100", "19.00", sku="A2", gtin="06901234567892"))
    shared = report("c", at(8), [{"code": (GTIN, "06901234567892"), "quantity": 5}])
    assert "more than one listing" in str(await count(pharmacy, shared))
    pharmacy._store["MedicationKnowledge"].pop("a2")


# Units, pages, settings --------------------------------------------------------------------------------------------


async def test_boxes_and_tablets_are_never_added(pharmacy: PharmacySandbox) -> None:
    boxes = report("c", at(8), [of("A", 10, unit="盒")])
    tablets = report("d", at(9), [of("A", 30, unit="片")], "subtraction")
    assert "set `units`" in str(await count(pharmacy, boxes, tablets))
    assert await count(pharmacy, boxes, tablets, units={"盒": 1, "片": "1/24"}) == 8  # 10 - 1.25, whole boxes only
    assert "not in the connection's `units`" in str(await count(pharmacy, boxes, tablets, units={"盒": 1}))
    assert await count(pharmacy, boxes, report("d", at(9), [of("A", 3)], "subtraction")) == 7


async def test_a_stock_pull_goes_on_after_any_page(pharmacy: PharmacySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_module, "FIGURES_A_PAGE", 2)
    pharmacy.keep(report("c", at(8), [of(sku, 5, location=f"l{n}") for sku in "AB" for n in range(3)]))
    client = connect(pharmacy)
    whole = [page async for page in client.pull_stock(None)]
    wanted = [(f.vendor_sku, f.location) for page in whole for f in page.unchanged]
    assert len(wanted) == 6 and [page.complete for page in whole] == [False, False, True]
    for done in range(1, 4):
        cursor = json.loads(json.dumps(whole[done - 1].cursor))
        rest = [page async for page in client.pull_stock(cursor)]
        got = [(f.vendor_sku, f.location) for page in whole[:done] + rest for f in page.unchanged]
        assert got == wanted and rest[-1].complete
    await client.aclose()


async def test_old_reports_need_not_be_read_for_ever(pharmacy: PharmacySandbox) -> None:
    old = {"meta": {"lastUpdated": "2024-01-05T00:00:00Z"}}
    counted = report("c", "2024-01-05T08:00:00+08:00", [of("A", 5)], **old)
    sold = report("d", at(9), [of("A", 1)], "subtraction")
    assert await count(pharmacy, counted, sold) == 4
    assert "no snapshot" in str(await count(pharmacy, counted, sold, report_days=30))


async def test_a_pharmacy_that_reports_nothing_has_no_figures(pharmacy: PharmacySandbox) -> None:
    assert await stock(pharmacy) == ([], [])
    assert await stock(pharmacy, {**COUNT, "inventoryListing": None}) == ([], [])
    empty = report("e", DAY, [])  # HL7's own example lists nothing
    assert await stock(pharmacy, empty) == ([], [])
