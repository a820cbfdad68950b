"""A stand-in for a clinic's FHIR R4 server, written from the recorded exchanges in fixtures/ and the standard.

It keeps the manners that matter: versions and weak ETags, 412 for a stale If-Match, conditional create by
If-None-Exist (200 existing, 201 created, 412 several), `Bundle.link` paging with `_count`, OperationOutcome bodies,
and an empty searchset with status 200 for a search parameter it does not know. It also keeps the manner that hurts:
an Appointment does not take its Slot by itself; whoever books must do both."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote

import orjson
from aiohttp import web

from connectors.fhir_clinic.sandbox_operations import Scheduler, read_parameters
from connectors.sandbox_kit import ACTS, Faults, Sandbox
from hub.kernel import clock

PRICE_EXTENSION = "https://sandbox.example/fhir/price"
_TYPES = (
    "HealthcareService", "Schedule", "Slot", "Location", "Appointment", "Practitioner", "PractitionerRole",
)  # fmt: skip
CAPACITY_EXTENSION = "https://sandbox.example/fhir/places"
_FHIR = "application/fhir+json"
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
Resource = dict[str, Any]


class FhirSandbox(Sandbox):
    """A clinic with these services and slots.

    Services are dicts: id, name, price (text), and as wished name_en, city, department, category, description,
    provider, active. Slots are dicts: service (an id above), start and end (aware datetimes or ISO texts), and as
    wished id, status and places (how many appointments it holds, in an extension). Each service gets one Schedule;
    each city one Location.

    `operations`: this clinic has IHE's $find, $hold and $book, lists them, and lets nobody write on its slots.
    `names_slots`: its proposals name their slots.

    Beside the shared faults: `refuse_appointments` answers so many creates with 422; `steal` takes so many slots a
    moment before an update arrives; `lose_updates` performs so many PUTs and drops the answer; `forget_searches`
    answers 404 to page links; `unknown` names search parameters this server does not know."""

    def __init__(
        self,
        services: Iterable[Mapping[str, Any]],
        slots: Iterable[Mapping[str, Any]] = (),
        faults: Faults | None = None,
        *,
        token: str = "fhir-sandbox-token-77",  # noqa: S107 - the sandbox's own
        max_count: int = 1000,
        unknown: Iterable[str] = (),
        operations: bool = False,
        names_slots: bool = False,
    ) -> None:
        super().__init__(faults)
        self.token = token
        self.refuse_appointments = 0
        self.steal = 0
        self.lose_updates = 0
        self.forget_searches = False
        self.links = (
            True  # False: more rows are told of in `total` alone and asked for by `_offset`, as Medplum's router
        )
        self.appointment_requests: list[Resource] = []
        self._max_count = max_count
        self._unknown = frozenset(unknown)
        self._numbers = itertools.count(1)
        self._store: dict[str, dict[str, Resource]] = {kind: {} for kind in _TYPES}
        self.scheduler = Scheduler(self._store, self._keep, names_slots=names_slots) if operations else None
        self.keeps_marks = True  # whether staff's appointments may be changed by us (a PUT on a held one)
        for service in services:
            self._add_service(service)
        for number, slot in enumerate(slots, 1):
            self.add_slot(slot, number)

    def connection(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Settings and secrets of a connection to this server, once it is started."""
        return {"base_url": f"{self.base_url}/fhir", "price_extension": PRICE_EXTENSION}, {"token": self.token}

    def slot(self, number: str) -> Resource:
        """A slot as it is now."""
        return copy.deepcopy(self._store["Slot"][number])

    def living(self, key: str) -> int:
        """How many times the order `key` is booked: appointments that live, per line of the order."""
        lines: dict[str, int] = {}
        for item in self._store["Appointment"].values():
            values = [identifier.get("value", "") for identifier in item.get("identifier", [])]
            if key in values and item.get("status") not in ("cancelled", "entered-in-error"):
                line = next((value for value in values if value.startswith(f"{key}/")), key)
                lines[line] = lines.get(line, 0) + 1
        return max(lines.values(), default=0)

    def appointments(self, key: str) -> list[Resource]:
        """Every appointment of the order `key`, dead ones too."""
        return [
            copy.deepcopy(item)
            for item in self._store["Appointment"].values()
            if any(identifier.get("value") == key for identifier in item.get("identifier", []))
        ]

    def keep(self, *resources: Resource) -> None:
        """Put finished resources on the server as they are."""
        for resource in resources:
            self._keep(resource["resourceType"], resource)

    def order_numbers(self) -> set[str]:
        """Every order number of ours that an appointment carries."""
        values = (i.get("value", "") for a in self._store["Appointment"].values() for i in a.get("identifier", []))
        return {value.partition("/")[0] for value in values if value}

    def change(self, kind: str, number: str, **fields: Any) -> None:
        """The clinic's own staff change a resource."""
        self._keep(kind, {**self._store[kind][number], **fields})

    def add_slot(self, slot: Mapping[str, Any], number: int | None = None) -> str:
        """One more slot; returns its id."""
        made = str(slot.get("id") or f"s{number or next(self._numbers)}")
        times = {name: v.isoformat() if isinstance(v := slot[name], datetime) else v for name in ("start", "end")}
        schedule = {"reference": f"Schedule/for-{slot['service']}"}
        status = slot.get("status", "free")
        kept: Resource = {"resourceType": "Slot", "id": made, "schedule": schedule, "status": status, **times}
        if slot.get("places"):
            kept["extension"] = [{"url": CAPACITY_EXTENSION, "valuePositiveInt": slot["places"]}]
        self._keep("Slot", kept)
        return made

    def _add_service(self, service: Mapping[str, Any]) -> None:
        number = str(service["id"])
        made: Resource = {
            "resourceType": "HealthcareService",
            "id": number,
            "active": service.get("active", True),
            "name": service["name"],
            "appointmentRequired": True,
        }
        if service.get("price") is not None:
            money = {"value": float(service["price"]), "currency": service.get("currency", "CNY")}
            made["extension"] = [{"url": PRICE_EXTENSION, "valueMoney": money}]
        if service.get("name_en"):
            parts = [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": service["name_en"]}]
            made["_name"] = {"extension": [{"url": _TRANSLATION, "extension": parts}]}
        for name, field in (("department", "specialty"), ("category", "category")):
            if service.get(name):
                made[field] = [{"text": service[name]}]
        if service.get("description"):
            made["comment"] = service["description"]
        if service.get("provider"):
            made["providedBy"] = {"display": service["provider"]}
        city = service.get("city")
        if city:
            location = f"loc-{quote(str(city), safe='').replace('%', '')}"[:64]
            if location not in self._store["Location"]:
                place = {"resourceType": "Location", "id": location, "name": city, "address": {"city": city}}
                self._keep("Location", place)
            made["location"] = [{"reference": f"Location/{location}", "display": city}]
        self._keep("HealthcareService", made)
        actor = [{"reference": f"HealthcareService/{number}", "display": service["name"]}]
        self._keep("Schedule", {"resourceType": "Schedule", "id": f"for-{number}", "active": True, "actor": actor})

    def _keep(self, kind: str, resource: Resource) -> Resource:
        """Store a new version."""
        version = int(((self._store[kind].get(resource["id"]) or {}).get("meta") or {}).get("versionId", 0)) + 1
        stamp = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        kept = {**resource, "meta": {"versionId": str(version), "lastUpdated": stamp}}
        self._store[kind][kept["id"]] = kept
        return kept

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/fhir/metadata", self._metadata)
        app.router.add_get("/fhir/{kind}", self._search)
        app.router.add_post("/fhir/Appointment/${operation}", self._operate)
        app.router.add_post("/fhir/{kind}", self._create)
        app.router.add_get("/fhir/{kind}/{id}", self._get)
        app.router.add_put("/fhir/{kind}/{id}", self._put)

    def denied(self) -> web.Response:
        return _outcome(401, "login", "Unauthorized")

    async def _metadata(self, _request: web.Request) -> web.Response:
        made: Resource = {"resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1"}
        if self.scheduler is not None:
            home = "https://profiles.ihe.net/ITI/Scheduling/OperationDefinition/appointment-"
            listed = [{"name": name, "definition": home + name} for name in ("find", "hold", "book")]
            resources = [{"type": kind, **({"operation": listed} if kind == "Appointment" else {})} for kind in _TYPES]
            made["rest"] = [{"mode": "server", "resource": resources}]
        return _json(made)

    async def _operate(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return self.denied()
        name = request.match_info["operation"]
        if self.scheduler is None or name not in ("find", "hold", "book"):
            return _outcome(404, "not-supported", "There is no such operation")
        request[ACTS] = name != "find"
        parameters = read_parameters(orjson.loads(await request.read()))
        if name == "book" and parameters["appointment-resource"]["status"] == "pending":
            self.appointment_requests.append(copy.deepcopy(parameters["appointment-resource"]))
            if self.refuse_appointments > 0:
                self.refuse_appointments -= 1
                return _outcome(422, "business-rule", "The visitor's record is incomplete")
        return _json(getattr(self.scheduler, name)(parameters))

    def _kind(self, request: web.Request) -> str | None:
        kind = request.match_info["kind"]
        return kind if kind in _TYPES else None

    def _allowed(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    async def _get(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return self.denied()
        found = self._store.get(request.match_info["kind"], {}).get(request.match_info["id"])
        return _resource(found) if found is not None else _outcome(404, "not-found", "Not found")

    async def _put(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return self.denied()
        kind, number = self._kind(request), request.match_info["id"]
        found = self._store.get(kind or "", {}).get(number)
        if kind is None or found is None:
            return _outcome(404, "not-found", "Not found")
        body = orjson.loads(await request.read())
        if self.scheduler is not None and (kind == "Slot" or not self.keeps_marks):
            return _outcome(403 if kind == "Slot" else 405, "forbidden", f"Nobody writes a {kind} here")
        if self.steal > 0 and kind == "Slot":
            self.steal -= 1
            found = self._keep(kind, {**found, "status": "busy"})
        wanted = request.headers.get("If-Match")
        if wanted is not None and wanted != _tag(found):
            return _outcome(412, "processing", "Precondition Failed")
        if body.get("id") != number or body.get("resourceType") != kind:
            return _outcome(400, "invalid", "The id or type in the body differs")
        kept = self._keep(kind, body)
        if self.lose_updates > 0:
            self.lose_updates -= 1
            if request.transport is not None:
                request.transport.abort()
        return _resource(kept)

    async def _create(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return self.denied()
        kind = self._kind(request)
        if kind is None:
            return _outcome(404, "not-found", "Not found")
        body = orjson.loads(await request.read())
        if kind == "Appointment":
            self.appointment_requests.append(copy.deepcopy(body))
            if self.refuse_appointments > 0:
                self.refuse_appointments -= 1
                return _outcome(422, "business-rule", "The visitor's record is incomplete")
        condition = request.headers.get("If-None-Exist")
        if condition:
            same = self._matches(kind, [(name, values[-1]) for name, values in parse_qs(condition).items()])
            if len(same) > 1:
                return _outcome(412, "multiple-matches", "Several resources match")
            if same:
                return _resource(same[0])
        kept = self._keep(kind, {**body, "id": f"{kind[:2].lower()}{next(self._numbers)}"})
        location = f"/fhir/{kind}/{kept['id']}/_history/{kept['meta']['versionId']}"
        return _resource(kept, 201, {"Location": location})

    async def _search(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return self.denied()
        kind = self._kind(request)
        if kind is None:
            return _outcome(404, "not-found", "Not found")
        asked = [(name, value) for name, value in request.query.items() if name not in ("_count", "_offset")]
        count = min(int(request.query.get("_count", 20)), self._max_count)
        offset = int(request.query.get("_offset", 0))
        if offset and self.forget_searches:
            return _outcome(410, "deleted", "The search has expired")
        matches = self._matches(kind, asked)
        page = offset // count + 1
        entries = matches[:count] if self.faults.repeat_page else matches[offset : offset + count]
        if self.faults.drop_page == page:
            entries = []
        made: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(matches)}
        if entries:
            made["entry"] = [{"fullUrl": f"{kind}/{x['id']}", "resource": x} for x in entries]
        if offset + count < len(matches) and self.links:
            step = count if self.faults.repeat_page else offset + count
            url = request.url.with_query([*asked, ("_count", str(count)), ("_offset", str(step))])
            made["link"] = [{"relation": "self", "url": str(request.url)}, {"relation": "next", "url": str(url)}]
        return _json(made)

    def _matches(self, kind: str, query: Iterable[tuple[str, str]]) -> list[Resource]:
        """The resources that pass every parameter; none at all when one is not known."""
        found = list(self._store[kind].values())
        for name, value in query:
            if name in self._unknown:
                return []
            if name == "identifier":
                system, _, wanted = value.rpartition("|")
                pair = (system, wanted)
                found = [
                    x for x in found if pair in ((i.get("system"), i.get("value")) for i in x.get("identifier", []))
                ]
            elif name in ("status", "_id"):
                found = [x for x in found if x.get(name.removeprefix("_")) in value.split(",")]
            elif name == "schedule":
                found = [x for x in found if (x.get("schedule") or {}).get("reference") in value.split(",")]
            elif name == "slot":
                wanted_slots = set(value.split(","))
                found = [x for x in found if wanted_slots & {s.get("reference") for s in x.get("slot", [])}]
            elif name in ("start", "_lastUpdated") and value[:2] in ("ge", "lt"):
                edge, later = datetime.fromisoformat(value[2:]), value.startswith("ge")
                found = [x for x in found if (_time(x, name) >= edge) is later]
            else:
                return []
        return found


def _time(resource: Resource, name: str) -> datetime:
    return datetime.fromisoformat(resource["start"] if name == "start" else resource["meta"]["lastUpdated"])


def _tag(resource: Resource) -> str:
    return f'W/"{resource["meta"]["versionId"]}"'


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type=_FHIR, headers=headers)


def _resource(resource: Resource, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(resource, status, {"ETag": _tag(resource), **(headers or {})})


def _outcome(status: int, code: str, text: str) -> web.Response:
    issue = {"severity": "error", "code": code, "details": {"text": text}}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)
