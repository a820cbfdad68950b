"""The outside of the product: the paths that malls, vendors and scripts depend on exist, the OpenAPI document is valid,
and what is really answered is what the document says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from hub.app.operations import api_document
from hub.kernel.webhooks import TYPES
from tests.app.api_calls import WAYS, caller_of, operations, request
from tests.app.api_world import SHARED_GTIN, SHARED_SKU, Reply, World, living_world

# What is fixed because others depend on it: paths, and the parameters and fields that stand beside them.
FIXED: dict[str, set[str]] = {
    "GET /v1/products": {
        "q", "kind", "category", "brand", "vendor", "price_min", "price_max", "in_stock", "mode", "city", "sort",
        "limit", "cursor", "facets",
    },
    "GET /v1/products/{id}": {"id"},
    "POST /v1/products/lookup": {"ids", "gtins"},
    "GET /v1/availability": {"listing_id", "qty", "area"},
    "GET /v1/changes": {"after", "limit", "wait"},
    "GET /v1/changes/stream": {"after"},
    "GET /v1/clinics": {"city", "department"},
    "GET /v1/clinics/{id}/slots": {"id", "city", "department", "from", "to"},
    "POST /v1/orders": {"Idempotency-Key", "mall_order_no", "mode", "ship_to", "lines"},
    "GET /v1/orders": {"after"},
    "GET /v1/orders/{id}": {"id"},
    "POST /v1/orders/{id}/confirm": {"id"},
    "POST /v1/orders/{id}/cancel": {"id"},
    "POST /v1/orders/{id}/reschedule": {"id", "line_no", "slot_id"},
    "GET /v1/orders/{id}/codes": {"id"},
    "POST /v1/orders/{id}/codes/reveal": {"id"},
    "POST /v1/vendor/stock": set(),
    "POST /v1/push/{connection}": {"connection"},
    "GET /v1/vendor/orders": set(),
    "POST /v1/vendor/orders/{po}/accept": {"po"},
    "POST /v1/vendor/orders/{po}/reject": {"po"},
    "POST /v1/vendor/orders/{po}/ship": {"po"},
    "POST /v1/vendor/orders/{po}/cancel": {"po"},
    "GET /v1/webhook-endpoints": set(),
    "POST /v1/webhook-endpoints": set(),
    "DELETE /v1/webhook-endpoints/{id}": {"id"},
    "POST /v1/webhook-endpoints/{id}/replay": {"id"},
    "GET /v1/vendors": set(),
    "POST /v1/vendors": set(),
    "GET /v1/connections": set(),
    "POST /v1/connections": set(),
    "GET /v1/connections/{id}/codes": {"id", "cursor", "limit", "sku", "state"},
    "POST /v1/connections/{id}/codes": {"id", "sku"},
    "POST /v1/connections/{id}/test": {"id"},
    "POST /v1/connections/{id}/preview": {"id"},
    "POST /v1/connections/{id}/sync": {"id"},
    "GET /v1/sync-runs": set(),
    "GET /v1/quarantine": set(),
    "GET /v1/references": set(),
    "POST /v1/references": set(),
    "GET /v1/parity/cases": set(),
    "GET /v1/parity/policies": set(),
    "GET /v1/metrics/delivery-72h": set(),
    "GET /v1/metrics/stockouts": set(),
    "GET /v1/metrics/parity": set(),
    "GET /v1/metrics/assortment": set(),
    "GET /v1/settlements/cases": {"vendor", "state", "kind", "after", "limit"},
    "GET /v1/settlements/statements": {"vendor", "mall", "after", "limit"},
    "POST /v1/settlements/lists": {"vendor", "from", "to"},
    "GET /v1/reviews": {"state", "mall", "after", "limit"},
    "GET /v1/incidents": set(),
    "POST /v1/incidents": set(),
    "GET /v1/incidents/{id}/demands": {"id"},
    "POST /v1/incidents/{id}/demands": {"id"},
    "GET /v1/incidents/{id}/supplies": {"id"},
    "POST /v1/incidents/{id}/supplies": {"id"},
    "GET /v1/incidents/{id}/plans": {"id"},
    "POST /v1/incidents/{id}/plans": {"id"},
    "POST /v1/plans/{id}/approve": {"id"},
    "POST /v1/plans/{id}/commit": {"id"},
    "GET /v1/plans/{id}/explain": {"id", "site"},
    "GET /healthz": set(),
    "GET /readyz": set(),
    "GET /metrics": set(),
    "GET /openapi.json": set(),
    "GET /docs": set(),
}  # fmt: skip


@pytest.fixture(scope="module")
async def world(schema: str) -> AsyncIterator[World]:
    async with living_world(schema) as made:
        yield made


def schema_at(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the document that can stand alone."""
    return {**schema, "components": api_document()["components"]}


