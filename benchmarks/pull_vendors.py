"""The vendors of `bench pulls`: per family a stand-in with as many rows as asked for, and a connection to it with the
page sizes that the real system grants."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks.shops import product
from connectors import base, guards, manifest
from connectors.base import Adapter
from connectors.edifact.sandbox import EdifactSandbox
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.fhir_pharmacy.sandbox import SKUS, PharmacySandbox, medicine, report
from connectors.jd_vop.sandbox import VopSandbox
from connectors.kit import kit_of
from connectors.mailbox_sandbox import SftpSandbox
from connectors.meituan_retail import sandbox as meituan
from connectors.rest_json.sandbox import RestSandbox
from connectors.sandbox_kit import Sandbox
from connectors.shopify.sandbox import ShopifySandbox
from connectors.table_feed.sandbox import FeedSandbox
from connectors.woocommerce.sandbox import WooSandbox
from connectors.x12_edi.sandbox import X12Sandbox
from hub.kernel import clock
from hub.kernel.settings import reset_settings

ROWS = 20_000


def _woocommerce(rows: int) -> Sandbox:
    return WooSandbox(product(n) for n in range(rows))


def _shopify(rows: int) -> Sandbox:
    return ShopifySandbox(
        {"title": p["name"], "vendor": p["brand"], "type": p["category"], "sku": p["sku"], "price": p["price"],
         "barcode": p["gtin"], "stock": n % 50}
        for n, p in ((n, product(n)) for n in range(rows))
    )  # fmt: skip


def _jd_vop(rows: int) -> Sandbox:
    return VopSandbox(
        {"sku": str(1000 + n), "name": p["name"], "price": p["price"], "jd_price": p["price"], "brand": p["brand"],
         "category": p["category"], "upc": p["gtin"], "stock": n % 50}
        for n, p in ((n, product(n)) for n in range(rows))
    )  # fmt: skip


def _meituan_retail(rows: int) -> Sandbox:
    return meituan.MeituanSandbox(goods=[meituan.product(n) for n in range(rows)])


def _fhir_clinic(rows: int) -> Sandbox:
    services = [
        {"id": f"svc-{n}", "name": f"体检套餐 {n}", "price": f"{100 + n}.50", "city": "上海", "department": "体检科"}
        for n in range(rows // 100)
    ]
    first = clock.now().replace(microsecond=0) + timedelta(days=1)
    slots = [
        {"id": f"slot-{n}", "service": f"svc-{n // 100}", "start": first + timedelta(minutes=30 * (n % 100)),
         "end": first + timedelta(minutes=30 * (n % 100) + 30), "status": "free"}
        for n in range(rows - rows % 100)
    ]  # fmt: skip
    return FhirSandbox(services, slots)


def _fhir_pharmacy(rows: int) -> Sandbox:
    codes = [(SKUS, f"MED-{n}") for n in range(rows // 2)]
    medicines = [medicine(f"m{n}", f"感冒灵颗粒 {n}", "10.50", sku=code) for n, (_, code) in enumerate(codes)]
    counted = [{"code": code, "quantity": 20, "location": "jingan"} for code in codes]
    return PharmacySandbox([*medicines, report("count", "2024-11-20T08:00:00+08:00", counted)] if rows else [])


def _rest_json(rows: int) -> Sandbox:
    few = RestSandbox().products
    return RestSandbox(products=[{**few[n % len(few)], "sku": f"R-{n}", "id": f"R-{n}"} for n in range(rows)])


def _table_feed(rows: int) -> Sandbox:
    named = [
        {"id": p["sku"], "title": p["name"], "price": f"{p['price']} CNY", "availability": "in_stock",
         "brand": p["brand"], "gtin": p["gtin"], "mpn": p["model"], "link": f"https://shop.example/p/{n}"}
        for n, p in ((n, product(n)) for n in range(rows or 1))
    ]  # fmt: skip
    return FeedSandbox(named, token="feed-sandbox-token-31")


FAMILIES: dict[str, Callable[[int], Sandbox]] = {
    "woocommerce": _woocommerce,
    "shopify": _shopify,
    "jd_vop": _jd_vop,
    "meituan_retail": _meituan_retail,
    "fhir_clinic": _fhir_clinic,
    "fhir_pharmacy": _fhir_pharmacy,
    "rest_json": _rest_json,
    "table_feed": _table_feed,
}


def _paged(protocol: dict[str, Any], size: int) -> dict[str, Any]:
    changed = dict(protocol)
    for pull in ("pull_listings", "pull_stock"):
        changed[pull] = {**protocol[pull], "paginate": {**protocol[pull]["paginate"], "size": size}}
    return changed


# What the kit's connection says differently: its pages are tiny.
_SETTINGS: dict[str, Callable[[Sandbox, dict[str, Any]], dict[str, Any]]] = {
    "woocommerce": lambda box, c: {**c, "per_page": 100},
    "shopify": lambda box, c: {**c, "page_rows": 1000},
    "jd_vop": lambda box, c: {k: v for k, v in c.items() if k not in ("batch", "stock_batch")},
    "meituan_retail": lambda box, c: {**c, "page_size": 200},
    "fhir_clinic": lambda box, c: {k: v for k, v in c.items() if k not in ("page_size", "horizon_days")},
    "fhir_pharmacy": lambda box, c: {k: v for k, v in c.items() if k != "page_size"},
    "rest_json": lambda box, c: {**c, "protocol": _paged(c["protocol"], 100)},
    "table_feed": lambda box, c: {"url": box.url("csv"), "preset": "google_merchant", "page_rows": 1000},  # type: ignore[attr-defined]
}


MAILBOXES: dict[str, Callable[[Path, int], SftpSandbox]] = {
    "x12_edi": lambda root, rows: X12Sandbox(root=root, articles=rows // 2),
    "edifact": lambda root, rows: EdifactSandbox(root=root, articles=rows // 2),
}


@contextlib.contextmanager
def mailbox(family: str, rows: int) -> Iterator[tuple[Adapter, list[Path]]]:
    """A connector object for a mailbox that is a directory, and the files that wait in it."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="supplyhub-bench-") as folder:
        os.environ["SUPPLYHUB_DATA_DIR"] = folder
        reset_settings()
        root = Path(folder) / "feeds" / "partner"
        root.mkdir(parents=True)
        box = MAILBOXES[family](root, rows)
        kit = kit_of(manifest.HOME / family)
        box.base_url = "sftp://127.0.0.1:1"
        config, _secrets = kit.connection(box)
        for name in ("host", "port", "user", "host_key", "page_rows"):
            config.pop(name, None)
        try:
            adapter = base.build(kit.folder, {**config, "directory": "partner"}, {}, connection_id="bench")
            yield adapter, sorted(file for file in root.glob("*/*.edi"))
        finally:
            os.environ.clear()
            os.environ.update(before)
            reset_settings()


def adapter_for(family: str, box: Sandbox) -> Adapter:
    """A connector object for the running vendor, with the rate and quota of its manifest lifted."""
    folder = manifest.HOME / family
    kit = kit_of(folder)
    config, secrets = kit.connection(box)
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    name = f"{family}:bench"
    guards.guard_of(name, lambda: guards.Guard(name, rate=None, burst=1, concurrency=4, budget=None))
    return base.build(folder, _SETTINGS[family](box, config), hidden, connection_id="bench")
