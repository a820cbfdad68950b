"""What the sandbox shop answers to each operation that the connector sends."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import Faults
from connectors.shopify.shapes import OUTLET, gid, order_json, order_push
from connectors.shopify.webhooks import SendsWebhooks

_QUOTED = re.compile(r'(\w+):"((?:[^"\\]|\\.)*)"')
_SINCE = re.compile(r"updated_at:>='([^']+)'")
_PAGE = 20  # most variants of a page of variants, so that following pages are walked
Errors = list[dict[str, Any]]


class AnswersGraphql(SendsWebhooks):
    """The shop's state and its answers; the shop itself is in connectors.shopify.sandbox."""

    currency = "CNY"
    storage = ""

    def __init__(self, faults: Faults | None, secret: str, to: str | None, api_version: str) -> None:
        super().__init__(faults, secret, to, api_version)
        self.products: dict[str, dict[str, Any]] = {}
        self.variants: dict[str, dict[str, Any]] = {}
        self.levels: dict[str, dict[int, int]] = {}  # inventory item -> location -> available
        self.orders: dict[str, dict[str, Any]] = {}
        self.order_requests: dict[str, dict[str, Any]] = {}  # order -> the variables that made it
        self.custom_ids: dict[str, str] = {}  # our number -> order
        self.identity_defined = False
        self.search_lags = False
        self.lost_lines = 0
        self.bulk_polls = 0
        self.bulk_ends = "COMPLETED"
        self.bulk_error: str | None = None
        self.bulk_gone = 0
        self.busy = False
        self.cancels_slowly = 0  # looks at an order before its cancellation shows
        self.operations: dict[str, dict[str, Any]] = {}
        self.points = self.most_points = 2000.0
        self.restore_rate = 100.0
        self.points_at = 0.0
        self.asked: list[str] = []  # names of the operations, in order
        self._numbers = itertools.count(8_100_000_000_001)

    def now(self) -> str:
        raise NotImplementedError

    def count(self, variant: Mapping[str, Any], location: int, quantity: int) -> None:
        raise NotImplementedError

    def variants_of(self, product_id: str) -> list[dict[str, Any]]:
        """A product's variants."""
        return [variant for variant in self.variants.values() if variant["product_id"] == product_id]

    def requests_of(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What was sent to make an order."""
        sent: dict[str, Any] = self.order_requests[order["id"]]["order"]
        return sent

    def price_of(self, name: str) -> float:
        """What an operation is charged."""
        return {"HubChangedProducts": 100.0, "HubSameSkus": 60.0}.get(name, 10.0)

    def answer(self, name: str, data: Any, errors: Errors) -> web.Response:
        """A GraphQL answer: always 200, with what it cost."""
        status = {
            "maximumAvailable": self.most_points,
            "currentlyAvailable": math.floor(self.points),
            "restoreRate": self.restore_rate,
        }
        cost = {"requestedQueryCost": self.price_of(name), "actualQueryCost": None if errors else self.price_of(name)}
        body: dict[str, Any] = {"extensions": {"cost": {**cost, "throttleStatus": status}}}
        if errors:
            body["errors"] = errors
        if data is not None or not errors:
            body["data"] = data
        return web.json_response(body)

    def said(self, name: str, variables: Mapping[str, Any]) -> tuple[Any, Errors]:
        """The answer to one operation: data and errors."""
        self.asked.append(name)
        answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "HubShop": lambda _: {},
            "HubRunBulk": self._run_bulk,
            "HubBulkState": lambda v: {"nodes": [self._bulk_state(i) for i in v["ids"]]},
            "HubChangedProducts": self._changed,
            "HubMoreVariants": lambda v: {
                "product": {"variants": self._some_variants(v["id"], v["variants"], v["after"])}
            },
            "HubSameSkus": self._with_skus,
            "HubVariantsBySku": self._with_skus,
            "HubVariantsById": lambda v: {"nodes": [self._shown(self.variants.get(i)) for i in v["ids"]]},
            "HubIdentity": self._identity,
            "HubDefineIdentity": self._define,
            "HubOrderByIdentity": self._by_identity,
            "HubOrdersByTag": self._by_tag,
            "HubCreateOrder": self._create,
            "HubCancelOrder": self._cancel,
            "HubOrder": lambda v: {"order": self._order(v["id"])},
            "HubOrderState": lambda v: {"order": self._order(v["id"])},
        }
        if name == "HubOrderByIdentity" and not self.identity_defined:
            text = "Metafield definition of type 'id' is required when using custom ids."
            missing = {"message": text, "extensions": {"code": "NOT_FOUND"}, "path": ["orderByIdentifier"]}
            return {"orderByIdentifier": None}, [missing]
        return {"shop": {"currencyCode": self.currency}, **answers[name](variables)}, []

    # Products -------------------------------------------------------------------------------------------------

    def _shown(self, variant: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """A variant as it is shown, with its product and what is left of it."""
        if variant is None:
            return None
        levels = self.levels[variant["inventoryItem"]["id"]]
        online = sum(available for location, available in levels.items() if location != OUTLET)
        product = self.products[variant["product_id"]]
        whole = sum(levels.values())
        return {**variant, "product": product, "sellableOnlineQuantity": online, "inventoryQuantity": whole}

    def _some_variants(self, product_id: str, most: int, after: str | None) -> dict[str, Any]:
        return _connection([self._shown(v) for v in self.variants_of(product_id)], most, after)

    def _changed(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        found = _SINCE.search(variables["query"])
        since = found.group(1) if found else ""
        products = sorted(
            (p for p in self.products.values() if p["updatedAt"] >= since), key=lambda p: (p["updatedAt"], p["id"])
        )
        shown = [{**p, "variants": self._some_variants(p["id"], variables["variants"], None)} for p in products]
        after = None if self.faults.repeat_page else variables["after"]
        return {"products": _connection(shown, variables["products"], after)}

    def _with_skus(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {_plain(value).lower() for name, value in _QUOTED.findall(variables["query"]) if name == "sku"}
        # the search does not look at the case, as a search does
        found = [self._shown(v) for v in self.variants.values() if str(v["sku"] or "").lower() in wanted]
        return {"productVariants": _connection(found, _PAGE, variables["after"])}

    # Bulk operations ------------------------------------------------------------------------------------------

    def _run_bulk(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        running = [o["id"] for o in self.operations.values() if o["status"] in ("CREATED", "RUNNING")]
        if self.busy or running:
            named = ", ".join(running or [gid("BulkOperation", 1)])
            text = f"A bulk query operation for this app and shop is already in progress: {named}."
            error = {"field": None, "message": text, "code": "OPERATION_IN_PROGRESS"}
            return {"bulkOperationRunQuery": {"bulkOperation": None, "userErrors": [error]}}
        query = variables["query"]
        lines = list(self._stock_lines() if "inventoryLevels" in query else self._listing_lines())
        kept = lines[: len(lines) - self.lost_lines]
        operation = {
            "id": gid("BulkOperation", next(self._numbers)),
            "status": "CREATED",
            "errorCode": None,
            "createdAt": self.now(),
            "query": query,
            "objectCount": str(len(lines)),
            "polls": self.bulk_polls,
            "file": "".join(json.dumps(line).replace("/", "\\/") + "\n" for line in kept).encode(),
        }
        self.operations[operation["id"]] = operation
        made = {key: operation[key] for key in ("id", "status", "createdAt")}
        return {"bulkOperationRunQuery": {"bulkOperation": made, "userErrors": []}}

    def _bulk_state(self, operation_id: str) -> dict[str, Any] | None:
        operation = self.operations.get(operation_id)
        if operation is None:
            return None
        if operation["status"] in ("CREATED", "RUNNING"):
            operation["polls"] -= 1
            if operation["polls"] < 0:
                operation["status"] = "EXPIRED" if self.bulk_gone else self.bulk_ends
                self.bulk_gone = max(0, self.bulk_gone - 1)
                operation["errorCode"] = self.bulk_error
        where = f"{self.storage or self.base_url}/bulk/{operation_id.rsplit('/', 1)[1]}.jsonl?Signature=s3cr3t"
        ended, there = operation["status"], operation["objectCount"] != "0"
        return {
            **{key: operation[key] for key in ("id", "status", "errorCode", "createdAt", "query", "objectCount")},
            "fileSize": str(len(operation["file"])) if ended == "COMPLETED" and not self.lost_lines else None,
            "url": where if ended == "COMPLETED" and there else None,
            "partialDataUrl": where if ended == "FAILED" and self.bulk_error != "ACCESS_DENIED" else None,
        }

    def _listing_lines(self) -> Iterable[dict[str, Any]]:
        return (shown for v in self.variants.values() if (shown := self._shown(v)) is not None)

    def _stock_lines(self) -> Iterable[dict[str, Any]]:
        """Variants first, their levels after them: children follow their parent, but not at once."""
        below = []
        for variant in self.variants.values():
            item = variant["inventoryItem"]["id"]
            yield {
                "id": variant["id"],
                "sku": variant["sku"],
                "product": self.products[variant["product_id"]],
                "inventoryItem": {"id": item, "tracked": variant["inventoryItem"]["tracked"]},
            }
            for location, available in self.levels[item].items():
                below.append(
                    {
                        "id": f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item.rsplit('/', 1)[1]}",
                        "item": {"id": item},
                        "location": {
                            "id": gid("Location", location),
                            "isActive": True,
                            "fulfillsOnlineOrders": location != OUTLET,
                        },
                        "quantities": [{"name": "available", "quantity": available}],
                        "__parentId": variant["id"],
                    }
                )
        yield from below

    # Orders ---------------------------------------------------------------------------------------------------

    def _identity(self, _variables: Mapping[str, Any]) -> dict[str, Any]:
        defined = {"type": {"name": "id"}, "capabilities": {"uniqueValues": {"enabled": True}}}
        return {"metafieldDefinition": defined if self.identity_defined else None}

    def _define(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        assert variables["definition"]["type"] == "id", "custom ids are of type id"
        self.identity_defined = True
        made = {"id": gid("MetafieldDefinition", next(self._numbers))}
        return {"metafieldDefinitionCreate": {"createdDefinition": made, "userErrors": []}}

    def _order(self, order_id: str) -> dict[str, Any] | None:
        """An order as it is shown now; a cancellation in the background goes on."""
        order = self.orders.get(order_id)
        if order is not None and order.get("cancelling"):
            if self.cancels_slowly:
                self.cancels_slowly -= 1
            else:
                self._cancelled(order, order.pop("cancelling"))
        return order

    def _by_identity(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        return {"orderByIdentifier": self._order(self.custom_ids.get(variables["value"], ""))}

    def _by_tag(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [_plain(value) for name, value in _QUOTED.findall(variables["query"]) if name == "tag"]
        found = [o for o in self.orders.values() if not self.search_lags and set(wanted) & set(o["tags"])]
        return {"orders": {"nodes": found}}

    def _create(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        order, options = variables["order"], variables["options"]
        wanted: dict[str, int] = {}
        for line in order["lineItems"]:
            wanted[line["variantId"]] = wanted.get(line["variantId"], 0) + line["quantity"]
        if not set(wanted) <= set(self.variants):
            return _not_created(["order", "lineItems"], "Line items are invalid")
        ours = [m["value"] for m in order.get("metafields") or () if m["type"] == "id"]
        if any(value in self.custom_ids for value in ours):
            return _not_created(["order", "metafields", "0", "value"], "Value has already been taken")
        assert options["inventoryBehaviour"] == "DECREMENT_OBEYING_POLICY", "the shop must claim stock"
        for variant_id, quantity in wanted.items():
            variant = self.variants[variant_id]
            left = sum(n for where, n in self.levels[variant["inventoryItem"]["id"]].items() if where != OUTLET)
            if variant["inventoryItem"]["tracked"] and variant["inventoryPolicy"] == "DENY" and left < quantity:
                return _not_created(["order", "lineItems"], "Line items Unable to reserve inventory")
        made = order_json(next(self._numbers), order, self.now())
        self.orders[made["id"]] = made
        self.order_requests[made["id"]] = dict(variables)
        self.custom_ids.update(dict.fromkeys(ours, made["id"]))
        self._claim(wanted, -1)
        self.push("orders/create", order_push(made, order))
        return {"orderCreate": {"order": made, "userErrors": []}}

    def _claim(self, wanted: Mapping[str, int], sign: int) -> None:
        """Take stock, from a location that has it if there is one, or give it back."""
        for variant_id, quantity in wanted.items():
            variant = self.variants[variant_id]
            if not variant["inventoryItem"]["tracked"]:
                continue
            levels = self.levels[variant["inventoryItem"]["id"]]
            location = next((where for where, n in levels.items() if n >= quantity), next(iter(levels)))
            self.count(variant, location, levels[location] + sign * quantity)

    def _cancel(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        order = self.orders.get(variables["id"])
        refused = None
        if order is None:
            refused = ("NOT_FOUND", "Order does not exist")
        elif order["cancelledAt"]:
            refused = ("INVALID", "Cannot cancel an order that has already been canceled")
        elif order["fulfillments"]:
            refused = ("INVALID", "Cannot cancel an order that has outstanding fulfillments")
        if refused or order is None:
            code, text = refused or ("", "")
            errors = [{"field": ["orderId"], "message": text, "code": code}]
            return {"orderCancel": {"job": None, "orderCancelUserErrors": errors}}
        if self.cancels_slowly:
            order["cancelling"] = variables["reason"]
        else:
            self._cancelled(order, variables["reason"])
        return {"orderCancel": {"job": {"id": gid("Job", "1"), "done": False}, "orderCancelUserErrors": []}}

    def _cancelled(self, order: dict[str, Any], reason: str) -> None:
        order.update(cancelledAt=self.now(), cancelReason=reason)
        order["updatedAt"] = order["cancelledAt"]
        lines: dict[str, int] = {}
        for item in order["lineItems"]["nodes"]:
            lines[item["variant"]["id"]] = lines.get(item["variant"]["id"], 0) + item["quantity"]
        self._claim(lines, +1)
        self.push("orders/updated", order_push(order, self.requests_of(order)))


def _connection(values: list[Any], most: int, after: str | None) -> dict[str, Any]:
    """A page of a connection; a cursor is where it ends."""
    start = int(after or 0)
    part = values[start : start + most]
    more = start + most < len(values)
    return {"pageInfo": {"hasNextPage": more, "endCursor": str(start + most) if part else None}, "nodes": part}


def _not_created(field: list[str], message: str) -> dict[str, Any]:
    return {"orderCreate": {"order": None, "userErrors": [{"code": "INVALID", "field": field, "message": message}]}}


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)
