"""Payloads in the shapes that carriers document, most of them of carriers without a table: found by structure, read by
words; and what never changes the result."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from fulfillment.carriers.contracts import CarrierStatus
from fulfillment.carriers.reading import read

SHAPES = Path(__file__).parent / "shapes"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((SHAPES / "expected.yaml").read_text(encoding="utf-8"))


def test_every_shape_is_expected() -> None:
    assert {path.name for path in SHAPES.iterdir()} - {"expected.yaml"} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_documented_shapes_are_read_whole(name: str) -> None:
    expected = EXPECTED[name]
    got = read(expected["carrier"], (SHAPES / name).read_bytes())
    events = [event for parcel in got.parcels for event in parcel.events]
    assert [f"{event.local:%Y-%m-%d %H:%M:%S} {event.status.value}" for event in events] == expected["scans"]
    assert (got.parcels[0].tracking_no if got.parcels else None) == expected["number"]
    assert " ".join(sorted({event.zone_from or "none" for event in events})) in (expected["zones"], "")
    assert got.parcels or got.refused or got.problems


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same tree with lists of records and the keys of records in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        made = [shuffled(item, chance) for item in value]
        if all(isinstance(item, dict) for item in made):
            chance.shuffle(made)
        return made
    return value


@pytest.mark.parametrize("name", sorted(name for name in EXPECTED if name.endswith(".json")))
def test_the_order_of_scans_and_of_keys_changes_nothing(name: str) -> None:
    tree = json.loads((SHAPES / name).read_text(encoding="utf-8"))
    wanted = read(EXPECTED[name]["carrier"], tree).parcels
    for seed in range(5):
        got = read(EXPECTED[name]["carrier"], shuffled(tree, random.Random(seed))).parcels
        plain = [[(e.local, e.status, e.code) for e in p.events] for p in got]
        assert plain == [[(e.local, e.status, e.code) for e in p.events] for p in wanted]


def test_one_shipment_as_dict_and_many_as_list_are_the_same() -> None:
    one = {"number": "AB1234567890", "events": {"date": "2024-03-01T10:00:00Z", "status": "DELIVERED"}}
    many = {"parcels": [one, {**one, "number": "CD1234567890"}]}
    assert [p.tracking_no for p in read("x", {"parcels": one}).parcels] == ["AB1234567890"]
    assert [p.tracking_no for p in read("x", many).parcels] == ["AB1234567890", "CD1234567890"]


def test_a_number_given_again_is_the_newest_record_of_it() -> None:
    old = {"trackingNumber": "AB1234567890", "events": [{"date": "2023-03-01T10:00:00Z", "status": "DELIVERED"}]}
    new = {"trackingNumber": "AB1234567890", "events": [{"date": "2024-03-01T10:00:00Z", "status": "IN_TRANSIT"}]}
    for order in ([old, new], [new, old]):
        (parcel,) = read("x", {"results": order}).parcels
        assert (parcel.status, len(parcel.events)) == (CarrierStatus.IN_TRANSIT, 1)


def test_pages_of_one_answer_are_put_together() -> None:
    pages = [
        {"trackingNumber": "AB1234567890", "events": [{"date": f"2024-03-0{n}T10:00:00Z", "status": "in transit"}]}
        for n in (1, 2, 2)
    ]
    (parcel,) = read("x", *pages).parcels
    assert [event.local.day for event in parcel.events] == [2, 1]


def test_the_number_asked_for_names_a_parcel_that_the_answer_does_not() -> None:
    scans = [{"date": "2024-03-01T10:00:00Z", "status": "in transit"}]
    assert read("x", {"events": scans}, asked=" AB12345678 ").parcels[0].tracking_no == "AB12345678"
    assert read("x", {"events": scans}).parcels[0].tracking_no is None
    other = read("x", {"trackingNumber": "CD12345678", "events": scans}, asked="AB12345678")
    assert other.parcels[0].tracking_no == "CD12345678"  # another parcel's scans are never given to ours


def test_plans_and_the_life_of_rows_are_no_scans() -> None:
    row = {"trackingNumber": "AB1234567890", "status": "delivered", "estimatedDelivery": "2024-03-01T10:00:00Z"}
    assert read("x", row).parcels == ()
    assert read("x", {**row, "updated_at": "2024-03-01T10:00:00Z"}).parcels == ()
    assert read("x", {**row, "statusDate": "2024-03-01T10:00:00Z"}).parcels[0].delivered


def test_a_delivery_back_to_the_sender_delivers_nothing() -> None:
    events = [
        {"date": "2024-03-01T10:00:00Z", "status": "refused by recipient"},
        {"date": "2024-03-02T10:00:00Z", "status": "Returned to sender"},
    ]
    (parcel,) = read("x", {"trackingNumber": "AB1234567890", "events": events}).parcels
    assert (parcel.status, parcel.delivered) == (CarrierStatus.RETURN_TO_SENDER, False)
    assert parcel.events[1].cause == "refused"


def test_a_summary_that_repeats_a_scan_is_no_second_one() -> None:
    scan = {"timestamp": "2024-03-01T10:00:00", "statusCode": "delivered", "status": "DELIVERED"}
    earlier = {"timestamp": "2024-02-28T10:00:00", "statusCode": "transit", "status": "PROCESSED"}
    shipment = {"id": "7777777770", "status": {**scan, "timestamp": "2024-03-01T10:00:00Z"}, "events": [scan, earlier]}
    assert len(read("dhl", {"shipments": [shipment]}).parcels[0].events) == 2
    assert len(read("dhl", {"shipments": [{**shipment, "events": [earlier]}]}).parcels[0].events) == 2


def test_errors_are_told_and_make_no_parcels() -> None:
    told = read("x", {"timestamp": "2024-03-01T10:00:00Z", "status": 404, "error": "Not Found", "message": "no parcel"})
    assert told.parcels == () and [problem.message for problem in told.problems] == ["no parcel"]
    assert read("x", {"code": "E42", "message": "queue full"}).problems[0].code == "E42"
    assert read("x", {"events": []}).refused[0].reason == "there is no scan in it"
