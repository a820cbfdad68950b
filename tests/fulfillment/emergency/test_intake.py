"""Demands come in by JSON, form and CSV, line by line; whoever asks twice asks once; what counts is verified."""

from __future__ import annotations

import csv
import io

import pytest

from fulfillment import zones_web
from tests.fulfillment.emergency.kit import MASK, Stage


def table(
    *rows: dict[str, object], columns: tuple[str, ...] = ("site", "item", "quantity", "contact", "phone", "address")
) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("gb18030")


async def test_a_table_has_a_result_for_each_line_and_sent_twice_asks_once(played: Stage) -> None:
    mall = await played.mall("company")
    number = (await played.incident())["id"]
    path = f"/zones/{number}/demands"
    rows = [
        played.demand("一号楼", 10),
        played.demand("二号楼", 5, phone="call me"),
        played.demand(" 1号 楼", 10, address="别处 9 号"),
        played.demand("１号楼", 12, address="别处九号"),  # full width: the same site as the line before
        played.demand("三号楼", 4, address="一号楼 路1号"),  # the address of the first
        {**played.demand("四号楼", 3), "item": "帐篷"},
        played.demand("五号楼", 0),
    ]
    status, report = await played.call("POST", path, played.malls[mall], table(*rows), "text/csv")
    assert status == 200
    told = [(r["line"], r["result"]) for r in report["results"]]
    assert told == [
        (2, "accepted"),
        (3, "invalid"),
        (4, "accepted"),
        (5, "duplicate"),
        (6, "duplicate"),
        (7, "invalid"),
        (8, "invalid"),
    ]
    assert report["results"][1]["detail"].startswith("phone:")
    again = (await played.call("POST", path, played.malls[mall], table(*rows), "text/csv"))[1]
    assert again["accepted"] == again["replaced"] == 0
    items = (await played.good("GET", path, played.malls[mall]))["items"]
    assert [(row["site"], row["quantity"], row["counts"]) for row in items] == [("一号楼", 10, 0), ("1号 楼", 10, 0)]
    status, problem = await played.call(
        "POST",
        path,
        played.malls[mall],
        table(rows[0], columns=("site", "item", "quantity", "contact", "phone", "address", "tier")),
        "text/csv",
    )
    assert status == 422 and "'tier'" in problem["detail"], "nobody gives itself a tier"
    ragged = table(rows[0]).replace(b"\r\n", b",more\r\n", 2).replace(b",more", b"", 1)
    assert (await played.call("POST", path, played.malls[mall], ragged, "text/csv"))[1]["results"][0][
        "result"
    ] == "invalid"


