"""What the contract kit needs to try the pharmacy connector: thirty medicines, their reports, and what each documented
resource must come out as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import orjson
from pydantic import SecretStr

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.contracts import StockFigure
from connectors.fhir_clinic.rest import capabilities_in
from connectors.fhir_pharmacy.adapter import Adapter
from connectors.fhir_pharmacy.sandbox import SKUS, PharmacySandbox, medicine, report
from connectors.kit import FixtureCheck, SystemKit
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import Misconfigured

_OWN = "https://pharmacy.example"


class Kit(SystemKit):
    """The kit of FHIR pharmacies."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty medicines, each counted once and sold from since."""
        codes = [(SKUS, f"MED-{n:02}") for n in range(1, 31)]
        medicines = [
            medicine(f"m{n}", f"感冒灵颗粒 {n}", f"{10 + n}.50", name_en=f"Cold granules {n}", sku=code)
            for n, (_, code) in enumerate(codes, 1)
        ]
        counted = [{"code": code, "quantity": 20 + n, "location": "jingan"} for n, code in enumerate(codes)]
        sold = [{"code": code, "quantity": n % 4, "location": "jingan"} for n, code in enumerate(codes)]
        snapshot = report("count", "2024-11-20T08:00:00+08:00", counted)
        difference = report("sold", "2024-11-20T18:00:00+08:00", sold, "subtraction")
        return PharmacySandbox([*medicines, difference, snapshot], faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        assert isinstance(sandbox, PharmacySandbox)
        config, secrets = sandbox.connection()
        return {**config, "sku_system": SKUS, "page_size": 10}, secrets

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """The documented resources."""
        return {
            "medicationknowledge_r5.json": _r5,
            "medicationknowledge_r4.json": _r4,
            "inventoryreport_snapshot.json": lambda a, raw: _stocked(raw, 68, "2024-11-24T08:00:00+08:00"),
            "inventoryreport_difference.json": _sold,
            "metadata_r4.json": _no_reports,
            "metadata_r5.json": lambda a, raw: _is(capabilities_in(orjson.loads(raw)).offers("InventoryReport"), True),
        }


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def serving(*resources: Any, statement: Any = None, **settings: Any) -> Adapter:
    """A connection to a server that holds exactly these resources, without a network."""

    def server(request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rpartition("/")[2]
        if kind == "metadata":
            body = statement or {"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"}
            return httpx.Response(200, json=body)
        found = [{"resource": one} for one in resources if one["resourceType"] == kind]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": found})

    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    config = {
        "base_url": "https://pharmacy.example/fhir",
        "sku_system": f"{_OWN}/sku",
        "price_type": "retail",
        **settings,
    }
    token = {"token": SecretStr("token-of-the-pharmacy")}
    made = base.build(manifest.HOME / "fhir_pharmacy", config, token, http, connection_id=f"fixture-{id(http)}")
    assert isinstance(made, Adapter)
    return made


async def _r5(_adapter: AnyAdapter, raw: bytes) -> None:
    medicines = [entry["resource"] for entry in orjson.loads(raw)["entry"]]
    codes = {"drug_code_systems": f"{_OWN}/drug-code", "market_price_type": "list"}
    pages = [page async for page in serving(*medicines, **codes).pull(None)]
    tray, vial, old = [listing for page in pages for listing in page.listings]
    _is([page.bad for page in pages], [()])
    _is((tray.vendor_sku, vial.vendor_sku, old.vendor_sku), ("VAN-TRAY-10", "VAN-VIAL", "OLD-1"))
    _is((tray.title, tray.title_en), ("注射用盐酸万古霉素", "Vancomycin Hydrochloride for Injection"))
    _is((tray.price, tray.market_price, vial.price), (Decimal("398.5"), Decimal(430), Decimal("42.9")))
    _is((tray.gtin, vial.gtin, tray.pack), ("06901234567892", None, "10 瓶/盒"))
    _is((tray.family_id, tray.active, old.active), ("vancomycin", True, False))
    _is(tray.attributes["approval_no"], "国药准字H20033672")
    _is((tray.attributes["drug_code"], tray.attributes["ndc"]), ("86901523000075", "0409-6531-02"))
    _is((tray.attributes["strength"], tray.attributes["schedule"]), ("500 mg/1 瓶", "处方药"))


async def _r4(_adapter: AnyAdapter, raw: bytes) -> None:
    pages = [page async for page in serving(orjson.loads(raw), sku_system="http://hl7.org/fhir/sid/ndc").pull(None)]
    [one] = [listing for page in pages for listing in page.listings]
    _is((one.vendor_sku, one.price, one.currency), ("0069-2587-10", Decimal("59.9"), "USD"))
    _is(
        (one.title, one.brand),
        ("Vancomycin Hydrochloride (VANCOMYCIN HYDROCHLORIDE)", "Pfizer Laboratories Div Pfizer Inc"),
    )
    _is((one.pack, one.attributes["strength"]), ("10 mL/vial", "500 mg/10 mL"))


def _vial() -> Any:
    return medicine("vancomycin", "万古霉素", "42.90") | {
        "identifier": [{"system": f"{_OWN}/sku", "value": "VAN-VIAL"}]
    }


async def _figures(*reports: Any) -> list[StockFigure]:
    adapter = serving(_vial(), *reports)
    return [figure async for page in adapter.pull_stock(None) for figure in page.unchanged]


async def _stocked(raw: bytes, total: int, at: str) -> None:
    jingan, pudong = await _figures(orjson.loads(raw))
    _is((jingan.location, jingan.on_hand, pudong.on_hand), ("jingan", 60, 8))  # lot B7 has ended, two are damaged
    _is(jingan.reported_at, datetime.fromisoformat(at).astimezone(ZoneInfo("UTC")))
    _is((jingan.on_hand or 0) + (pudong.on_hand or 0), total)


async def _sold(_adapter: AnyAdapter, raw: bytes) -> None:
    _is(await _figures(orjson.loads(raw)), [])  # nothing to count from
    items = [{"code": (f"{_OWN}/sku", "VAN-VIAL"), "quantity": 50, "location": "jingan"}]
    [figure] = await _figures(orjson.loads(raw), report("c", "2024-11-24T07:30:00+08:00", items))
    _is((figure.on_hand, figure.reported_at), (43, datetime(2024, 11, 24, 9, 30, tzinfo=UTC)))


async def _no_reports(_adapter: AnyAdapter, raw: bytes) -> None:
    adapter = serving(_vial(), statement=orjson.loads(raw))
    try:
        _ = [page async for page in adapter.pull_stock(None)]
    except Misconfigured as error:
        assert "4.0.1" in str(error) and "another source" in str(error), str(error)
        return
    raise AssertionError("Misconfigured was due")
