"""A pharmacy's catalogue over FHIR: prices that somebody named, codes that can be right, one listing a thing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import ListingIn, Page
from connectors.fhir_pharmacy.adapter import Adapter
from connectors.fhir_pharmacy.codes import Systems, approval_number, check_digit, drug_code, half_width, read_codes
from connectors.fhir_pharmacy.sandbox import DRUG_CODES, RETAIL, SKUS, PharmacySandbox, cost, medicine
from connectors.fhir_pharmacy.times import span_of
from connectors.kit_stage import reachable
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured
from hub.kernel.types import gtin14


def catalogue() -> list[dict[str, Any]]:
    return [medicine(f"m{n}", f"药 {n}", f"{n}.90", sku=f"SKU-{n}") for n in range(1, 8)]


@pytest.fixture
async def pharmacy() -> AsyncIterator[PharmacySandbox]:
    sandbox = PharmacySandbox(catalogue())
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


def connect(pharmacy: PharmacySandbox, secrets: dict[str, str] | None = None, **settings: Any) -> Adapter:
    config, own = pharmacy.connection()
    hidden = {name: SecretStr(value) for name, value in (own if secrets is None else secrets).items()}
    merged = {"sku_system": SKUS, **config, **settings}
    made = base.build(manifest.HOME / "fhir_pharmacy", merged, hidden, connection_id=f"t{id(pharmacy)}")
    assert isinstance(made, Adapter)
    return made


async def pull(pharmacy: PharmacySandbox, since: dict[str, Any] | None = None, **settings: Any) -> list[Page]:
    client = connect(pharmacy, **settings)
    try:
        return [page async for page in client.pull(since)]
    finally:
        await client.aclose()


async def one(pharmacy: PharmacySandbox, resource: dict[str, Any], **settings: Any) -> ListingIn | str:
    """What becomes of one medicine: its listing, or the reason why there is none."""
    pharmacy._store["MedicationKnowledge"].clear()
    pharmacy.keep(resource)
    [page] = await pull(pharmacy, **settings)
    return page.bad[0].reason if page.bad else page.listings[0]


# Prices ------------------------------------------------------------------------------------------------------------


async def test_only_the_cost_that_the_connection_names_is_the_price(pharmacy: PharmacySandbox) -> None:
    coded = {"type": {"coding": [{"system": "urn:cost", "code": "sale"}]}, "costMoney": {"value": 19.9}}
    costs = [cost("8.00", "acquisition"), cost("12.50"), coded]
    resource = medicine("m", "药", sku="A", cost=costs)
    for wanted, price in ((RETAIL, "12.5"), ("RETAIL", "12.5"), ("urn:cost|sale", "19.9"), ("acquisition", "8.0")):
        made = await one(pharmacy, resource, price_type=wanted)
        assert isinstance(made, ListingIn) and (made.price, made.currency) == (Decimal(price), "CNY")
    assert await one(pharmacy, resource, price_type="list") == (
        "it has no cost of type 'list' (it has acquisition, retail, sale) and no entry in `prices`"
    )
    unsaid = await one(pharmacy, resource, price_type="")
    assert isinstance(unsaid, str) and "set `price_type` (it has acquisition" in unsaid
    made = await one(pharmacy, resource, price_type="list", prices={"A": {"price": "15.00", "currency": "USD"}})
    assert isinstance(made, ListingIn) and (str(made.price), made.currency) == ("15.00", "USD")


async def test_a_price_holds_in_its_time_and_two_at_once_are_refused(pharmacy: PharmacySandbox) -> None:
    def dated(price: str, **period: str) -> dict[str, Any]:
        return cost(price, effectiveDate=[period])

    today = clock.now().date()
    past, future = (today - timedelta(days=9)).isoformat(), (today + timedelta(days=9)).isoformat()
    made = await one(
        pharmacy,
        medicine("m", "药", sku="A", cost=[dated("9", end=past), dated("10", start=past), dated("11", start=future)]),
    )
    assert isinstance(made, ListingIn) and made.price == 10
    over = await one(pharmacy, medicine("m", "药", sku="A", cost=[dated("9", end=past)]))
    assert isinstance(over, str) and "no amount that holds today" in over
    both = await one(pharmacy, medicine("m", "药", sku="A", cost=[cost("9"), cost("9.50")]))
    assert isinstance(both, str) and "more than one price" in both and "9.5 CNY" in both
    same = await one(pharmacy, medicine("m", "药", sku="A", cost=[cost("9"), cost("9")]))
    assert isinstance(same, ListingIn) and same.price == 9
    odd = await one(pharmacy, medicine("m", "药", sku="A", cost=[dated("9", start="soon")]))
    assert isinstance(odd, str)


@pytest.mark.parametrize("value", [0, -1, True, "free", [], 1e20, "NaN"])
async def test_a_senseless_price_costs_its_row(pharmacy: PharmacySandbox, value: Any) -> None:
    made = {"type": {"text": RETAIL}, "costMoney": {"value": value, "currency": "CNY"}}
    assert isinstance(await one(pharmacy, medicine("m", "药", sku="A", cost=[made])), str)


async def test_a_category_of_cost_is_no_amount(pharmacy: PharmacySandbox) -> None:
    band = {"type": {"text": RETAIL}, "costCodeableConcept": {"text": "Band A"}}
    assert isinstance(await one(pharmacy, medicine("m", "药", sku="A", cost=[band])), str)


async def test_the_price_of_the_street_is_told_beside_ours(pharmacy: PharmacySandbox) -> None:
    resource = medicine("m", "药", sku="A", cost=[cost("12.50"), cost("14.80", "list")])
    made = await one(pharmacy, resource, market_price_type="list")
    assert isinstance(made, ListingIn) and (made.price, made.market_price) == (Decimal("12.5"), Decimal("14.8"))
    dollars = cost("14.80", "list") | {"costMoney": {"value": 2.5, "currency": "USD"}}
    made = await one(pharmacy, medicine("m", "药", sku="A", cost=[cost("12.50"), dollars]), market_price_type="list")
    assert isinstance(made, ListingIn) and made.market_price is None  # another currency compares with nothing


# What it is --------------------------------------------------------------------------------------------------------


async def test_packages_with_a_price_of_their_own_are_listings_of_their_own(pharmacy: PharmacySandbox) -> None:
    boxes = [
        {
            "cost": [cost("9.90")],
            "packagedProduct": {"reference": "PackagedProductDefinition/p12", "display": "12 片/盒"},
        },
        {
            "cost": [cost("17.90")],
            "packagedProduct": {"reference": "PackagedProductDefinition/p24", "display": "24 片/盒"},
        },
    ]
    pharmacy._store["MedicationKnowledge"].clear()
    pharmacy.keep(medicine("m", "阿莫西林", "99.00", sku="AMX", packaging=boxes))
    [page] = await pull(pharmacy)
    assert [(x.vendor_sku, str(x.price), x.pack) for x in page.listings] == [
        ("AMX/p12", "9.9", "12 片/盒"),
        ("AMX/p24", "17.9", "24 片/盒"),
    ]
    assert {x.family_id for x in page.listings} == {"m"} and len({x.external_id for x in page.listings}) == 2
    lone = await one(pharmacy, medicine("m", "阿莫西林", sku="AMX", packaging=boxes[:1]))
    assert isinstance(lone, ListingIn) and (lone.vendor_sku, lone.pack, str(lone.price)) == ("AMX", "12 片/盒", "9.9")
    for box in boxes:
        box["packagedProduct"] = {"display": "盒"}
    assert "no identity" in str(await one(pharmacy, medicine("m", "阿莫西林", sku="AMX", packaging=boxes)))


async def test_names_in_two_languages_and_synonyms(pharmacy: PharmacySandbox) -> None:
    resource = medicine("m", "x", "9", sku="A", name=["Paracetamol tablets", "对乙酰氨基酚片", "扑热息痛", "----"])
    made = await one(pharmacy, resource)
    assert isinstance(made, ListingIn)
    assert (made.title, made.title_en) == ("对乙酰氨基酚片", "Paracetamol tablets")
    assert made.attributes["synonyms"] == "扑热息痛、x"
    english = await one(pharmacy, medicine("m", "Aspirin", "9", sku="A"))
    assert isinstance(english, ListingIn) and (english.title, english.title_en) == ("Aspirin", None)
    nameless = await one(pharmacy, medicine("m", "－－－－", "9", sku="A", name=[]))
    assert isinstance(nameless, str)


async def test_states_of_a_medicine(pharmacy: PharmacySandbox) -> None:
    for status, active in (("active", True), ("inactive", False), ("entered-in-error", False)):
        made = await one(pharmacy, medicine("m", "药", "9", sku="A", status=status))
        assert isinstance(made, ListingIn) and made.active is active
    assert "is not in the mapping's table" in str(await one(pharmacy, medicine("m", "药", "9", sku="A", status="new")))
    bare = medicine("m", "药", "9", sku="A")
    del bare["status"]
    made = await one(pharmacy, bare)
    assert isinstance(made, ListingIn) and made.active


async def test_without_the_skus_system_a_medicine_is_refused_and_without_the_setting_it_is_its_id(
    pharmacy: PharmacySandbox,
) -> None:
    resource = medicine("m17", "药", "9")
    assert "no identifier or code" in str(await one(pharmacy, resource))
    made = await one(pharmacy, resource, sku_system="")
    assert isinstance(made, ListingIn) and made.vendor_sku == made.external_id == "m17"


async def test_a_field_that_fhir_does_not_have_is_drift(pharmacy: PharmacySandbox) -> None:
    pharmacy.keep(medicine("m9", "药", "9", sku="A", shelfLife="P2Y"))
    assert [page.drift for page in await pull(pharmacy)] == [("shelfLife",)]


# Codes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["86902551000259", "86909638000010", " 8690 2551 0002 59 ", "８６９０２５５１０００２５９"]
)
def test_a_drug_code_with_the_right_check_digit(code: str) -> None:
    assert drug_code(code) in ("86902551000259", "86909638000010")


@pytest.mark.parametrize(
    "code", ["86902551000258", "86902551000295", "8690255100025", "869025510002590", "86802551000259", "", "H20123308"]
)
def test_a_drug_code_that_cannot_be_right(code: str) -> None:
    with pytest.raises(ValueError, match="本位码"):
        drug_code(code)


def test_the_check_digit_catches_every_wrong_digit() -> None:
    good = "86902551000259"
    for place in range(3, 14):
        for digit in "0123456789":
            if digit != good[place]:
                with pytest.raises(ValueError, match="check digit"):
                    drug_code(good[:place] + digit + good[place + 1 :])
    assert check_digit("8690255100025") == "9" and gtin14(good) == good  # the arithmetic is a GTIN's


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("国药准字H20123308", "国药准字H20123308"),
        ("批准文号：国药准字 Ｚ２０１２３０８４", "国药准字Z20123084"),
        ("国药准字hj20160001", "国药准字HJ20160001"),
        ("国药准字H2012330", None),
        ("H20123308", None),
    ],
)
def test_an_approval_number_is_known_by_its_words(text: str, number: str | None) -> None:
    assert approval_number(text) == number


def test_codes_are_told_apart_by_their_system_alone() -> None:
    systems = Systems(approval=frozenset({"urn:nmpa"}), drug_code=frozenset({"urn:bwm"}))
    pairs = [("https://www.gs1.org/gtin", "86902551000259"), ("urn:bwm", "86909638000010"), ("urn:nmpa", "h20123308")]
    found = read_codes([*pairs, ("urn:other", "国药准字Z20123084"), ("http://www.whocc.no/atc", "N02BE01")], systems)
    assert (found.gtin, found.drug_code, found.approval_no) == ("86902551000259", "86909638000010", "国药准字H20123308")
    assert found.others == {"http://www.whocc.no/atc": "N02BE01"}
    unsaid = read_codes([("urn:unknown", "86902551000259")], Systems())
    assert unsaid.gtin is None and unsaid.drug_code is None and unsaid.others == {"urn:unknown": "86902551000259"}
    assert read_codes([("urn:nmpa", "国械注准20153540001")], systems).approval_no == "国械注准20153540001"
    assert half_width("Ｈ（１）") == "H(1)"


async def test_a_wrong_code_of_a_medicine_costs_its_row(pharmacy: PharmacySandbox) -> None:
    wrong = await one(
        pharmacy, medicine("m", "药", "9", sku="A", drug_code="86902551000258"), drug_code_systems=DRUG_CODES
    )
    assert wrong == "the drug code's (本位码) check digit is wrong"
    assert "check digit" in str(await one(pharmacy, medicine("m", "药", "9", sku="A", gtin="06901234567890")))


@pytest.mark.realdata
async def test_real_drugs_and_the_row_whose_fields_are_mixed_up(realdata: Path, pharmacy: PharmacySandbox) -> None:
    rows = json.loads((realdata / "pharmacy" / "nmpa_25.json").read_text(encoding="utf-8"))
    pharmacy._store["MedicationKnowledge"].clear()
    for n, row in enumerate(rows):
        codes = {"coding": [{"system": DRUG_CODES, "code": row["medicinalCode"]}, {"code": row["approvalNo"]}]}
        known = {"manufacturer": {"display": row["productCompany"]}, "doseForm": {"text": row["fmodal"]}}
        pack = {"packaging": {"quantity": {"unit": "1"}, "type": {"text": row["spec"]}}}
        pharmacy.keep(medicine(f"n{n}", row["productName"], f"{n + 1}.00", code=codes, **known, **pack))
    pages = await pull(pharmacy, sku_system=DRUG_CODES, drug_code_systems=DRUG_CODES)
    listings = [listing for page in pages for listing in page.listings]
    [bad] = [bad for page in pages for bad in page.bad]
    assert len(listings) == 24 and bad.vendor_sku == "86905437000381"
    assert bad.reason == "the manufacturer is '注射剂', which is the dosage form: the fields are mixed up"
    first = listings[0]
    assert (first.title, first.brand, first.pack) == ("金前感冒胶囊", "保定天浩制药有限公司", "每粒装0.3g")
    assert (first.attributes["approval_no"], first.attributes["drug_code"]) == ("国药准字Z20123084", "86902551000259")
    assert all(
        drug_code(x.attributes["drug_code"]) and x.attributes["approval_no"].startswith("国药准字") for x in listings
    )
    assert all(x.gtin is None for x in listings)  # a drug code is no GTIN, though its digits would pass for one
    assert [x.pack for x in listings if x.title == "谷胱甘肽"] == [None]  # －－－－ says nothing


# Pulling -----------------------------------------------------------------------------------------------------------


async def test_an_incremental_pull_brings_what_changed(pharmacy: PharmacySandbox) -> None:
    for number in list(pharmacy._store["MedicationKnowledge"]):
        pharmacy._store["MedicationKnowledge"][number]["meta"]["lastUpdated"] = "2024-01-05T08:00:00Z"
    pharmacy.change("MedicationKnowledge", "m3", cost=[cost("33.00")])
    pages = await pull(pharmacy, {"since": clock.now().isoformat()})
    assert [(x.vendor_sku, str(x.price)) for page in pages for x in page.listings] == [("SKU-3", "33.0")]
    assert pages[-1].complete
    deaf = PharmacySandbox(catalogue(), unknown=["_lastUpdated"])
    await deaf.start()
    with reachable(deaf):
        assert sum(len(page.listings) for page in await pull(deaf, {"since": clock.now().isoformat()})) == 7
    await deaf.stop()


async def test_a_page_link_that_the_server_forgot_is_asked_anew(pharmacy: PharmacySandbox) -> None:
    whole = await pull(pharmacy, page_size=3)
    assert [len(page.listings) for page in whole] == [3, 3, 1]
    pharmacy.forget_searches = True
    rest = await pull(pharmacy, json.loads(json.dumps(whole[0].cursor)), page_size=50)
    assert len(rest[0].listings) == 7 and rest[-1].complete


async def test_pages_that_repeat_or_lose_rows_are_broken() -> None:
    for fault, code in (("repeat_page", "rows_missing"), ("drop_page", "rows_missing")):
        sandbox = PharmacySandbox(catalogue())
        setattr(sandbox.faults, fault, 2)
        await sandbox.start()
        with reachable(sandbox), pytest.raises(Broken) as broken:
            await pull(sandbox, page_size=3)
        await sandbox.stop()
        assert broken.value.code == code


async def test_an_older_server_gives_its_catalogue_and_says_why_it_has_no_stock() -> None:
    old = PharmacySandbox(catalogue(), version="4.0.1")
    await old.start()
    with reachable(old):
        assert sum(len(page.listings) for page in await pull(old)) == 7
        client = connect(old)
        with pytest.raises(
            Misconfigured, match=r"FHIR 4\.0\.1, which has no InventoryReport.*another source.*`stock` to none"
        ):
            _ = [page async for page in client.pull_stock(None)]
        old.silent = True  # it does not even list what it has
        silent, without = connect(old), connect(old, stock="none")
        with pytest.raises(Misconfigured, match="which has no InventoryReport"):
            _ = [page async for page in silent.pull_stock(None)]
        old.version = ""
        with pytest.raises(Misconfigured, match="does not give its InventoryReports"):
            await _drained(connect(old))
        [nothing] = [page async for page in without.pull_stock(None)]
        assert nothing.complete and not nothing.unchanged
        for made in (client, silent, without):
            await made.aclose()
    await old.stop()
    guards.forget()


async def _drained(client: Adapter) -> None:
    try:
        _ = [page async for page in client.pull_stock(None)]
    finally:
        await client.aclose()


async def test_a_server_without_a_catalogue_is_not_an_empty_catalogue() -> None:
    other = PharmacySandbox()
    other.types.remove("MedicationKnowledge")
    await other.start()
    with reachable(other):
        with pytest.raises(Misconfigured, match="does not list MedicationKnowledge"):
            await pull(other)
        del other._store["MedicationKnowledge"]  # and when it answers 404
        with pytest.raises(Misconfigured, match="table feed"):
            await pull(other)
    await other.stop()
    guards.forget()


# Who calls ---------------------------------------------------------------------------------------------------------


async def test_client_credentials_are_fetched_once_and_again_when_denied(pharmacy: PharmacySandbox) -> None:
    config, secrets = pharmacy.client_connection()
    client = connect(pharmacy, secrets, **config)
    assert len([x for page in [p async for p in client.pull(None)] for x in page.listings]) == 7
    assert pharmacy.tokens_given == 1
    pharmacy.token = "rotated-by-the-server"
    assert len([x for page in [p async for p in client.pull(None)] for x in page.listings]) == 7
    assert pharmacy.tokens_given == 2
    assert pharmacy.client_secret not in repr(client.__dict__) + repr(client.call.__dict__)
    await client.aclose()


async def test_wrong_or_half_a_credential_is_misconfigured(pharmacy: PharmacySandbox) -> None:
    config, _ = pharmacy.client_connection()
    with pytest.raises(Misconfigured):
        await _drained(connect(pharmacy, {"client_secret": "not-the-secret-42"}, **config))
    with pytest.raises(Misconfigured, match="client_id"):
        connect(pharmacy, {"client_secret": "x" * 9}, token_url=config["token_url"])
    with pytest.raises(Misconfigured, match="token"):
        await _drained(connect(pharmacy, {}))


def test_dates_without_a_time_are_spans_of_the_pharmacys_days() -> None:
    from zoneinfo import ZoneInfo

    china = ZoneInfo("Asia/Shanghai")
    day, month, year = (span_of(text, china) for text in ("2026-11-25", "2026-12", "2026"))
    assert day.first == datetime(2026, 11, 24, 16, tzinfo=UTC) and day.last < datetime(2026, 11, 25, 16, tzinfo=UTC)
    assert month.last.astimezone(china).month == 12 and year.first < day.first < year.last
    now = span_of("2026-11-25T10:00:00+08:00", china)
    assert now.first == now.last and not now.before(now) and not now.before(day) and not day.before(now)
    assert day.before(month) and not month.before(day)
    for text in ("2026-11-25T10:00:00", "soon", "2026-13", "", None):
        with pytest.raises(ValueError, match=r"time|month|Invalid|zone"):
            span_of(text, china)
