"""Every operation of the API, with whom it serves and one good way to call it. A route that is not classified here
fails the tests that read the OpenAPI document until somebody has thought about who may call it with whose ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from hub.app.operations import api_document
from hub.kernel import clock
from tests.app.api_world import ITEM, SHARED_SKU, Tenant, World, pushed_product

# own: rows of the calling tenant alone. shared: the catalogue, the same rows for all who may read it. figure: the
# caller's part of a number. staff: everything. signed: proved by the vendor system's signature. public: nobody's.
Reach = Literal["own", "shared", "figure", "staff", "signed", "public"]
Ids = Mapping[str, str]
_fresh = itertools.count(1)


@dataclass(frozen=True)
class Way:
    """One good call of an operation: `{}` in the path is `id` out of the caller's ids."""

    reach: Reach
    id: str = ""
    query: str = ""
    body: Callable[[World, Tenant | None, Ids], Any] | None = None
    table: Callable[[Ids], str] | None = None  # a CSV body


@dataclass(frozen=True)
class Request:
    """A request that is ready to be sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None
    raw: bytes | None = None


def _order(world: World, tenant: Tenant | None, _ids: Ids) -> Any:
    mall = tenant if tenant is not None and tenant.scope == "mall" else world.malls["A"]
    vendor = world.vendors[mall.letter]
    lines = [{"listing_id": vendor.ids[f"listing:REST-{vendor.name}"], "qty": 1, "max_price": "20"}]
    return world.letter(mall, lines)[0]


def _connection(world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    columns = {column: column for column in ("vendor_sku", "title", "price", "on_hand")}
    config = {"file": f"{world.vendors['A'].name}.csv", "map": columns}
    return {
        "vendor_id": int(ids["vendor"]),
        "connector": "table_feed",
        "name": f"more {next(_fresh)}",
        "config": config,
    }


def _move(world: World, tenant: Tenant | None, _ids: Ids) -> Any:
    return {"line_no": 1, "slot_id": (tenant or world.malls["A"]).ids["target"]}


def _case(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"line_no": 1, "qty": 1, "kind": "refund", "reason": "broken"}


def _codes(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"codes": [{"code": f"CODE-{next(_fresh):06}"}]}


def _reference(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    seen = clock.now() - timedelta(minutes=next(_fresh))
    evidence = {"source": "market", "captured_at": seen.isoformat()}
    return {"references": [{"product_id": ids["product"], "price": "10.00", "evidence": evidence}]}


def _carrier_lookup(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    number = f"YT{next(_fresh):013}"
    return {"connection_id": int(ids["carrier_account"]), "carrier": "yuantong", "tracking_no": number}


def _rate(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    day = (clock.now() - timedelta(days=next(_fresh))).date().isoformat()
    return {"rates": [{"currency": "USD", "day": day, "rate": "7.1", "source": "the central bank"}]}


def _waiver(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"note": "until the contract ends", "until": (clock.now() + timedelta(days=30)).isoformat()}


def _scan(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    number = f"NOBODYS{next(_fresh)}"
    return {"events": [{"carrier": "sf", "tracking_no": number, "status": "shipped", "event_at": str(clock.now())}]}


def _parcel(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"parcels": [{"carrier": "sf", "tracking_no": f"NEW{next(_fresh)}"}]}


def _listing(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"listings": [{"sku": f"OWN-{next(_fresh)}", "title": "自报商品", "price": "9.90", "on_hand": 3}]}


def _rules(world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    rule = {"name": "large", "kind": "large_value", "amount": "1000000", "action": "flag"}
    return {"mall_id": world.malls["B"].id, "rules": [rule]}


def _orders_list(ids: Ids) -> str:
    return f"采购单号,金额\nNEW-{next(_fresh)}-{ids['connection']},10"


def _terms(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    day = f"2100-01-{next(_fresh) % 28 + 1:02}"
    return {"vendor_id": int(ids["vendor"]), "valid_from": day, "valid_to": day, "tax_rate": "0.13", "agreed": "§ 1"}


def _adjustment(world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"mall_id": world.malls["A"].id, "kind": "refund", "amount": "-1.50", "reason": "a broken cup"}


def _month(world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"mall_id": world.malls["B"].id, "month": world.ids["month"], "reason": "to be sure"}


def _assortment(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"rules": [{"effect": "exclude", "category": "nothing is called so"}]}


def _refused(ids: Ids) -> Any:
    return {"connection_id": int(ids["connection"]), "reason": "nobody was refused for this"}


def _stock(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"updates": [{"sku": SHARED_SKU, "on_hand": 400 + next(_fresh)}]}


def _endpoint(_world: World, tenant: Tenant | None, _ids: Ids) -> Any:
    return {"url": f"https://hooks.example/{tenant.name if tenant else 'staff'}/{next(_fresh)}"}


def _since(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"since": (clock.now() - timedelta(hours=1)).isoformat()}


def _verdict(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    return {"verdict": "different", "seen": ids["match_seen"], "why": "looked at both"}


def _take_back(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    return {"seen": ids["decided_match_seen"], "why": "looked again"}


def _merge(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    return {"into": ids["merging_into"], "why": "one thing"}


def _split(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    return {"listing_ids": [ids["splitting_listing"]], "why": "two things"}


def _incident(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    return {"title": f"incident {next(_fresh)}", "area": "徐汇", "items": [{"name": ITEM, "per_head": 2}]}


def _supplies(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    listing = next(value for name, value in sorted(ids.items()) if name.startswith("listing:REST-"))
    supply = {"listing_id": listing, "item": ITEM, "warehouse": "one more", "quantity": 1, "lot": f"L{next(_fresh)}"}
    return {"supplies": [supply]}


def _supplier(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
    goods = {"sku": "M1", "title": "应急毛巾", "price": "1.20", "item": ITEM, "warehouse": "新仓", "quantity": 9}
    return {"name": f"ad-hoc supplier {next(_fresh)}", "goods": [goods], "leads": [{"warehouse": "新仓", "hours": "3"}]}


def _demands(world: World, tenant: Tenant | None, _ids: Ids) -> Any:
    return {"demands": [world.demand(tenant, 5)]}


def _verifications(_world: World, _tenant: Tenant | None, ids: Ids) -> Any:
    return {"sites": [{"site_id": int(ids["site"]), "headcount": 100, "tier": 1}]}


_FIGURE = Way("figure")
_SHARED = Way("shared")
_STAFF = Way("staff")
_PUBLIC = Way("public")

WAYS: dict[str, Way] = {
    "GET /docs": _PUBLIC,
    "GET /healthz": _PUBLIC,
    "GET /metrics": _PUBLIC,
    "GET /openapi.json": _PUBLIC,
    "GET /readyz": _PUBLIC,
    "POST /v1/push/{connection}": Way("signed", "pushes"),
    "POST /v1/push/carriers/{carrier}": Way("signed", "carrier", query="connection={carrier_account}"),
    # the catalogue
    "GET /v1/products": Way("shared", query="q=口罩&facets=true&sort=price"),
    "GET /v1/products/suggest": Way("shared", query="q=口"),
    "GET /v1/products/{id}": Way("shared", "product"),
    "POST /v1/products/lookup": Way("shared", body=lambda _w, _t, ids: {"ids": [ids["product"], "prd_999"]}),
    "GET /v1/availability": Way("shared", query="listing_id={listing}"),
    "GET /v1/changes": _SHARED,
    "GET /v1/changes/stream": _SHARED,
    "GET /v1/clinics": _SHARED,
    "GET /v1/clinics/{id}/slots": Way("shared", "clinic"),
    # malls
    "GET /v1/orders": Way("own"),
    "POST /v1/orders": Way("own", body=_order),
    "GET /v1/orders/{id}": Way("own", "order:shipped"),
    "POST /v1/orders/{id}/cancel": Way("own", "order:to_cancel"),
    "POST /v1/orders/{id}/confirm": Way("own", "order:reserved"),
    "POST /v1/orders/{id}/reschedule": Way("own", "order:slot", body=_move),
    "GET /v1/orders/{id}/codes": Way("own", "order:codes"),
    "POST /v1/orders/{id}/codes/reveal": Way("own", "order:codes"),
    "GET /v1/orders/{id}/after-sales": Way("own", "order:cases"),
    "POST /v1/orders/{id}/after-sales": Way("own", "order:cases", body=_case),
    "POST /v1/after-sales/{id}/withdraw": Way("own", "asc:withdrawn"),
    "POST /v1/after-sales/{id}/sent": Way("own", "asc:sent", body=lambda *_: {"carrier": "sf", "tracking_no": "BACK1"}),
    "GET /v1/vendor/after-sales": Way("own"),
    "POST /v1/vendor/after-sales/{id}/decide": Way("own", "asc:open", body=lambda *_: {"event": "approve"}),
    "GET /v1/after-sales": _STAFF,
    "POST /v1/after-sales/{id}/decide": Way("staff", "asc", body=lambda *_: {"event": "approve"}),
    "POST /v1/after-sales/{id}/refund": Way("staff", "asc_paid"),
    "POST /v1/after-sales/{id}/replace": Way("staff", "asc_replaced"),
    "GET /v1/orders/{id}/shipments": Way("own", "order:shipped"),
    "GET /v1/statements": Way("own"),
    "GET /v1/statements/{id}/file": Way("own", "stm:issued"),
    # vendors
    "GET /v1/vendor/settlements/cases": Way("own"),
    "POST /v1/vendor/settlements/lists": Way("own", table=_orders_list),
    "GET /v1/vendor/settlements/statements": Way("own"),
    "GET /v1/vendor/settlements/statements/{id}/file": Way("own", "stm:issued"),
    "GET /v1/vendor/orders": Way("own"),
    "POST /v1/vendor/orders/{po}/accept": Way("own", "po:to_accept"),
    "POST /v1/vendor/orders/{po}/cancel": Way("own", "po:to_withdraw"),
    "POST /v1/vendor/orders/{po}/reject": Way("own", "po:to_reject", body=lambda *_: {"reason": "no"}),
    "POST /v1/vendor/orders/{po}/ship": Way("own", "po:to_ship", body=_parcel),
    "POST /v1/vendor/listings": Way("own", body=_listing),
    "POST /v1/vendor/stock": Way("own", body=_stock),
    # malls and vendors alike
    "GET /v1/webhook-types": Way("own"),
    "GET /v1/webhook-endpoints": Way("own"),
    "POST /v1/webhook-endpoints": Way("own", body=_endpoint),
    "GET /v1/webhook-endpoints/{id}": Way("own", "hook"),
    "PUT /v1/webhook-endpoints/{id}": Way("own", "hook", body=lambda *_: {"description": f"no. {next(_fresh)}"}),
    "DELETE /v1/webhook-endpoints/{id}": Way("own", "hook:to_remove"),
    "GET /v1/webhook-endpoints/{id}/deliveries": Way("own", "hook"),
    "POST /v1/webhook-endpoints/{id}/replay": Way("own", "hook", body=_since),
    "POST /v1/webhook-endpoints/{id}/rotate": Way("own", "hook"),
    "POST /v1/webhook-endpoints/{id}/test": Way("own", "hook"),
    # emergencies: zones, then staff
    "GET /v1/zones": Way("own"),
    "GET /v1/zones/{id}": Way("own", "incident"),
    "GET /v1/zones/{id}/demands": Way("own", "incident"),
    "POST /v1/zones/{id}/demands": Way("own", "incident", body=_demands),
    "GET /v1/public/zones/{code}": Way("public", "zone_code"),
    "POST /v1/public/zones/{code}/demands": Way("public", "zone_code", body=_demands),
    "GET /v1/incidents": _STAFF,
    "POST /v1/incidents": Way("staff", body=_incident),
    "GET /v1/incidents/{id}": Way("staff", "incident"),
    "POST /v1/incidents/{id}/close": Way("staff", "incident_to_close"),
    "GET /v1/incidents/{id}/demands": Way("staff", "incident"),
    "POST /v1/incidents/{id}/demands": Way("staff", "incident", body=_demands),
    "POST /v1/incidents/{id}/lead-times": Way(
        "staff", "incident", body=lambda *_: {"leads": [{"warehouse": "one more", "area": "A", "hours": "2.5"}]}
    ),
    "GET /v1/incidents/{id}/plans": Way("staff", "incident"),
    "POST /v1/incidents/{id}/plans": Way("staff", "incident_spare"),
    "GET /v1/incidents/{id}/report": Way("staff", "incident"),
    "POST /v1/incidents/{id}/suppliers": Way("staff", "incident", body=_supplier),
    "GET /v1/incidents/{id}/supplies": Way("staff", "incident"),
    "POST /v1/incidents/{id}/supplies": Way("staff", "incident", body=_supplies),
    "POST /v1/incidents/{id}/verifications": Way("staff", "incident", body=_verifications),
    "GET /v1/plans/{id}": Way("staff", "plan"),
    "POST /v1/plans/{id}/approve": Way("staff", "plan_spare"),
    "POST /v1/plans/{id}/commit": Way("staff", "plan"),
    "GET /v1/plans/{id}/explain": Way("staff", "plan", query="site={site}"),
    "GET /v1/plans/{id}/files": Way("staff", "plan"),
    # figures
    "GET /v1/metrics/delivery-72h": _FIGURE,
    "GET /v1/metrics/stockouts": _FIGURE,
    # procurement staff
    "GET /v1/carriers": _STAFF,
    "GET /v1/carriers/follows": _STAFF,
    "POST /v1/carriers/follows/again": Way("staff", body=lambda *_: {"state": "refused"}),
    "POST /v1/carriers/lookups": Way("staff", body=_carrier_lookup),
    "POST /v1/carriers/payloads": Way("staff", query="carrier=fedex", body=lambda *_: {"message": "nothing known"}),
    "GET /v1/assortments": _STAFF,
    "GET /v1/assortments/{mall}": Way("staff", "mall"),
    "POST /v1/assortments/{mall}/preview": Way("staff", "mall", body=_assortment),
    "PUT /v1/assortments/{mall}": Way("staff", "mall", body=_assortment),
    "GET /v1/connections": _STAFF,
    "POST /v1/connections": Way("staff", body=_connection),
    "GET /v1/connections/{id}/codes": Way("staff", "pool"),
    "POST /v1/connections/{id}/codes": Way("staff", "pool", body=_codes),
    "POST /v1/connections/{id}/preview": Way("staff", "connection"),
    "POST /v1/connections/{id}/sync": Way("staff", "connection"),
    "POST /v1/connections/{id}/test": Way("staff", "connection"),
    "GET /v1/connections/{id}": Way("staff", "connection"),
    "PATCH /v1/connections/{id}": Way("staff", "connection", body=lambda *_: {"sync_every_s": 700 + next(_fresh)}),
    "POST /v1/connections/{id}/live": Way("staff", "connection"),
    "POST /v1/connections/{id}/pause": Way("staff", "spare"),
    "GET /v1/connectors": _STAFF,
    "GET /v1/listing-identities": _STAFF,
    "GET /v1/matches": _STAFF,
    "GET /v1/matches/{id}": Way("staff", "match"),
    "POST /v1/matches/{id}/decide": Way("staff", "match", body=_verdict),
    "POST /v1/matches/{id}/undo": Way("staff", "decided_match", body=_take_back),
    "POST /v1/products/{id}/merge": Way("staff", "merging", body=_merge),
    "POST /v1/products/{id}/split": Way("staff", "splitting", body=_split),
    "GET /v1/regroupings": _STAFF,
    "POST /v1/regroupings/{id}/undo": Way("staff", "regrouping", body=lambda *_: {"why": "a test article"}),
    "GET /v1/metrics/assortment": _STAFF,
    "GET /v1/metrics/parity": _STAFF,
    "GET /v1/parity/cases": _STAFF,
    "GET /v1/parity/cases/{id}": Way("staff", "case"),
    "POST /v1/parity/cases/{id}/close": Way("staff", "case:closing", body=lambda *_: {"note": "a bad reference"}),
    "POST /v1/parity/cases/{id}/offer": Way("staff", "case", body=lambda *_: {"note": "by letter", "price": "9.50"}),
    "POST /v1/parity/cases/{id}/tell": Way("staff", "case", body=lambda *_: {"note": "called the vendor"}),
    "POST /v1/parity/cases/{id}/waive": Way("staff", "case:waiving", body=_waiver),
    "POST /v1/parity/cases/{id}/review": Way("staff", "case", body=lambda *_: {"reason": "agreed"}),
    "GET /v1/parity/findings": _STAFF,
    "GET /v1/parity/moves": _STAFF,
    "POST /v1/parity/moves/{id}/confirm": Way("staff", "move:meant", body=lambda *_: {"reason": "the vendor says so"}),
    "POST /v1/parity/moves/{id}/refuse": Way("staff", "move:slip", body=lambda *_: {"reason": "a slip of the unit"}),
    "GET /v1/parity/policies": _STAFF,
    "DELETE /v1/parity/policies": Way("staff", query="mall_id={mall}&category=spare"),
    "PUT /v1/parity/policies": Way("staff", body=lambda w, *_: {"mall_id": w.malls["B"].id, "action": "observe"}),
    "GET /v1/parity/rates": _STAFF,
    "POST /v1/parity/rates": Way("staff", body=_rate),
    "GET /v1/parity/rechecks": _STAFF,
    "POST /v1/parity/rechecks": Way("staff", body=lambda *_: {"reason": "a drill"}),
    "GET /v1/quarantine": _STAFF,
    "GET /v1/quarantine/causes": _STAFF,
    "POST /v1/quarantine/discard": Way("staff", body=lambda _w, _t, ids: {**_refused(ids), "why": "a test article"}),
    "POST /v1/quarantine/replay": Way("staff", body=lambda _w, _t, ids: _refused(ids)),
    "GET /v1/references": _STAFF,
    "PUT /v1/listings/{id}/buffer": Way("staff", "listing", body=lambda *_: {"buffer": 1}),
    "GET /v1/orders/{id}/routing": Way("staff", "order"),
    "GET /v1/routing/policies": _STAFF,
    "PUT /v1/routing/policies": Way("staff", body=lambda w, *_: {"mall_id": w.malls["B"].id, "standing": "0.5"}),
    "DELETE /v1/routing/policies/{id}": Way("staff", "policy"),
    "GET /v1/quotas": _STAFF,
    "PUT /v1/quotas": Way("staff", body=lambda _w, _t, ids: {"product_id": ids["product"], "per_order": 90_000}),
    "DELETE /v1/quotas/{id}": Way("staff", "quota"),
    "POST /v1/references": Way("staff", body=_reference),
    "GET /v1/references/unmatched": _STAFF,
    "GET /v1/settlements/adjustments": _STAFF,
    "POST /v1/settlements/adjustments": Way("staff", body=_adjustment),
    "GET /v1/settlements/cases": _STAFF,
    "POST /v1/settlements/cases/{id}/note": Way("staff", "stc:one", body=lambda *_: {"note": "called them"}),
    "POST /v1/settlements/cases/{id}/resolve": Way(
        "staff", "stc:one", body=lambda *_: {"resolution": "accepted", "reason": "as agreed"}
    ),
    "POST /v1/settlements/lists": Way("staff", query="vendor={vendor}", table=_orders_list),
    "GET /v1/settlements/rows": _STAFF,
    "POST /v1/settlements/rows/{id}/discard": Way("staff", "str:two", body=lambda *_: {"reason": "not ours"}),
    "POST /v1/settlements/rows/{id}/match": Way("staff", "str:one", body=lambda _w, _t, i: {"po": i["po:shipped"]}),
    "GET /v1/settlements/runs": _STAFF,
    "POST /v1/settlements/runs": Way(
        "staff", body=lambda _w, _t, ids: {"vendor_id": int(ids["vendor"]), "day": "2026-01-01"}
    ),
    "GET /v1/settlements/statements": _STAFF,
    "POST /v1/settlements/statements": Way("staff", body=_month),
    "GET /v1/settlements/statements/{id}/file": Way("staff", "stm:issued"),
    "POST /v1/settlements/statements/{id}/issue": Way("staff", "stm:issued"),
    "GET /v1/settlements/terms": Way("staff", query="vendor={vendor}"),
    "POST /v1/settlements/terms": Way("staff", body=_terms),
    "GET /v1/review-rules": Way("staff", query="mall=1"),
    "PUT /v1/review-rules": Way("staff", body=_rules),
    "GET /v1/reviews": _STAFF,
    "POST /v1/reviews/{id}/release": Way("staff", "review:to_release"),
    "POST /v1/reviews/{id}/refuse": Way("staff", "review:to_refuse", body=lambda *_: {"reason": "no"}),
    "GET /v1/sync-runs": _STAFF,
    "POST /v1/tracking-events": Way("staff", body=_scan),
    "GET /v1/vendors": _STAFF,
    "POST /v1/vendors": Way("staff", body=lambda *_: {"name": f"another vendor {next(_fresh)}"}),
}


def operations() -> dict[str, dict[str, Any]]:
    """Every operation of the OpenAPI document, as `METHOD /path`."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in api_document()["paths"].items()
        for method, operation in methods.items()
    }