def findings(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What a value has that its schema does not allow; fields that the schema does not know count too."""
    checker = FormatChecker()
    validator = Draft202012Validator(schema_at(closed(schema)), format_checker=checker)
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


def closed(schema: Any) -> Any:
    """The schema with every object that lists its properties closed to others."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(inner) for key, inner in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in made else made


def body_fields(operation: Mapping[str, Any]) -> set[str]:
    text = json.dumps(operation.get("requestBody", {}))
    schemas = api_document()["components"]["schemas"]
    names = re.findall(r"#/components/schemas/(\w+)", text)
    return {field for name in names for field in schemas[name].get("properties", {})}


# The document -------------------------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi_3_1() -> None:
    document = api_document()
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(document)) == document


def test_every_operation_has_a_name_of_its_own_a_summary_and_both_ends() -> None:
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(ids) == len(set(ids))
    for name, operation in operations().items():
        assert operation["summary"] and operation["tags"], name
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert len(good) == 1 and operation["responses"][good[0]].get("content"), name
        problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/Problem"}, name
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", name)), name
        assert len({(p["in"], p["name"]) for p in operation["parameters"]}) == len(operation["parameters"]), name


def test_two_models_of_one_name_do_not_overwrite_each_other() -> None:
    """Components are shared by name, so a name must mean one thing."""
    from pydantic import BaseModel, TypeAdapter

    from hub.app.wiring import ROUTES

    seen: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        for model, mode in ((route.body, "validation"), (route.answer, "serialization"), (route.query, "validation")):
            if model is None or isinstance(model, str):
                continue
            schema = TypeAdapter(model).json_schema(mode=mode, ref_template="#/components/schemas/{model}")
            named = dict(schema.pop("$defs", {}))
            if isinstance(model, type) and issubclass(model, BaseModel) and model is not route.query:
                named.setdefault(model.__name__, schema)
            for name, definition in named.items():
                assert seen.setdefault(name, definition) == definition, f"{name} is said twice, differently"
    components = api_document()["components"]["schemas"]
    assert {name: components[name] for name in seen if name in components} == {
        n: seen[n] for n in seen if n in components
    }


def test_everything_that_others_depend_on_is_there() -> None:
    served = operations()
    assert set(FIXED) - set(served) == set()
    for name, words in FIXED.items():
        known = {p["name"] for p in served[name]["parameters"]} | body_fields(served[name])
        assert words <= known, (name, words - known)


async def test_what_is_served_at_openapi_json_is_the_document_and_docs_names_every_path(world: World) -> None:
    served = await world.call("GET", "/openapi.json")
    assert served.media == "application/json" and served.json == json.loads(json.dumps(api_document()))
    page = await world.call("GET", "/docs")
    assert page.media == "text/html" and all(path in page.text for path in api_document()["paths"])


# What is really answered --------------------------------------------------------------------------------------------


async def test_every_good_answer_is_what_the_document_says(world: World) -> None:
    wrong = []
    for name, operation in operations().items():
        callers = [caller_of(world, operation)]
        if WAYS[name].reach in ("shared", "figure"):
            callers.append(None)
        for caller in callers:
            asked = request(world, name, caller)
            headers = {**(caller.headers if caller else world.staff), **asked.headers}
            reply = await world.call(asked.method, asked.path, headers, asked.body, raw=asked.raw)
            wrong += [(name, finding) for finding in answer_findings(operation, reply)]
    assert wrong == []


def answer_findings(operation: Mapping[str, Any], reply: Reply) -> list[str]:
    documented = operation["responses"].get(str(reply.status))
    if documented is None:
        return [f"status {reply.status} is not in the document: {reply.text[:200]}"]
    if reply.media not in documented["content"]:
        return [f"media type {reply.media} is not in the document"]
    if reply.media != "application/json":
        return []
    return findings(documented["content"]["application/json"]["schema"], reply.json)


async def test_good_bodies_fit_the_schemas_that_the_document_gives_for_them(world: World) -> None:
    tried = 0
    for name, operation in operations().items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = request(world, name, caller_of(world, operation)).body
        if body is not None and content.get("schema"):
            assert findings(content["schema"], body) == [], name
            tried += 1
    assert tried >= 8


