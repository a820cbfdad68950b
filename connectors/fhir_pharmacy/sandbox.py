"""A stand-in for a pharmacy's FHIR server, written from the standard (R5, 5.0.0): MedicationKnowledge, InventoryReport
and the Medications that reports point at; `Bundle.link` paging with `_count`, `_lastUpdated`, `_id`, OperationOutcome
bodies, a CapabilityStatement, a Bearer token or OAuth2 client credentials. As R4 (`version="4.0.1"`) it has no
InventoryReport, and says so."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connectors.sandbox_kit import ACTS, Faults, Sandbox
from hub.kernel import clock

DRUG_CODES = "https://sandbox.example/drug-code"
SKUS = "https://sandbox.example/sku"
RETAIL = "retail"
_GTIN = "https://www.gs1.org/gtin"
_TYPES = ("MedicationKnowledge", "InventoryReport", "Medication", "InventoryItem", "Device", "Location")
_FHIR = "application/fhir+json"
Resource = dict[str, Any]


class PharmacySandbox(Sandbox):
    """A pharmacy with these medicines and reports, as finished resources (see `medicine` and `report`).

    Beside the shared faults: `unknown` names search parameters it does not know (it answers them with nothing, as some
    servers do), `forget_searches` answers 410 to page links, `silent` leaves the resources out of its
    CapabilityStatement."""

    def __init__(
        self,
        resources: Iterable[Resource] = (),
        faults: Faults | None = None,
        *,
        token: str = "fhir-pharmacy-token-42",  # noqa: S107 - the sandbox's own
        version: str = "5.0.0",
        unknown: Iterable[str] = (),
    ) -> None:
        super().__init__(faults)
        self.token = token
        self.client_secret = "fhir-client-secret-42"  # noqa: S105 - the sandbox's own
        self.version = version
        self.forget_searches = False
        self.silent = False
        self.tokens_given = 0
        self._unknown = frozenset(unknown)
        self._numbers = itertools.count(1)
        self.types = [
            kind for kind in _TYPES if version.startswith("5") or kind not in ("InventoryReport", "InventoryItem")
        ]
        self._store: dict[str, dict[str, Resource]] = {kind: {} for kind in self.types}
        self.keep(*resources)

    def connection(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Settings and secrets of a connection to this server, once it is started."""
        return {"base_url": f"{self.base_url}/fhir", "price_type": RETAIL}, {"token": self.token}

    def client_connection(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The same with OAuth2 client credentials."""
        config, _ = self.connection()
        own = {"token_url": f"{self.base_url}/oauth/token", "client_id": "hub"}
        return {**config, **own}, {"client_secret": self.client_secret}

    def keep(self, *resources: Resource) -> None:
        """Store new versions of these resources; their own `meta.lastUpdated` stays."""
        for resource in resources:
            known = self._store[resource["resourceType"]].get(resource.get("id", ""))
            number = resource.get("id") or f"r{next(self._numbers)}"
            version = int((known or {}).get("meta", {}).get("versionId", 0)) + 1
            stamp = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            meta = {"lastUpdated": stamp, **resource.get("meta", {}), "versionId": str(version)}
            self._store[resource["resourceType"]][number] = {**resource, "id": number, "meta": meta}

    def change(self, kind: str, number: str, **fields: Any) -> None:
        """The pharmacy changes a resource, now."""
        kept = self._store[kind][number]
        self.keep({**kept, **fields, "meta": {}})

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/oauth/token", self._give_token)
        app.router.add_get("/fhir/metadata", self._metadata)
        app.router.add_get("/fhir/{kind}", self._search)

    def denied(self) -> web.Response:
        return _outcome(401, "login", "Unauthorized")

    async def _give_token(self, request: web.Request) -> web.Response:
        request[ACTS] = False
        form = await request.post()
        wanted = "Basic " + base64.b64encode(f"hub:{self.client_secret}".encode()).decode()
        if request.headers.get("Authorization") != wanted or form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens_given += 1
        self.token = f"fhir-fetched-token-{self.tokens_given}"
        return web.json_response({"access_token": self.token, "token_type": "bearer", "expires_in": 300})

    async def _metadata(self, _request: web.Request) -> web.Response:
        rest: Resource = {"mode": "server"}
        if not self.silent:
            rest["resource"] = [{"type": kind, "interaction": [{"code": "search-type"}]} for kind in self.types]
        made = {"resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "format": ["json"]}
        return _json({**made, "fhirVersion": self.version, "rest": [rest]})

    async def _search(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.denied()
        kind = request.match_info["kind"]
        if kind not in self._store:
            return _outcome(404, "not-supported", f"Unknown resource type {kind!r}")
        asked = [(name, value) for name, value in request.query.items() if name not in ("_count", "_page")]
        count, page = int(request.query.get("_count", 20)), int(request.query.get("_page", 1))
        if page > 1 and self.forget_searches:
            return _outcome(410, "deleted", "The search has expired")
        matches = self._matches(kind, asked)
        start = 0 if self.faults.repeat_page else (page - 1) * count
        entries = [] if self.faults.drop_page == page else matches[start : start + count]
        made: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(matches)}
        if entries:
            made["entry"] = [
                {"fullUrl": f"{self.base_url}/fhir/{kind}/{x['id']}", "resource": x, "search": {"mode": "match"}}
                for x in entries
            ]
        made["link"] = [{"relation": "self", "url": str(request.url)}]
        if page * count < len(matches):
            following = request.url.with_query([*asked, ("_count", str(count)), ("_page", str(page + 1))])
            made["link"].append({"relation": "next", "url": str(following)})
        return _json(made)

    def _matches(self, kind: str, query: Iterable[tuple[str, str]]) -> list[Resource]:
        found = list(self._store[kind].values())
        for name, value in query:
            if name in self._unknown:
                return []
            if name == "_lastUpdated" and value.startswith("ge"):
                edge = datetime.fromisoformat(value[2:])
                found = [x for x in found if datetime.fromisoformat(x["meta"]["lastUpdated"]) >= edge]
            elif name == "_id":
                found = [x for x in found if x["id"] in value.split(",")]
            else:
                return []
        return found


def medicine(number: str, title: str, price: str | None = None, **more: Any) -> Resource:
    """A MedicationKnowledge of R5; `gtin`, `drug_code`, `sku` and `name_en` become codes and names, the rest stands."""
    codings = [
        {"system": system, "code": str(more.pop(key))}
        for key, system in (("gtin", _GTIN), ("drug_code", DRUG_CODES))
        if more.get(key)
    ]
    names = [title, *([more.pop("name_en")] if more.get("name_en") else [])]
    made: Resource = {"resourceType": "MedicationKnowledge", "id": number, "status": "active", "name": names}
    made["code"] = {"coding": codings, "text": title} if codings else {"text": title}
    if sku := more.pop("sku", None):
        made["identifier"] = [{"system": SKUS, "value": sku}]
    if price is not None:
        made["cost"] = [cost(price)]
    return {**made, **more}


def cost(price: str, kind: str = RETAIL, **more: Any) -> Resource:
    """One `MedicationKnowledge.cost`."""
    return {"type": {"coding": [{"code": kind}]}, "costMoney": {"value": float(price), "currency": "CNY"}, **more}


def report(
    number: str, at: str, items: Iterable[Mapping[str, Any]], change: str | None = None, **more: Any
) -> Resource:
    """An InventoryReport: a snapshot, or a difference when `change` says addition or subtraction. Each item is a dict:
    `quantity` and either `code` (system, code) or `reference`; items are listed by `location` and `status`, and may
    have a `unit` and a `category`."""
    listings: dict[tuple[str, str], list[Resource]] = {}
    for item in items:
        called = {"reference": {"reference": item["reference"]}} if "reference" in item else _called(*item["code"])
        quantity = {"value": item["quantity"], **({"unit": item["unit"]} if "unit" in item else {})}
        key = (item.get("location", ""), item.get("status", ""))
        category = {"category": {"text": item["category"]}} if "category" in item else {}
        listings.setdefault(key, []).append({"item": called, "quantity": quantity, **category})
    made: Resource = {
        "resourceType": "InventoryReport",
        "id": number,
        "status": "active",
        "countType": "difference" if change else "snapshot",
        "reportedDateTime": at,
        "inventoryListing": [
            {
                **({"location": {"reference": f"Location/{place}"}} if place else {}),
                **({"itemStatus": {"coding": [{"code": status}]}} if status else {}),
                "item": held,
            }
            for (place, status), held in listings.items()
        ],
    }
    if change:
        made["operationType"] = {"coding": [{"code": change}]}  # the standard binds no code system
    return {**made, **more}


def _called(system: str, code: str) -> Resource:
    return {"concept": {"coding": [{"system": system, "code": code}]}}


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type=_FHIR)


def _outcome(status: int, code: str, text: str) -> web.Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)
