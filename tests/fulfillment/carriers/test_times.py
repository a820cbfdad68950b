"""Times as carriers write them, and the zones they are in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fulfillment.carriers import times
from fulfillment.carriers.contracts import CarrierEvent
from fulfillment.carriers.reading import read

NOON = datetime(2024, 11, 22, 13, 58)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2024-11-22T13:58:00Z", 0), ("2024-11-22T13:58:00.6571145", None), ("2024-11-22 13:58:00.000000", None),
        ("2024-11-22T13:58:00+01:00", 1), ("2024-11-22T13:58:00-0700", -7), ("2024/11/22 13:58", None),
        ("22.11.2024 13:58", None), ("22/11/2024 01:58 PM", None), ("11/22/2024 1:58 pm", None), ("20241122135800",
        None),
        ("20241122 135800", None), ("20241122T135800Z", 0), ("November 22, 2024, 1:58 pm", None),
        ("22 Nov 2024 13:58", None),
        ("Fri, 22 Nov 2024 13:58:00 GMT", 0), ("2024年11月22日 13时58分00秒", None), ("2024-11-22 下午 1:58", None),
        ("2024-11-22 13:58:00 EST", -5), ("/Date(1732283880000+0000)/", 0), (1732283880, 0), ("1732283880000", 0),
        ("22.11.2024, 13:58", None), ("2024-11-22T13:58:00[Europe/Paris]", None), ("2024-11-22T13:58:00 UTC+8", 8),
    ],
)  # fmt: skip
def test_every_way_to_write_it_is_the_same_wall_clock(text: Any, offset: int | None) -> None:
    found = times.moment(text)
    assert found is not None and found.local == NOON and found.certain
    said = found.zone.utcoffset(found.local) if found.zone else None
    assert said == (None if offset is None else timedelta(hours=offset))


@pytest.mark.parametrize(
    "text", ["", "34442", "DL", "2024-13-01", "0001-01-01T00:00:00", True, None, "9" * 30, "1:58", "OP-1"]
)
def test_what_is_no_time_is_none(text: Any) -> None:
    assert times.moment(text) is None


def scan(carrier: str = "x", **fields: Any) -> CarrierEvent | None:
    (parcel,) = read(carrier, {"tracking_no": "AB1234567890", "events": [{"code": "DL", **fields}]}).parcels or (None,)
    return parcel.events[0] if parcel else None


def test_the_zone_is_the_payloads_else_the_carriers_else_none() -> None:
    at = datetime(2024, 11, 22, 12, 58, tzinfo=UTC)
    told = scan("dhl paket", time="2024-11-22T13:58:00+01:00")
    documented = scan("dhl paket", time="2024-11-22 13:58:00")
    assert told and documented and (told.at, told.zone_from) == (at, "payload")
    assert (documented.at, documented.zone_from) == (at, "carrier")
    nobody = scan("x", time="2024-11-22 13:58:00")
    assert nobody and (nobody.local, nobody.at, nobody.zone_from) == (NOON, None, None)
    chinese = scan("顺丰", time="2024-11-22 13:58:00")
    assert chinese and chinese.at == datetime(2024, 11, 22, 5, 58, tzinfo=UTC)


def test_a_wall_clock_of_a_country_with_one_zone_is_an_instant_where_the_carrier_writes_local_times() -> None:
    def at(carrier: str, country: str) -> CarrierEvent | None:
        return scan(carrier, time="2024-11-22 13:58:00", location={"city": "A", "countryCode": country})

    dutch, american, other = at("dhl", "NL"), at("dhl", "US"), at("x", "NL")
    assert dutch and dutch.at == datetime(2024, 11, 22, 12, 58, tzinfo=UTC) and dutch.zone_from == "place"
    assert american and american.at is None  # several zones: no instant
    assert other and other.at is None  # nobody says that this carrier writes local times


def test_zones_in_fields_of_their_own_are_used() -> None:
    expected = datetime(2024, 11, 22, 18, 58, tzinfo=UTC)
    ways: list[dict[str, Any]] = [
        {"eventTimestamp": "2024-11-22T13:58:00", "GMTTimestamp": "2024-11-22T18:58:40Z"},
        {"eventTimestamp": "2024-11-22T13:58:00", "GMTOffset": "-05:00"},
        {"event-date": "2024-11-22", "event-time": "13:58:00", "event-time-zone": "EST"},
        {"date": "20241122", "time": "135800", "gmtDate": "20241122", "gmtTime": "18:58:00"},
        {"eventDate": "2024-11-22T13:58:00", "location": {"city": "A", "timezone": "America/New_York"}},
        {"EventDate": "November 22, 2024", "EventTime": "1:58 pm", "timeZoneOffset": "-0500"},
        {"fecEvento": "22/11/2024", "horEvento": "13:58:00", "utcOffset": "UTC-5"},
    ]
    for fields in ways:
        event = scan(**fields)
        assert event is not None and (event.local, event.at) == (NOON, expected), fields


def test_day_and_month_are_never_guessed() -> None:
    def days(*texts: str, carrier: str = "x") -> list[int]:
        events = [{"code": "DL", "date": text} for text in texts]
        got = read(carrier, {"tracking_no": "AB1234567890", "events": events})
        return [event.local.day for parcel in got.parcels for event in parcel.events]

    assert days("03/04/2024 10:00") == []  # kept out with the reason
    refused = read("x", {"tracking_no": "AB1234567890", "events": [{"code": "DL", "date": "03/04/2024 10:00"}]}).refused
    assert refused[0].reason == "its date can be read with the day or the month first"
    assert days("03/04/2024 10:00", "13/04/2024 10:00") == [13, 3]  # another scan leaves no doubt
    assert days("03/04/2024 10:00", "04/13/2024 10:00") == [13, 4]
    assert days("05/05/2024 10:00") == [5]
    assert days("03.04.2024 10:00") == [3]
    assert days("31122024") == [31]


def test_epochs_are_shown_on_the_carriers_clock() -> None:
    event = scan("中通", scanDate=1626851461000)
    assert event and event.local == datetime(2021, 7, 21, 15, 11, 1)
    assert event.at == datetime(2021, 7, 21, 7, 11, 1, tzinfo=UTC)
