"""What words mean where no table speaks, what tables mean, and what carriers are called."""

from __future__ import annotations

import pytest
import yaml

from connectors.contracts import ShipmentStatus
from fulfillment.carriers import statuses, tables
from fulfillment.carriers.contracts import OURS, CarrierStatus
from fulfillment.carriers.names import DATA, words_of
from fulfillment.carriers.reading import read

SAID = {
    "delivered": [
        "Delivered", "Delivered, Parcel Locker", "The shipment has been delivered.", "Votre colis est livré.", "Livré",
        "Die Sendung wurde zugestellt", "Zugestellt", "Entregado", "Consegnato", "Bezorgd", "Doręczona", "Entregue",
        "已签收", "已签收,签收人凭取货码签收。", "您的快件已签收，签收人：本人", "妥投",
        "DistributedNormally - regular",
        "Signed for by: J SMITH", "Proof of Delivery", "已由菜鸟驿站代收，客户已取走",
        "Package has been successfully delivered to the consignee.", "Final delivery", "배송완료", "配達完了",
    ],
    "out_for_delivery": [
        "Out for Delivery", "OUT_FOR_DELIVERY", "OutForDelivery", "On FedEx vehicle for delivery",
        "With delivery courier",
        "The parcel is expected to be delivered during the day.",
        "The shipment has been loaded onto the delivery vehicle",
        "Die Sendung wird zugestellt", "En reparto", "In consegna", "En cours de livraison", "派送中", "派件中",
        "您的快件正在派送中，请您准备签收（快递员：薛某）", "配送员开始配送，请您准备收货", "out_for_distribution",
    ],
    "ready_for_pickup": [
        "Ready for recipient pickup", "available_for_pickup", "AvailableForPickup", "Parcel delivered to ParcelShop",
        "Package available for pickup at: 2420 N BLACKSTONE AVE",
        "Die Sendung liegt in der Filiale zur Abholung bereit",
        "快件已由1栋113号店菜鸟驿站代收,请及时取件", "已投递至丰巢快递柜", "En attente d'être retiré au guichet",
    ],
    "delivery_failed": [
        "Customer not available or business closed", "Delivery exception", "Could not be delivered", "Undeliverable",
        "Not delivered", "AttemptFail", "Zustellung war nicht möglich", "No se ha podido entregar",
        "派送失败，客户不在家",
        "Notice card left indicating where and when to pick up item", "拒收", "收件人拒签", "Refused by recipient",
    ],
    "return_to_sender": [
        "Returned to sender", "Delivered to sender", "return_to_sender", "Distribué à l'expéditeur", "退回件已签收",
        "站点【退货部】进行了【货物退回客户扫描】操作", "Zurück an Absender",
    ],
    "pending": [
        "Label created", "Shipping Label Created, USPS Awaiting Item", "Pre-Shipment Info Sent to USPS", "PreTransit",
        "The parcel data was entered into the GLS IT system; the parcel was not yet handed over to GLS.", "待揽收",
        "Electronic information submitted by shipper", "Order Processed: Ready for UPS", "InfoReceived",
        "Die Sendungsdaten wurden elektronisch übermittelt",
    ],
    "picked_up": [
        "Picked up", "USPS in possession of item", "Origin Scan", "顺丰速运 已收取快件", "已揽收",
        "Shipment handed over by shipper",
        "Votre colis a été déposé dans un point postal.",
    ],
    "in_transit": [
        "Arrived at Post Office", "In Transit to Next Facility", "Departed USPS Regional Facility", "运输中",
        "en chemin",
        "您的快件由【西安灞桥分拣中心】准备发往【西安兴善营业部】", "快件到达 【上海虹桥集散中心】", "En tránsito",
        "IN_TRANSIT",
        "Delivered to local post office", "The shipment has been processed in the parcel center of origin",
    ],
    "on_hold": ["Held in customs", "Shipment on hold", "滞留", "海关扣留"],
    "delivery_delayed": ["Package delayed", "Delay", "Running Late", "因天气原因延误"],
    "cancelled": ["Cancelled", "Shipment cancelled", "已取消", "storniert"],
    "unknown": [
        "", "unknown", "error", "Will be delivered tomorrow", "Lorem ipsum", "准备签收",
        "预计明天签收", "Delivery scheduled", "We attempted to pick up the parcel but were unsuccessful", "42", "OP-72",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "status"), [(text, status) for status, texts in SAID.items() for text in texts])
def test_words_of_many_languages_say_a_status(text: str, status: str) -> None:
    assert statuses.of_words(text).status.value == status