async def test_every_refusal_is_a_problem_with_a_pointer(world: World) -> None:
    problem = {"$ref": "#/components/schemas/Problem"}
    mall, vendor = world.malls["A"], world.vendors["A"]
    keyed = {**mall.headers, "Idempotency-Key": "refused"}
    body, _ = world.letter(mall, [{"listing_id": vendor.ids[f"listing:FEW-{vendor.name}"], "qty": 5}])
    listing = {"listing_id": vendor.ids[f"listing:{SHARED_SKU}"], "qty": 1}

    async def ordered(**changes: Any) -> Reply:
        return await world.call("POST", "/v1/orders", keyed, {**body, **changes})

    cases: list[tuple[int, str | None, Reply]] = [
        (401, None, await world.call("GET", "/v1/orders")),
        (403, None, await world.call("GET", "/v1/orders", vendor.headers)),
        (404, None, await world.call("GET", "/v1/orders/ord_nobody", mall.headers)),
        (404, None, await world.call("GET", "/v1/no/such/path")),
        (405, None, await world.call("DELETE", "/v1/orders", mall.headers)),
        (400, None, await world.call("POST", "/v1/orders", mall.headers, body)),
        (400, "", await world.call("POST", "/v1/orders", keyed, raw=b"{")),
        (422, "/limit", await world.call("GET", "/v1/orders?limit=0", mall.headers)),
        (422, "/lines", await ordered(lines=[])),
        (422, "/lines/0/qty", await ordered(lines=[{**listing, "qty": 0}])),
        (409, "/lines/0/qty", await ordered()),
        (409, "/lines/0/max_price", await ordered(lines=[{**listing, "max_price": "0.01"}])),
        (422, "/lines/0", await ordered(lines=[{"product_id": "prd_9999", "qty": 1}])),
    ]  # fmt: skip
    for status, pointer, reply in cases:
        assert (reply.status, reply.media) == (status, "application/problem+json"), reply.text
        assert findings(problem, reply.json) == []
        assert reply.json["status"] == status and reply.json["instance"].startswith("/v1/")
        if pointer is not None:
            assert pointer in [found["pointer"] for found in reply.json["errors"]], reply.text
    for _, _, reply in cases[:1]:
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert cases[4][2].headers["Allow"] == "GET,POST"


# Words that are fixed beside the paths ------------------------------------------------------------------------------


async def test_a_product_and_an_order_carry_the_names_that_malls_build_on(world: World) -> None:
    mall, vendor = world.malls["B"], world.vendors["A"]
    page = await world.good("GET", "/products?q=口罩&facets=true", mall.headers)
    assert {"items", "next", "facets", "total", "as_of"} <= set(page)
    [item] = page["items"]
    assert {"id", "title", "brand", "kind", "category", "gtin", "price", "available", "level", "offers"} <= set(item)
    assert item["price"] == {"amount": "9.90", "currency": "CNY"} and item["offers"] == 2
    product = await world.good("GET", f"/products/{item['id']}", mall.headers)
    offer = product["offers"][0]
    assert {"listing_id", "vendor", "price", "available", "level", "promise", "parity"} <= set(offer)
    found = await world.good("POST", "/products/lookup", mall.headers, {"gtins": [SHARED_GTIN]})
    assert [found["items"][0]["id"], found["missing"]] == [item["id"], []]

    body, _ = world.letter(mall, [{"product_id": item["id"], "qty": 2, "max_price": "10"}], "reserve")
    order = await world.good("POST", "/orders", {**mall.headers, "Idempotency-Key": "names"}, body)
    assert {"id", "status", "lines", "purchase_orders", "due_at"} <= set(order)
    assert (order["status"], order["due_at"]) == ("reserved", None)
    placed = await world.good("POST", f"/orders/{order['id']}/confirm", mall.headers)
    assert placed["status"] == "placed" and placed["due_at"] and len(placed["purchase_orders"]) == 1
    cancelled = await world.good("POST", f"/orders/{order['id']}/cancel", mall.headers)
    assert cancelled["status"] in ("cancelled", "cancelling")

    slot = {"lines": [{"slot_id": world.ids["slot"]}]}
    booked = await world.good(
        "POST", "/orders", {**mall.headers, "Idempotency-Key": "slot"}, {**world.letter(mall, [])[0], **slot}
    )
    assert booked["lines"][0]["slot"]["id"] == world.ids["slot"]
    again = {**mall.headers, "Idempotency-Key": "slot again"}
    assert (await world.call("POST", "/v1/orders", again, {**world.letter(mall, [])[0], **slot})).status == 409

    async def reported(*updates: dict[str, Any]) -> list[str]:
        answer = await world.good("POST", "/vendor/stock", vendor.headers, {"updates": updates})
        return [result["result"] for result in answer["results"]]

    newest = {"sku": SHARED_SKU, "on_hand": 9, "version": 7}
    assert await reported(newest, {"sku": SHARED_SKU}) == ["applied", "invalid"]
    older, unknown = {"sku": SHARED_SKU, "on_hand": 8, "version": 6}, {"sku": "nobody's", "level": "in_stock"}
    assert await reported(older, unknown) == ["stale", "unknown_sku"]
    assert await reported(newest) == ["unchanged"]
    for figure in ("delivery-72h", "stockouts", "parity", "assortment"):
        shown = await world.good("GET", f"/metrics/{figure}", world.staff)
        assert {"numerator", "denominator", "window", "target", "status", "as_of"} <= set(shown), figure


def test_the_document_names_every_message_that_is_told() -> None:
    assert set(api_document()["webhooks"]) == set(TYPES)
    for kind, item in api_document()["webhooks"].items():
        assert set(item["post"]["x-scopes"]) == TYPES[kind][0]
