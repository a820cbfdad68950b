"""The lockdown drill of the demo: 120,000 units of 40 suppliers for 3,000 sites, over the hub's own HTTP surface, from
the declaration to a plan that is certified, approved by two people and reserved."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import random
import tempfile
import time
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from hub.app.demo.scene import Refused, Role, Scene, until

UNITS = 120_000
SUPPLIERS = 40
SITES = 3_000
MASK, KIT = "N95 口罩 mask", "抗原试剂 antigen kit"
AREAS = tuple(f"{n}区" for n in range(1, 17))
TIERS = ((0, "医院", 300, 80), (1, "养老院", 500, 60), (2, "小区", SITES - 800, 40))  # tier, kind, sites, people
COLUMNS = ("site", "item", "quantity", "area", "headcount", "contact", "phone", "address")


class Drill(BaseModel):
    """What the drill came to. `promises` must all hold."""

    units: int
    suppliers: int
    sites: int
    demands: int
    asked: int
    duplicates: int
    allotted: int
    sites_served: int
    worst_share: dict[str, float]
    gini: dict[str, float]
    solved_s: float
    took_s: float
    seconds: dict[str, float]
    plan_sha256: str
    clock_left_h: float
    promises: dict[str, bool]


def write(drill: Drill, path: Path) -> None:
    """The drill as JSON."""
    path.write_text(drill.model_dump_json(indent=1) + "\n")


def sites(seed: int = 19) -> list[dict[str, Any]]:
    """The sites, each with its tier and how many people it has and says it has."""
    rng = random.Random(seed)  # noqa: S311 - a story, not a secret
    made: list[dict[str, Any]] = []
    for tier, kind, count, people in TIERS:
        for n in range(1, count + 1):
            heads = max(5, round(rng.gauss(people, people / 3)))
            claimed = heads * 3 if n % 40 == 0 else heads  # some say more than they are
            made.append({"site": f"{kind}{n:04}", "tier": tier, "people": heads, "claimed": claimed,
                         "area": rng.choice(AREAS)})  # fmt: skip
    return made


def _table(chosen: list[dict[str, Any]], more: tuple[str, ...] = ()) -> bytes:
    """Demands of these sites as a company or staff would send them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *more))
    for n, site in enumerate(chosen):
        heads, address = site["claimed"], f"{site['area']}{site['site']}一号门"
        for item in (MASK, KIT) if n % 3 == 0 else (MASK,):
            row = [site["site"], item, heads, site["area"], heads, "值班员", "13800138000", address]
            writer.writerow(row + [site[name] for name in more])
    return text.getvalue().encode()


def _supplier(n: int, masks: int, kits: int) -> dict[str, Any]:
    """A supplier with a warehouse in its own area; it reaches its neighbours, and the rest of the town late."""
    warehouse = f"应急仓 {n:02}"
    home = n % len(AREAS)
    goods = [("M", MASK, "应急口罩", "1.80", masks), ("K", KIT, "应急抗原试剂", "6.50", kits)]
    near = [AREAS[(home + step) % len(AREAS)] for step in range(-3, 4)]
    leads = [{"warehouse": warehouse, "area": area, "hours": f"{6 + 2 * at}", "cost": f"{0.2 + 0.1 * abs(at - 3):.1f}"}
             for at, area in enumerate(near)]  # fmt: skip
    leads += [{"warehouse": warehouse, "area": "", "hours": "60", "cost": "3"}]
    return {
        "name": f"应急供应商 {n:02}",
        "name_en": f"Relief supplier {n:02}",
        "goods": [
            {"sku": f"{sku}-{n:02}", "title": f"{title} {n:02}", "price": price, "item": item, "warehouse": warehouse,
             "quantity": quantity, "lot": f"2026-{n:02}"}
            for sku, item, title, price, quantity in goods
        ],
        "leads": leads,
    }  # fmt: skip


