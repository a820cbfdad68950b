"""The vendors and the categories of the sample assortment, in Chinese and English. Owns the shared taxonomy that every
sample feed uses; knows nothing of the items."""

from __future__ import annotations

from hub.app.assortment.model import Category, SampleVendor
from hub.kernel.types import Kind

SHOP, GROCERY, PHARMACY, CLINIC, EXPERIENCES, REFERENCE = (
    "shop",
    "grocery",
    "pharmacy",
    "clinic",
    "experiences",
    "reference",
)

VENDORS: dict[str, SampleVendor] = {
    vendor.key: vendor
    for vendor in (
        SampleVendor(
            SHOP,
            "禾惠优选商城",
            "Hehui Select",
            "woocommerce",
            "supply",
            "general e-commerce; pushes stock over signed webhooks and is the back-up of the grocery",
        ),
        SampleVendor(
            GROCERY,
            "鲜里到家超市",
            "Xianli Fresh Grocery",
            "woocommerce",
            "supply",
            "groceries; answers 429 and 5xx now and then, and refuses one line that its feed shows in stock",
        ),
        SampleVendor(
            PHARMACY,
            "松鹤里药房",
            "Songheli Pharmacy",
            "table_feed",
            "supply",
            "a GB18030 spreadsheet export; reads and ships its orders in the vendor portal",
        ),
        SampleVendor(
            CLINIC,
            "安禾门诊集团",
            "Anhe Clinics",
            "fhir_clinic",
            "supply",
            "sixteen branches with bookable slots over FHIR R4",
        ),
        SampleVendor(
            EXPERIENCES,
            "慢野体验",
            "Manye Experiences",
            "woocommerce",
            "supply",
            "classes, tickets and vouchers that arrive as codes",
        ),
        SampleVendor(
            REFERENCE,
            "大集参考商城",
            "Daji Reference Mall",
            "table_feed",
            "reference",
            "a Google Merchant feed whose prices the others are compared with",
        ),
    )
}

CATEGORIES: dict[str, Category] = {
    slug: Category(slug, name, name_en, kind)
    for kind, rows in {
        Kind.GOODS: (
            ("masks", "口罩防护", "Masks and Protection"),
            ("disinfect", "消毒清洁", "Disinfection"),
            ("otc", "家庭常备药", "Over-the-counter Medicines"),
            ("devices", "医疗器械", "Medical Devices"),
            ("firstaid", "急救护理", "First Aid"),
            ("supplements", "营养保健", "Nutrition and Supplements"),
            ("drinks", "饮料冲调", "Drinks"),
            ("dairy", "乳品", "Dairy"),
            ("grain", "粮油", "Grains and Oils"),
            ("snacks", "休闲零食", "Snacks"),
            ("instant", "方便速食", "Convenience Food"),
            ("condiments", "调味品", "Condiments"),
            ("fresh", "生鲜", "Fresh Food"),
            ("teacoffee", "茶与咖啡", "Tea and Coffee"),
            ("paper", "纸品", "Paper Products"),
            ("laundry", "家庭清洁", "Household Cleaning"),
            ("personal", "个人护理", "Personal Care"),
            ("baby", "母婴用品", "Mother and Baby"),
            ("home", "家居家纺", "Home Textiles"),
            ("kitchen", "厨房用品", "Kitchenware"),
            ("appliance", "小家电", "Small Appliances"),
            ("digital", "数码配件", "Digital Accessories"),
            ("office", "办公文具", "Office Supplies"),
            ("sports", "运动户外", "Sports and Outdoors"),
            ("pet", "宠物用品", "Pet Supplies"),
        ),
        Kind.SERVICE: (
            ("checkup", "健康体检", "Health Check-ups"),
            ("dental", "口腔齿科", "Dental Care"),
            ("vaccine", "疫苗接种", "Vaccination"),
            ("tcm", "中医理疗", "Traditional Chinese Medicine"),
            ("physio", "康复理疗", "Physiotherapy"),
            ("eye", "眼科视光", "Eye Care"),
            ("mental", "心理咨询", "Counselling"),
            ("skin", "皮肤护理", "Dermatology"),
        ),
        Kind.EXPERIENCE: (
            ("classes", "手作课程", "Workshops and Classes"),
            ("wellness", "按摩养生", "Massage and Wellness"),
            ("camping", "露营户外", "Camping and Outdoors"),
            ("museum", "展览博物", "Museums and Exhibitions"),
            ("family", "亲子乐园", "Family Fun"),
            ("tickets", "景区门票", "Attractions"),
            ("shows", "影音演出", "Cinema and Shows"),
            ("dining", "餐饮券", "Dining Vouchers"),
            ("fitness", "运动健身", "Fitness"),
            ("travel", "短途旅行", "Short Trips"),
        ),
    }.items()
    for slug, name, name_en in rows
}
