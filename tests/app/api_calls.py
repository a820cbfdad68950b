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
from tests.app.api_world import SHARED_SKU, Tenant, World, pushed_product

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


def _rules(_world: World, _tenant: Tenant | None, _ids: Ids) -> Any:
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
    "GET /v1/orders/{id}/shipments": Way("own", "order:shipped"),
    # vendors
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
    "POST /v1/assortments/{mall}/preview": Way("staff", "mall", body=_rules),
    "PUT /v1/assortments/{mall}": Way("staff", "mall", body=_rules),
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
    "POST /v1/references": Way("staff", body=_reference),
    "GET /v1/references/unmatched": _STAFF,
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
    if any(p["name"] == "Idempotency-Key" for p in operations()[name]["parameters"]):
        headers["Idempotency-Key"] = f"call-{next(_fresh)}"
    body = way.body(world, tenant, ids) if way.body else None
    return Request(method, path, headers, body, raw)