async def play(stage: Scene, malls: list[Role], say: Any) -> Drill:
    """Play the drill with two companies."""
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    promises: dict[str, bool] = {}
    a, b = stage.staff, await stage.second_staff()

    def lap(name: str, since: float) -> float:
        seconds[name] = time.perf_counter() - since
        return time.perf_counter()

    at = began
    incident = await a.post("/v1/incidents", {
        "title": "封控演练 lockdown drill", "area": "全市", "exercise": True,
        "items": [{"name": MASK, "unit": "只", "per_head": 1}, {"name": KIT, "unit": "盒", "per_head": 1}],
    })  # fmt: skip
    path, zone = f"/v1/incidents/{incident['id']}", f"/v1/zones/{incident['id']}"
    zones = [(await mall.get("/v1/zones"))["items"] for mall in malls]
    promises["zone_open_at_once"] = all([one["id"] for one in found] == [incident["id"]] for found in zones)
    at = lap("declare", at)
    listings = await _onboard(a, path)
    at = lap("onboard suppliers", at)

    people = sites()
    parts = [people[n::3] for n in range(3)]
    reports = [await _send(mall, f"{zone}/demands", _table(part)) for mall, part in zip(malls, parts, strict=False)]
    verified = [{**site, "verified_headcount": site["people"]} for site in parts[2]]
    reports.append(await _send(a, f"{path}/demands", _table(verified, ("tier", "verified_headcount"))))
    again = await _send(malls[0], f"{zone}/demands", _table(parts[0]))
    promises["every_line_was_taken"] = all(r["invalid"] == r["duplicate"] == 0 for r in reports)
    promises["the_same_file_twice_asks_once"] = again["accepted"] == again["replaced"] == 0 < again["duplicate"]
    await _verify(a, path, {site["site"]: site for site in people})
    at = lap("ask and verify", at)

    plan = await a.post(f"{path}/plans")
    plan = await _until_solved(a, plan["id"])
    at = lap("plan", at)
    promises["certificate_verified_from_the_files"] = await _audit(a, plan["id"])
    at = lap("audit", at)
    said = {"plan_sha256": plan["plan_sha256"]}
    for _ in range(2):
        await a.post(f"/v1/plans/{plan['id']}/approve", said)
    promises["one_person_cannot_commit"] = await _refused(a.post(f"/v1/plans/{plan['id']}/commit"), "not_approved")
    await b.post(f"/v1/plans/{plan['id']}/approve", said)
    plan = await b.post(f"/v1/plans/{plan['id']}/commit")
    promises["plan_committed"] = plan["state"] == "committed"
    at = lap("approve and reserve", at)
    found = await a.get(path)
    figures = found["figures"]
    line = {"listing_id": listings[0], "qty": 1}
    ordinary = {"mall_order_no": "DRILL-ORDINARY", "mode": "place", "lines": [line],
                "ship_to": {"name": "李伟", "phone": "13812341234", "address": "一号"}}  # fmt: skip
    promises["ordinary_orders_cannot_touch_it"] = await _refused(
        malls[0].post("/v1/orders", ordinary, Idempotency_Key="drill-ordinary"), "out_of_stock"
    )
    stock = figures["stock"]
    promises["units_add_up"] = sum(s["supplied"] for s in stock) == UNITS and all(
        s["supplied"] == s["fenced"] + s["taken"] + s["lost"] + s["given_back"] for s in stock
    )
    granted, taken = sum(t["allotted"] for t in figures["tiers"]), sum(s["taken"] for s in stock)
    promises["what_the_plan_grants_is_reserved"] = granted == taken == plan["figures"]["units"] > 0
    promises["higher_tiers_first"] = _in_order(figures["tiers"])
    promises["within_the_48_hours"] = found["clock"]["seconds_left"] > 0
    way = {one["name"]: one for one in plan["comparison"]}
    return Drill(
        units=sum(s["supplied"] for s in stock),
        suppliers=SUPPLIERS,
        sites=figures["intake"]["sites"],
        demands=figures["intake"]["demands"],
        asked=sum(t["asked"] for t in figures["tiers"]),
        duplicates=again["duplicate"],
        allotted=granted,
        sites_served=plan["figures"]["served"],
        worst_share={name: one["worst"] for name, one in way.items()},
        gini={name: one["gini"] for name, one in way.items()},
        solved_s=plan["seconds"],
        took_s=time.perf_counter() - began,
        seconds=seconds,
        plan_sha256=plan["plan_sha256"],
        clock_left_h=found["clock"]["seconds_left"] / 3600,
        promises=promises,
    )


