"""Real payloads of 13 carriers with the form that another library gives them: how much of it comes out the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fulfillment.carriers.contracts import CarrierParcel
from fulfillment.carriers.reading import read

# Where that library reads a code against the carrier's own words. Ours: what the carrier says.
AGAINST_THE_CARRIERS_WORDS = {
    (
        "laposte",
        "ET1",
    ): "in_transit",  # "En cours de traitement"; theirs says out_for_delivery weeks before the delivery
    ("bpost", "L00"): "out_for_delivery",  # "BoundToRound - out_for_distribution"; theirs: on_hold
    ("dhl_parcel_de", "PO"): "out_for_delivery",  # "loaded onto the delivery vehicle"; theirs: in_transit
}
# Theirs takes the first scan listed for the newest, or a summary that contradicts the scan beside it.
OVERALL_AGAINST_THE_SCANS = {"323212345659900040669030": "delivered", "7777777770": "delivered"}
# Their answer carries the number that was asked for; the payload does not.
NUMBER_NOT_IN_THE_PAYLOAD = {("parcelone", "123456789012"), ("smartkargo", "yogi045")}


def rows(realdata: Path) -> list[dict[str, Any]]:
    text = (realdata / "carriers" / "tracking_pairs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def wall_clock(event: dict[str, Any]) -> str:
    stamp = event.get("timestamp")
    return stamp[:19] if stamp else f"{event['date']}T{event['time'][:5]}"


@pytest.mark.realdata
def test_real_payloads_come_out_as_expected(realdata: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score: Counter[tuple[str, str, bool]] = Counter()
    for row in rows(realdata):
        carrier, (parcels, errors) = row["carrier"], row["expected"]
        asked = parcels[0]["tracking_number"] if len(parcels) == 1 else None
        got = read(carrier, *row["raw"], asked=asked)
        score[carrier, "parcels", len(got.parcels) == len(parcels)] += 1
        if errors:
            score[carrier, "errors told", bool(got.problems)] += 1
        assert not (errors and not parcels) or got.parcels == ()
        for parcel in parcels:
            ours = next((p for p in got.parcels if p.tracking_no == parcel["tracking_number"]), None)
            named = ours is not None or (carrier, parcel["tracking_number"]) in NUMBER_NOT_IN_THE_PAYLOAD
            score[carrier, "number", named] += 1
            compare(score, carrier, parcel, ours or got.parcels[0])
    with capsys.disabled():
        print("\n" + "\n".join(table(score)))
    missed = {key: n for key, n in score.items() if not key[2] and key[1] != "status, as they read it"}
    assert missed == {}
    same = sum(n for (_, kind, ok), n in score.items() if kind == "status, as they read it" and ok)
    assert same / sum(n for (_, kind, _), n in score.items() if kind == "status, as they read it") >= 0.94


def compare(score: Counter[tuple[str, str, bool]], carrier: str, theirs: dict[str, Any], ours: CarrierParcel) -> None:
    expected = theirs.get("events", [])
    score[carrier, "scans", len(expected) == len(ours.events)] += 1
    left = list(ours.events)
    for event in expected:
        code, text, clock = event.get("code"), event["description"].strip(), wall_clock(event)
        match = next(
            (e for e in left if e.local.isoformat().startswith(clock) and (e.code, e.description) == (code, text)), None
        )
        score[carrier, "time, code and text", match is not None] += 1
        if match is None:
            continue
        left.remove(match)
        if "status" in event:
            truth = AGAINST_THE_CARRIERS_WORDS.get((carrier, code or ""), event["status"])
            score[carrier, "status", match.status == truth] += 1
            score[carrier, "status, as they read it", match.status == event["status"]] += 1
    if "status" in theirs:
        truth = OVERALL_AGAINST_THE_SCANS.get(theirs["tracking_number"], theirs["status"])
        score[carrier, "overall", ours.status == truth] += 1


def table(score: Counter[tuple[str, str, bool]]) -> list[str]:
    kinds = list(dict.fromkeys(kind for _, kind, _ in score))
    lines = []
    for carrier in [*sorted({carrier for carrier, _, _ in score}), "all"]:
        cells = []
        for kind in kinds:
            of = [(n, ok) for (c, k, ok), n in score.items() if k == kind and carrier in (c, "all")]
            if of:
                cells.append(f"{kind} {sum(n for n, ok in of if ok)}/{sum(n for n, _ in of)}")
        lines.append(f"{carrier}: " + ", ".join(cells))
    return lines


@pytest.mark.realdata
def test_easyposts_recorded_trackers_are_read_whole(realdata: Path) -> None:
    import yaml

    trackers = scans = 0
    for path in sorted((realdata / "carriers" / "easypost").glob("*.yaml")):
        for exchange in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]:
            body = exchange["response"]["body"]["string"]
            told = json.loads(body)
            wanted = told.get("trackers", [told] if told.get("object") == "Tracker" else [])
            got = read("easypost", body)
            by_number = {parcel.tracking_no: parcel for parcel in got.parcels}
            for tracker in wanted:
                parcel = by_number[tracker["tracking_code"]]
                assert parcel.carrier == "usps"
                assert parcel.status == {"pre_transit": "pending"}.get(tracker["status"], tracker["status"])
                assert len(parcel.events) <= len(tracker["tracking_details"])
                assert all(event.at is not None for event in parcel.events)
                trackers, scans = trackers + 1, scans + len(parcel.events)
    assert trackers >= 20 and scans >= 40