def test_refusals_and_bad_addresses_are_evidence() -> None:
    assert statuses.of_words("Shipment refused by recipient").cause == "refused"
    assert statuses.of_words("收件人拒签").cause == "refused"
    assert statuses.of_words("Undeliverable as addressed").cause == "bad_address"
    assert statuses.of_words("地址不详，无法派送").cause == "bad_address"
    assert statuses.of_words("Empfänger unbekannt").cause == "bad_address"
    assert statuses.of_words("Customer not available").cause is None


def test_every_status_has_one_meaning_for_our_parcels() -> None:
    assert set(OURS) == set(CarrierStatus)
    assert [status for status, ours in OURS.items() if ours is ShipmentStatus.DELIVERED] == [CarrierStatus.DELIVERED]


def test_tables_load_and_agree_with_themselves() -> None:
    held = tables.tables()
    assert len(held) >= 50
    for code, table in held.items():
        assert code == code.lower() and tables.fold(code) == code
        codes = [tables.code_key(c) for listed in table.statuses.values() for c in listed]
        assert len(codes) == len(set(codes)), f"{code} lists a code twice"
        assert {tables.code_key(c) for listed in table.causes.values() for c in listed} <= set(codes)
        assert not table.statuses or table.source, f"{code} has codes and does not say whose"
        assert table.zone_info is not None or table.zone is None


def test_no_two_tables_share_a_name() -> None:
    owners: dict[str, str] = {}
    for path in sorted((DATA / "carriers").glob("*.yaml")):
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in held if isinstance(held, list) else [held]:
            for name in entry.get("names", []):
                assert owners.setdefault(tables._name_key(name), entry["carrier"]) == entry["carrier"], name


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["顺丰", "SF", "shunfeng", "SF Express", "顺丰速运", "sf-express", "顺丰速运有限公司"], "shunfeng"),
        (["圆通", "YTO", "yuantong", "圆通速递"], "yuantong"), (["中通", "zto", "zhongtong", "中通快递"], "zhongtong"),
        (["韵达", "yunda", "韵达快递"], "yunda"), (["申通", "STO", "shentong"], "shentong"),
        (["京东", "JD", "京东物流", "京东快递"], "jd"), (["EMS", "邮政EMS"], "ems"), (["极兔", "J&T", "极兔速递"],
        "jtexpress"),
        (["德邦", "德邦快递", "deppon"], "debangkuaidi"), (["FedEx", "Federal Express", "联邦快递"], "fedex"),
        (["USPS"], "usps"), (["Nobody's Own"], "nobody's own"),
    ],
)  # fmt: skip
def test_a_carrier_has_one_code_however_it_is_called(names: list[str], code: str) -> None:
    assert {tables.fold(name) for name in names} == {code}
    assert {tables.fold(name.upper()) for name in names} == {code}


def test_the_shape_of_a_number_is_a_hint() -> None:
    assert tables.hints("SF1011603494291") == ["shunfeng"]
    assert "jd" in tables.hints("JDVA00000000001")
    assert {"ups"} == set(tables.hints("1Z999AA10123456784"))
    assert len(tables.hints("123456789012")) > 1  # and no more than that
    assert tables.hints("?") == []


def test_unknown_codes_stay_unknown_with_the_raw_value() -> None:
    scan = {"trackingNumber": "AB1234567890", "events": [{"eventCode": "ZZ9", "eventTime": "2024-03-01T10:00:00Z"}]}
    (parcel,) = read("fedex", scan).parcels
    assert (parcel.events[0].status, parcel.events[0].code) == (CarrierStatus.UNKNOWN, "ZZ9")


def test_a_table_goes_before_words_and_a_coarse_one_after() -> None:
    def status(carrier: str, **scan: str) -> str:
        event = {"date": "2024-03-01T10:00:00Z", **scan}
        return read(carrier, {"trackingNumber": "AB1234567890", "events": [event]}).parcels[0].status.value

    assert status("teleship", code="in_transit", description="Out for delivery") == "in_transit"
    assert status("dhl", statusCode="transit", status="OUT FOR DELIVERY") == "out_for_delivery"
    assert status("dhl", statusCode="delivered", status="SOMETHING NEW") == "delivered"
    # A vague word waits for a better one.
    assert status("x", code="Exception", description="Customer not available") == "delivery_failed"
    assert status("x", code="Exception", description="?") == "on_hold"


def test_names_are_compared_word_by_word() -> None:
    same = {words_of(name) for name in ("eventDate", "event-date", "EVENT_DATE", "eventdate", "EventDate")}
    assert same == {("event", "date")}
    assert words_of("StatusEn") == ("status",)
    assert words_of("x" * 5000) == ("x" * 80,)
