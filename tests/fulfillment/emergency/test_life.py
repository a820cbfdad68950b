"""An incident from its declaration to its report."""

from __future__ import annotations

from tests.fulfillment.emergency.kit import MASK, Stage, unzip


async def test_an_incident_from_its_declaration_to_its_report(played: Stage) -> None:
    mall = await played.mall("company")
    incident = await played.incident()
    number = incident["id"]
    assert incident["clock"]["seconds_left"] == 48 * 3600 and incident["code"] is None
    zones = await played.good("GET", "/zones", played.malls[mall])
    assert [zone["id"] for zone in zones["items"]] == [number], "the zone is open at once"
    supplier = await played.supplier(number, 60, 40)
    zone = await played.good("GET", f"/zones/{number}", played.malls[mall])
    assert zone["items"][0]["fenced"] == 100
    assert {p["title"] for p in zone["products"]} == {f"{s} 口罩 {n}" for n, s in enumerate([supplier_name(zone)] * 2)}
    page = await played.good("GET", f"/products?zone={number}&q=口罩&facets=true&sort=price", played.malls[mall])
    assert len(page["items"]) == 2 and not any(item["available"] for item in page["items"]), "seen, and not for sale"
    assert len((await played.good("GET", f"/products?zone={number}&limit=1"))["items"]) == 1
    assert (await played.good("GET", f"/products?zone={number + 1}"))["items"] == []
    asked = await played.good(
        "POST", f"/zones/{number}/demands", played.malls[mall], {"demands": [played.demand("一号楼", 90, headcount=45)]}
    )
    assert asked["accepted"] == 1
    await played.enter(number, played.verified("医院", 80, tier=0), played.verified("二号楼", 30))
    listed = (await played.good("GET", f"/incidents/{number}/demands"))["items"]
    assert [(d["site"], d["counts"]) for d in listed] == [("一号楼", 0), ("医院", 80), ("二号楼", 30)]
    checked = {"sites": [{"site_id": listed[0]["site_id"], "headcount": 30, "tier": 1}]}
    await played.good("POST", f"/incidents/{number}/verifications", body=checked)

    plan = await played.solved(number)
    assert plan["figures"]["units"] == 100 and plan["figures"]["wanted"] == 170
    assert [way["name"] for way in plan["comparison"]] == ["fair", "first come", "pro rata"]
    why = await played.good("GET", f"/plans/{plan['id']}/explain?site=医院")
    assert (why["items"][0]["granted"], why["items"][0]["reason"]) == (80, "full")
    everybody = (await played.good("GET", f"/plans/{plan['id']}/explain"))["items"]
    assert {row["site"]: row["granted"] for row in everybody} == {"医院": 80, "一号楼": 13, "二号楼": 7}
    assert await played.shelf(supplier["supplies"][0]["listing_id"]) == (60, 60), "a dry run holds nothing more"

    assert (await played.call("POST", f"/plans/{plan['id']}/commit"))[0] == 409
    for who in ("a", "a", "b"):
        plan = await played.good(
            "POST", f"/plans/{plan['id']}/approve", played.staff[who], {"plan_sha256": plan["plan_sha256"]}
        )
    assert len(plan["approvals"]) == 2
    plan = await played.good("POST", f"/plans/{plan['id']}/commit")
    assert plan["state"] == "committed"
    assert (await played.good("POST", f"/plans/{plan['id']}/commit"))["committed_at"] == plan["committed_at"]
    await played.sound()
    await played.work()
    await played.sound()
    mine = (await played.good("GET", f"/zones/{number}/demands", played.malls[mall]))["items"]
    assert [(row["site"], row["allotted"]) for row in mine] == [("一号楼", 13)] and "shared" not in mine[0]["why"]
    bought = (await played.good("GET", "/orders", played.malls[mall]))["items"]
    assert sum(line["qty"] for order in bought for line in order["lines"]) == 13
    vendor = await played.key("vendor", supplier["vendor_id"])
    letters = (await played.good("GET", "/vendor/orders", vendor))["items"]
    assert sum(line["qty"] for po in letters for line in po["lines"]) == 100
    assert {po["status"] for po in letters} == {"awaiting_vendor"}

    figures = await played.figures(number)
    assert (figures["counted"], figures["allotted"]) == (170, 100)
    assert {(t["tier"], t["allotted"], t["ordered"]) for t in figures["tiers"]} == {(0, 80, 80), (1, 20, 20)}
    files = unzip(await played.good("GET", f"/plans/{plan['id']}/files"))
    assert set(files) == {"demands.csv", "supplies.csv", "lead-times.csv", "plan.csv", "certificate.json"}
    closed = await played.good("POST", f"/incidents/{number}/close")
    assert closed["status"] == "closed"
    await played.sound()
    assert (await played.good("GET", "/zones", played.malls[mall]))["items"] == []
    assert (await played.good("GET", f"/products?zone={number}"))["items"] == []
    report = await played.good("GET", f"/incidents/{number}/report")
    assert report["figures"]["stock"] == [
        {
            "item": MASK,
            "vendors": 1,
            "warehouses": 2,
            "supplied": 100,
            "fenced": 0,
            "taken": 100,
            "lost": 0,
            "given_back": 0,
        }
    ]
    for kind, word in (("csv", MASK), ("html", "封控")):
        assert word in (await played.good("GET", f"/incidents/{number}/report?format={kind}")).decode()


def supplier_name(zone: dict) -> str:  # type: ignore[type-arg]
    return str(zone["products"][0]["title"]).partition(" 口罩")[0]