async def test_a_form_an_amendment_and_the_end_of_the_window(played: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mall = await played.mall("company")
    number = (await played.incident(duplicate_hours=1))["id"]
    path, who = f"/zones/{number}/demands", played.malls[mall]
    form = f"site=A1&item={MASK}&quantity=7&contact=Li&phone=13812341234&address=Road+1".encode()
    media = "application/x-www-form-urlencoded"
    assert (await played.call("POST", path, who, form, media))[1]["accepted"] == 1
    assert (await played.call("POST", path, who, form.replace(b"=7", b"=9"), media))[1]["duplicate"] == 1
    assert (await played.call("POST", path + "?amend=true", who, form.replace(b"=7", b"=9"), media))[1]["replaced"] == 1
    assert await played.value("SELECT quantity FROM emergency_demands") == 9
    assert await played.value("SELECT asked_again FROM emergency_demands") == 1
    await played.value("UPDATE emergency_demands SET asked_at = asked_at - interval '61 minutes' RETURNING 1")
    assert (await played.call("POST", path, who, form.replace(b"=7", b"=8"), media))[1]["replaced"] == 1
    assert (await played.call("POST", path + "?amend=true", who, form.replace(b"=7", b"=0"), media))[1]["replaced"] == 1
    for raw in (b"site=1&site=2", b"%ff%fe=1", b"=", b"site"):
        assert (await played.call("POST", path, who, raw, media))[0] in (200, 400), raw
    assert await played.value("SELECT count(*) FROM emergency_demands") == 1


async def test_nobody_sees_or_changes_what_another_company_asked(played: Stage) -> None:
    a, b = await played.mall("a"), await played.mall("b")
    everybody = (await played.incident())["id"]
    private = (await played.incident(mall_ids=[a]))["id"]
    assert (
        await played.good("POST", f"/zones/{private}/demands", played.malls[a], {"demands": [played.demand("楼", 3)]})
    )["accepted"]
    for method, path, body in (
        ("GET", f"/zones/{private}", None), ("GET", f"/zones/{private}/demands", None),
        ("POST", f"/zones/{private}/demands", {"demands": [played.demand("楼", 1)]}),
    ):  # fmt: skip
        assert (await played.call(method, path, played.malls[b], body))[0] == 404, path
    assert [z["id"] for z in (await played.good("GET", "/zones", played.malls[b]))["items"]] == [everybody]
    for who in (a, b):  # the same name at two companies is two sites; the same address is one
        body = {"demands": [played.demand("楼", 5, address=f"{who} 路"), played.demand("门房", 5, address="同一处")]}
        report = await played.good("POST", f"/zones/{everybody}/demands", played.malls[who], body)
        assert [r["result"] for r in report["results"]] == ["accepted", "accepted" if who == a else "duplicate"]
    assert "company" not in report["results"][1]["detail"] and str(a) not in report["results"][1]["detail"]
    for number in (everybody, private):
        await played.supplier(number, 5, name=f"supplier of {number}")
    found = {
        (who, number): len((await played.good("GET", f"/products?zone={number}", played.malls[who]))["items"])
        for who in (a, b)
        for number in (everybody, private)
    }
    assert found == {(a, everybody): 1, (a, private): 1, (b, everybody): 1, (b, private): 0}
    mine = (await played.good("GET", f"/zones/{everybody}/demands", played.malls[b]))["items"]
    assert [row["site"] for row in mine] == ["楼"]
    status, _ = await played.call(
        "POST", "/incidents", body={"title": "x", "area": "y", "items": [{"name": "z"}], "mall_ids": [a, 99]}
    )
    assert status == 422


async def test_the_public_has_a_code_and_a_limit(played: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = await played.incident(access="public", unverified_headcount=3)
    nobody: dict[str, str] = {"Authorization": ""}
    path = f"/public/zones/{incident['code']}"
    await played.supplier(incident["id"], 10)
    zone = await played.good("GET", path, nobody)
    assert zone["items"][0]["fenced"] == 10 and zone["products"] == []
    asked = await played.good("POST", f"{path}/demands", nobody, {"demands": [played.demand("我家", 50, headcount=9)]})
    assert asked["accepted"] == 1
    status, _ = await played.call("POST", f"{path}/demands", nobody, {"demands": [played.demand("我家", 50, tier=0)]})
    assert status == 200 and await played.value("SELECT tier FROM emergency_sites") is None
    plan = await played.committed(incident["id"])
    assert plan["figures"]["units"] == 6, "three people at two units each"
    await played.work()
    assert (
        await played.value("SELECT count(*) FROM orders o JOIN malls m ON m.id = o.mall_id WHERE m.name LIKE '应急%'")
        == 1
    )
    assert (await played.call("GET", "/public/zones/0000", nobody))[0] == 404
    monkeypatch.setattr(zones_web, "PER_SOURCE", 0)
    status, problem = await played.call("GET", path, nobody)
    assert status == 429 and problem["type"].endswith("too_many")
    await played.good("POST", f"/incidents/{incident['id']}/close")
    monkeypatch.setattr(zones_web, "PER_SOURCE", 1000)
    assert (await played.call("GET", path, nobody))[0] == 404
    assert (
        await played.value("SELECT count(*) FROM emergency_incidents WHERE code_digest = $1", incident["code"].encode())
        == 0
    )


async def test_substitutes_packs_reserves_and_promised_minimums(played: Stage) -> None:
    number = (await played.incident())["id"]
    await played.supplier(number, 3, each=10, name="boxes")
    await played.supplier(number, 40, name="others", substitute=True)
    await played.supplier(number, 8, name="reserved", pool="schools")
    await played.enter(
        number,
        played.verified("只要原样", 30, substitutes=False),
        played.verified("都行", 30),
        played.verified("学校", 20, tier=5, pool="schools", floor=12),
    )
    plan = await played.solved(number)
    rows = {r["site"]: r["granted"] for r in (await played.good("GET", f"/plans/{plan['id']}/explain"))["items"]}
    sent = {(row["name"], row["substitute"]): row["units"] for row in await rows_of(played)}
    assert rows["都行"] == 30 and rows["学校"] >= 12 and ("只要原样", True) not in sent
    assert all(units % 10 == 0 for (name, sub), units in sent.items() if name == "只要原样")
    assert plan["figures"]["units"] == sum(rows.values())


async def rows_of(played: Stage) -> list[dict[str, object]]:
    from hub.kernel.db import uow

    async with uow() as tx:
        return [
            dict(row)
            for row in await tx.fetch(
                "SELECT t.name, s.substitute, sum(a.units)::int AS units FROM emergency_allotments a "
                "JOIN emergency_supplies s ON s.id = a.supply_id JOIN emergency_sites t ON t.id = a.site_id "
                "GROUP BY 1, 2"
            )
        ]