async def _onboard(staff: Role, path: str) -> list[str]:
    """All suppliers, a few at once; returns their listings."""
    masks = _shares(UNITS * 3 // 4, SUPPLIERS)
    kits = _shares(UNITS - UNITS * 3 // 4, SUPPLIERS)
    listings: list[str] = []
    for n in range(SUPPLIERS):
        made = await staff.post(f"{path}/suppliers", _supplier(n, masks[n], kits[n]))
        listings += [supply["listing_id"] for supply in made["supplies"]]
    return listings


def _shares(total: int, parts: int) -> list[int]:
    """Uneven whole parts of a total."""
    rng = random.Random(total)  # noqa: S311
    weights = [rng.uniform(0.4, 1.6) for _ in range(parts)]
    made = [int(total * weight / sum(weights)) for weight in weights]
    made[0] += total - sum(made)
    return made


async def _send(role: Role, path: str, table: bytes) -> Any:
    answer = await role.http.post(path, content=table, headers={"Content-Type": "text/csv"})
    if answer.status_code != 200:
        raise Refused(f"{path}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


async def _verify(staff: Role, path: str, known: dict[str, dict[str, Any]]) -> None:
    """Staff verify what companies' sites said of themselves."""
    demands = await staff.pages(f"{path}/demands", cursor="cursor", limit=1000)
    open_ = {row["site_id"]: known[row["site"]] for row in demands if row["tier"] is None}
    rows = [{"site_id": n, "headcount": site["people"], "tier": site["tier"]} for n, site in open_.items()]
    await staff.post(f"{path}/verifications", {"sites": rows})


async def _until_solved(staff: Role, plan_id: int) -> Any:
    async def solved() -> Any:
        plan = await staff.get(f"/v1/plans/{plan_id}")
        if plan["state"] == "failed":
            raise Refused(f"the plan failed: {plan['problem']}")
        return plan if plan["state"] == "proposed" else None

    return await until(solved, "the plan", 120, 0.1)


async def _audit(staff: Role, plan_id: int) -> bool:
    """Check the plan from its files as an auditor would: by `supplyhub verify-plan`, without the server."""
    from hub.app.allocate_command import Inputs, verify

    answer = await staff.http.get(f"/v1/plans/{plan_id}/files")

    def look() -> bool:
        with tempfile.TemporaryDirectory(prefix="supplyhub-audit-") as name:
            folder = Path(name)
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                archive.extractall(folder)
            inputs = Inputs(
                folder / "demands.csv", folder / "supplies.csv", folder / "lead-times.csv", Decimal(48), None, 0
            )
            nothing = frozenset[str]()
            return verify(
                inputs, folder / "plan.csv", folder / "certificate.json", nothing, lambda _: None, lambda _: None
            )

    return await asyncio.to_thread(look)


async def _refused(call: Any, code: str) -> bool:
    try:
        await call
    except Refused as refused:
        return refused.code == code
    return False


def _in_order(tiers: list[dict[str, Any]]) -> bool:
    """No tier gets a larger share of what counts than one before it, item by item."""
    for item in (MASK, KIT):
        shares = [
            t["allotted"] / t["counted"] for t in sorted(tiers, key=lambda t: int(t["tier"])) if t["item"] == item
        ]
        if any(later > earlier + 1e-9 for earlier, later in itertools.pairwise(shares)):
            return False
    return True


def show(drill: Drill, console: Console) -> None:
    """Print what the drill came to."""
    table = Table(title="9. Lockdown drill 封控演练", title_justify="left", title_style="bold", expand=False)
    for column in ("plan", "units", "worst share", "Gini"):
        table.add_column(column, justify="left" if column == "plan" else "right")
    for name, worst in drill.worst_share.items():
        units = f"{drill.allotted:,}" if name == "fair" else ""
        table.add_row(name, units, f"{worst:.1%}", f"{drill.gini[name]:.3f}")
    console.print(table)
    console.print(
        f"{drill.units:,} units of {drill.suppliers} suppliers for {drill.sites:,} sites ({drill.demands:,} demands, "
        f"{drill.asked:,} units asked, {drill.duplicates:,} duplicates); solved and checked in {drill.solved_s:.2f} s; "
        f"from declaration to reserved plan in {drill.took_s:.1f} s ({drill.clock_left_h:.2f} h left on the clock); "
        f"plan {drill.plan_sha256[:16]}."
    )
    kept = Table("promise", "kept", title="Promises of the drill", title_justify="left", title_style="bold")
    for name, holds in drill.promises.items():
        kept.add_row(name.replace("_", " "), "yes" if holds else "[bold red]NO[/]")
    console.print(kept)
    console.print("Took: " + ", ".join(f"{name} {spent:.1f} s" for name, spent in drill.seconds.items()) + ".")
