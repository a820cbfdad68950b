"""The sample assortment: what `make demo` shows on a bare clone. It owns authored bilingual data for six invented
vendors (five that supply, one that is the price reference) and builds from it, without chance, the answers that
sandbox vendors serve over real HTTP. Nothing in the hub depends on it but the demo and its tests."""

from hub.app.assortment import story
from hub.app.assortment.dirty import DirtyRow, dirty_rows
from hub.app.assortment.fhir import (
    DAYS,
    PRICE_URL,
    SKU_SYSTEM,
    TRANSLATION_URL,
    clinic_dirty_services,
    clinic_locations,
    clinic_schedules,
    clinic_services,
    clinic_slots,
)
from hub.app.assortment.items import experiences, fully_booked, goods, items, services
from hub.app.assortment.model import GTIN_PREFIX, Category, SampleItem, SampleVendor
from hub.app.assortment.tables import (
    PHARMACY_COLUMNS,
    PHARMACY_MAPPING,
    REFERENCE_MAPPING,
    Reference,
    pharmacy_csv,
    pharmacy_settings,
    reference_feed,
    reference_settings,
    references,
    stale_references,
)
from hub.app.assortment.taxonomy import (
    CATEGORIES,
    CLINIC,
    EXPERIENCES,
    GROCERY,
    PHARMACY,
    REFERENCE,
    SHOP,
    VENDORS,
)
from hub.app.assortment.woocommerce import woocommerce_products


def clinic_settings(base_url: str) -> dict[str, object]:
    """Settings of the fhir_clinic connection to a server that holds the clinic's resources."""
    return {"base_url": base_url, "sku_system": SKU_SYSTEM, "price_extension": PRICE_URL, "horizon_days": DAYS + 1}


__all__ = [
    "CATEGORIES",
    "CLINIC",
    "EXPERIENCES",
    "GROCERY",
    "GTIN_PREFIX",
    "PHARMACY",
    "PHARMACY_COLUMNS",
    "PHARMACY_MAPPING",
    "PRICE_URL",
    "REFERENCE",
    "REFERENCE_MAPPING",
    "SHOP",
    "SKU_SYSTEM",
    "TRANSLATION_URL",
    "VENDORS",
    "Category",
    "DirtyRow",
    "Reference",
    "SampleItem",
    "SampleVendor",
    "clinic_dirty_services",
    "clinic_locations",
    "clinic_schedules",
    "clinic_services",
    "clinic_settings",
    "clinic_slots",
    "dirty_rows",
    "experiences",
    "fully_booked",
    "goods",
    "items",
    "pharmacy_csv",
    "pharmacy_settings",
    "reference_feed",
    "reference_settings",
    "references",
    "services",
    "stale_references",
    "story",
    "woocommerce_products",
]