def caller_of(world: World, operation: Mapping[str, Any], letter: str = "A") -> Tenant | None:
    """Who calls this operation in the natural way; None: staff, or anybody."""
    scopes = operation["x-scopes"]
    if "mall" in scopes:
        return world.malls[letter]
    return world.vendors[letter] if "vendor" in scopes else None


def request(world: World, name: str, tenant: Tenant | None, *, path_id: str | None = None) -> Request:
    """A good request of operation `name` by a tenant (None: by staff), or the same with another id in its path.
    It is complete but for the key: add the headers of whoever shall send it."""
    way = WAYS[name]
    vendor = world.vendors[tenant.letter if tenant else "A"]
    ids = {**vendor.ids, **world.ids, "vendor": str(vendor.id), **(tenant.ids if tenant else {})}
    method, path = name.split(" ")
    if way.id:
        head, _, rest = path.partition("{")
        path = head + (ids[way.id] if path_id is None else path_id) + rest.partition("}")[2]
    if way.query:
        path += "?" + way.query.format(**ids)
    headers: dict[str, str] = {}
    raw = None
    if way.reach == "signed":
        raw = pushed_product(f"PUSHED-{next(_fresh)}", "推送的商品")
        headers = world.signed(vendor.letter, raw, f"delivery-{next(_fresh)}")
    if way.table is not None:
        raw, headers = way.table(ids).encode(), {"Content-Type": "text/csv"}
    if any(p["name"] == "Idempotency-Key" for p in operations()[name]["parameters"]):
        headers["Idempotency-Key"] = f"call-{next(_fresh)}"
    body = way.body(world, tenant, ids) if way.body else None
    return Request(method, path, headers, body, raw)
