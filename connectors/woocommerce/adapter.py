"""What YAML cannot say of WooCommerce: products that hold variations, stock that a shop keeps only sometimes, and a
shop that accepts orders for what it does not have. README.md says what this was verified against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import SecretStr

from connectors.base import Known
from connectors.contracts import BadRow, ListingIn, PushContent, PushReceived, StockReport
from connectors.declarative import PullsByManifest
from connectors.manifest import Manifest, PushTopic
from connectors.mapping import bad_row
from connectors.paging import PageOfRecords
from connectors.push import ReceivesByManifest
from connectors.woocommerce.oauth import ShopCredentials
from connectors.woocommerce.orders import TakesOrders
from connectors.woocommerce.stock import SweepsStock, counted

_ELSEWHERE = {
    "grouped": "a grouped product is a page that shows other products; its members come by themselves",
    "external": "an external product is sold on another site and cannot be ordered here",
}
_UNSORTED = frozenset({"uncategorized", "未分类"})
_SCALAR = (str, int)
_BY_SETTINGS = frozenset({"_meta", "_brand", "_kind", "_mode"})
_SALE_DATES = (("sale_from", "date_on_sale_from_gmt"), ("sale_to", "date_on_sale_to_gmt"))


class Adapter(PullsByManifest, ReceivesByManifest, TakesOrders, SweepsStock):
    """One WooCommerce shop."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: Known | None = None,
    ) -> None:
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        self.call.credentials = ShopCredentials(manifest, self.config, self.secrets)

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """Sellable records: simple products as they are, variations instead of their parent."""
        ready: list[Any] = []
        for record in got.records:
            if not isinstance(record, dict):
                ready.append(record)
                continue
            kind = record.get("type")
            if kind == "simple" or kind is None:
                self._offer(self.prepared(record), ready, bad)
            elif kind == "variable":
                for one in await self.variations_of(record):
                    self._offer(self.variation(record, one), ready, bad)
            else:
                reason = _ELSEWHERE.get(
                    str(kind), f"products of type {str(kind)[:40]!r} cannot be sold through the hub"
                )
                bad.append(bad_row(_brief(record), reason, "/type", _sku(record)))
        return ready

    def _offer(self, record: dict[str, Any], ready: list[Any], bad: list[BadRow]) -> None:
        """Into `ready` what can be listed, into `bad` what is on sale and cannot. What is neither on sale nor priced is
        left out: nobody has finished it."""
        refusal = self._refusal(record)
        if refusal is None:
            ready.append(record)
        elif record["_published"]:
            bad.append(refusal)

    def _refusal(self, record: Mapping[str, Any]) -> BadRow | None:
        """Why a prepared record cannot be listed, if it cannot."""
        price, open_ = str(record.get("price") or ""), record.get("_open")
        why, pointer = "", "/price"
        if not price:
            why = "the shop states no price: it is hidden, for members only, or not set"
        elif not price.strip("0."):
            why = "the price is nothing: a gift, a sample, or a price that a plugin makes up elsewhere"
        elif open_ and record["_published"] and self.config["open_choice"] == "refuse":
            why, pointer = f"the variation leaves {', '.join(open_)} open; an order could not say which", "/attributes"
        return bad_row(record, why, pointer, self.mapper.sku(record)) if why else None

    def again(self, record: Any) -> Any:
        """A kept record, prepared by the settings of now. A variation was given its parent's attributes, so what it
        chose of them is known only from what was prepared before."""
        if not isinstance(record, dict) or "_published" not in record:
            return record
        kept = {name: value for name, value in record.items() if name not in _BY_SETTINGS}
        before = kept.pop("_attributes", {})
        prepared = self.prepared(kept, kept.get("_ref"))
        if "_open" in kept:
            prepared["_attributes"] = {**prepared.get("_attributes", {}), **before}
        return self._refusal(prepared) or prepared

    def variation(self, parent: Mapping[str, Any], one: dict[str, Any]) -> dict[str, Any]:
        """A variation as a record of its own: it inherits what its parent says and it does not. An attribute that it
        leaves open (“Any …”) keeps all the parent's options."""
        chosen = {
            str(a["name"])[:80]: str(a["option"])
            for a in one.get("attributes") or []
            if isinstance(a, dict) and a.get("name") and a.get("option")
        }
        name = str(parent.get("name", ""))
        record = {**one, "name": f"{name} - {', '.join(chosen.values())}" if chosen else name}
        for inherited in ("categories", "brands", "short_description"):
            record.setdefault(inherited, parent.get(inherited))
        if not record.get("description"):
            record["description"] = parent.get("description")
        record["images"] = [one["image"]] if one.get("image") else parent.get("images")
        record["meta_data"] = [*(parent.get("meta_data") or []), *(one.get("meta_data") or [])]
        if parent.get("status", "publish") != "publish":
            record["status"] = parent.get("status")
        if parent.get("id") is not None:
            record["_family"] = parent["id"]
        record["attributes"] = parent.get("attributes")
        prepared = self.prepared(record, f"#{parent.get('id')}/{one.get('id')}")
        prepared["_open"] = [name for name in _varying(parent) if name not in chosen]
        prepared["_attributes"] = {**prepared.get("_attributes", {}), **chosen}
        return prepared

    def prepared(self, record: dict[str, Any], ref: str | None = None) -> dict[str, Any]:
        """`record` with the few fields that the map reads and paths cannot find (their names start with `_`)."""
        keys, brand_names = self._prepare()
        meta: dict[str, Any] = {}
        for entry in record.get("meta_data") or ():
            if entry.__class__ is dict:
                key = entry.get("key")
                ours = keys.get(key if key.__class__ is str else str(key))
                if ours is not None and isinstance(value := entry.get("value"), _SCALAR):
                    meta[ours] = value
        record["_meta"] = meta
        counted(record, ref)
        record["_published"] = record.get("status", "publish") == "publish"
        record["_active"] = record["_published"] and record.get("purchasable", True) is not False
        for category in record.get("categories") or ():
            name = category.get("name") if category.__class__ is dict else None
            if name and str(name).lower() not in _UNSORTED:
                record["_category"] = name
                break
        for image in record.get("images") or ():
            if image.__class__ is dict and image.get("src"):
                record["_image"] = image["src"]
                break
        for brand in record.get("brands") or ():
            if brand.__class__ is dict and brand.get("name"):
                record["_brand"] = brand["name"]
                break
        attributes = record.get("attributes")
        if attributes:
            self._read_attributes(record, attributes, brand_names)
        for name, field in _SALE_DATES:  # `price` is what the shop charges now; these say until when, or from when not
            if isinstance(when := record.get(field), str) and when:
                record.setdefault("_attributes", {})[name] = f"{when}Z"
        carried = not (record.get("virtual") or record.get("downloadable"))
        record["_kind"], record["_mode"] = self.config["kind"], self.config["mode" if carried else "virtual_mode"]
        return record

    def _read_attributes(self, record: dict[str, Any], attributes: Any, brand_names: frozenset[str]) -> None:
        said: dict[str, str] = {}
        for attribute in attributes if isinstance(attributes, list) else ():
            if not isinstance(attribute, dict) or not attribute.get("name"):
                continue
            options = attribute.get("options")
            text = ", ".join(str(option) for option in options) if isinstance(options, list) else ""
            if not text:
                continue
            said[str(attribute["name"])[:80]] = text
            if str(attribute["name"]).lower() in brand_names:
                record.setdefault("_brand", text)
        record["_attributes"] = said

    def _prepare(self) -> tuple[dict[str, str], frozenset[str]]:
        """Meta key -> our field, and the names of attributes that hold a brand; made once."""
        made: tuple[dict[str, str], frozenset[str]] | None = self.__dict__.get("_keys")
        if made is None:
            keys = {str(key): ours for ours, key in self.config["meta_keys"].items()}
            brands = frozenset(
                part.strip().lower() for part in self.config["brand_attributes"].split(",") if part.strip()
            )
            made = self.__dict__["_keys"] = (keys, brands)
        return made

    # Pushes ---------------------------------------------------------------------------------------------------

    def verify(self, headers: Mapping[str, str], body: bytes) -> PushReceived:
        """The delivery id alone does not tell deliveries apart: WooCommerce makes it from the webhook's id and the
        second, so two deliveries within a second share it. The body's fingerprint completes it."""
        received = super().verify(headers, body)
        unique = f"{received.external_id}:{hashlib.sha256(body).hexdigest()[:32]}"
        return PushReceived(external_id=unique, topic=received.topic)

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Saving a webhook sends an unsigned form with the webhook's id, to see whether somebody answers."""
        lower = {name.lower(): value for name, value in headers.items()}
        if "x-wc-webhook-signature" in lower or len(body) > 100:
            return False
        form = lower.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded"
        return form and body.startswith(b"webhook_id=") and body[11:].isdigit()

    def content(self, spec: PushTopic, records: Sequence[Any]) -> PushContent:
        """A product with its own time, so that late deliveries lose; an order of ours with its state."""
        if spec.means == "orders":
            return self.orders_pushed(records)
        listings: list[ListingIn] = []
        stock: list[StockReport] = []
        bad: list[BadRow] = []
        for record in records:
            if not isinstance(record, dict):
                bad.append(bad_row(record, "the record is not an object"))
                continue
            kind, modified = record.get("type", "simple"), record.get("date_modified_gmt")
            if kind not in ("simple", "variation"):
                continue  # a variable product's variations push for themselves; the rest is not sold here
            ref = f"#{record.get('parent_id')}/{record.get('id')}" if kind == "variation" else None
            prepared = self.prepared(
                {**record, "_modified": f"{modified}Z" if isinstance(modified, str) else None}, ref
            )
            mapped = self.mapper.page([prepared])
            bad += mapped.bad
            if kind == "simple":  # a variation's content is told by its parent in the next pull
                listings += mapped.listings
            stock += self._stock_pushed(prepared)
        return PushContent(listings=tuple(listings), stock=tuple(stock), bad=tuple(bad))

    def _stock_pushed(self, prepared: Mapping[str, Any]) -> list[StockReport]:
        """The stock that a pushed product reports, whatever is wrong with the rest of it."""
        sku = self.mapper.sku(prepared)
        figure = self.mapper.figure(prepared, sku) if sku else None
        if figure is None or figure.reported_at is None or (figure.on_hand is None and figure.level is None):
            return []
        return [
            StockReport(
                vendor_sku=figure.vendor_sku, on_hand=figure.on_hand, level=figure.level, reported_at=figure.reported_at
            )
        ]


def _sku(record: Mapping[str, Any]) -> str | None:
    sku = record.get("sku")
    return sku if isinstance(sku, str) and sku else f"#{record.get('id')}"


def _varying(parent: Mapping[str, Any]) -> list[str]:
    """Names of the attributes in which the variations of a product differ."""
    return [
        str(attribute["name"])[:80]
        for attribute in parent.get("attributes") or ()
        if isinstance(attribute, dict) and attribute.get("variation") and attribute.get("name")
    ]


def _brief(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record.get(name) for name in ("id", "sku", "name", "type", "status", "price")}
