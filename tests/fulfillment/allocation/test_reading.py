"""Input files: whatever is wrong is refused in one line that names file, line and field; what is merely unusual is
read."""

from __future__ import annotations

import pytest

from fulfillment.allocation.reading import moment, read_demands, read_leads, read_plan, read_supplies
from fulfillment.allocation.snapshot import freeze
from fulfillment.allocation.tables import HOUR, NEVER, LeadTable, SupplyTable
from hub.kernel.errors import HubError

HEAD = "site,item,quantity,tier,cap\n"


def demand(line: str) -> bytes:
    return (HEAD + "S1,mask,1,1,\n" + line + "\n").encode()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (demand("S2,mask,NaN,1,"), "d.csv line 3, field quantity: 'NaN' is not a whole number from 0 to 1000000000"),
        (demand("S2,mask,-5,1,"), "d.csv line 3, field quantity: '-5' is not a whole number from 0 to 1000000000"),
        (demand("S2,mask,1.5,1,"), "d.csv line 3, field quantity: '1.5' is not a whole number from 0 to 1000000000"),
        (demand("S2,mask,1e3,1,"), "d.csv line 3, field quantity: '1e3' is not a whole number from 0 to 1000000000"),
        (demand('S2,mask,"1,000",1,'), "d.csv line 3, field quantity: '1,000' is not a whole number"),
        (demand("S2,mask,１２,1,"), "d.csv line 3, field quantity: '１２' is not a whole number"),
        (demand("S2,mask,99999999999,1,"), "d.csv line 3, field quantity: '99999999999' is not from 0 to 1000000000"),
        (demand("S2,mask," + "9" * 400 + ",1,"), "d.csv line 3, field quantity: '" + "9" * 40 + "…' is not from 0 to"),
        (demand("S2,mask,,1,"), "d.csv line 3, field quantity: is empty"),
        (demand("S2,mask,5,high,"), "d.csv line 3, field tier: 'high' is not a whole number from 0 to 999"),
        (demand("S2,mask,5,,"), "d.csv line 3, field tier: is empty"),
        (demand("S2,mask,5,1,x"), "d.csv line 3, field cap: 'x' is not a whole number"),
        (demand(",mask,5,1,"), "d.csv line 3, field site: is empty"),
        (demand("=cmd(),mask,5,1,"), "d.csv line 3, field site: '=cmd()' would run as a formula in a spreadsheet"),
        (demand("a\tb,mask,5,1,"), "d.csv line 3, field site: has a character that cannot be printed"),
        (demand("x" * 201 + ",mask,5,1,"), "d.csv line 3, field site: is longer than 200 characters"),
        (demand("S2,mask,5"), "d.csv line 3: 3 fields, the header has 5"),
        (demand('S2,"mask,5,1,'), "d.csv line 3: unexpected end of data"),
        (demand("S1,mask,5,1,"), "d.csv line 3, field item: asks for the same item at the same site as d.csv line 2"),
        (demand("\nS2,mask,x,1,"), "d.csv line 4, field quantity: 'x'"),
        (b"site,item,tier\n", "d.csv line 1: no column 'quantity'; found site, item, tier"),
        (b"", "d.csv line 1: no column 'site'; found nothing"),
        (b"site,item,quantity,tier" + b",x" * 1_000_000, "d.csv line 1: 1,000,004 columns; at most 256 are read"),
        (b"site,site,item,quantity,tier\n", "d.csv line 1: column 'site' stands there twice"),
        (HEAD.encode() + b"Caf\xe9,mask,5,1,\n", "d.csv line 2: the encoding is neither UTF-8 nor GB18030"),
        (HEAD.encode() + b"Gr\xf6\xdfe,mask,5,1,\n", "d.csv line 2: the encoding is neither UTF-8 nor GB18030"),
        (b"\xef\xbb\xbf" + HEAD.encode() + b"\xff\xfe,mask,5,1,\n", "d.csv line 2: the encoding is not UTF-8"),
        (HEAD.encode("utf-16-le"), "d.csv line 1: a NUL character; this is not a CSV file"),
    ],
)  # fmt: skip
def test_a_bad_demand_is_refused_with_file_line_and_field(raw: bytes, said: str) -> None:
    with pytest.raises(HubError) as refused:
        freeze(read_demands("d.csv", raw)[0], *others())
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("W,mask,5,A,soon", "s.csv line 2, field expires: 'soon' is neither a date nor a time nor a number of hours"),
        ("W,mask,5,A,2026-02-30", "s.csv line 2, field expires: '2026-02-30' is neither a date"),
        ("W,mask,5,A,-3", "s.csv line 2, field expires: '-3' is neither a date nor a time nor a number of hours"),
        ("W,mask,5,A,\nW,mask,6,A,", "s.csv line 3, field lot: is the same lot of the same item as s.csv line 2"),
        ("W,mask,5,,\nW,mask,6,,", "s.csv line 3, field lot: is the same lot of the same item as s.csv line 2"),
        (
            "W,mask,999999999,A,\nW,mask,2,B,",
            "the supply of 'mask' adds up to 1,000,000,001 units; at most 1,000,000,000",
        ),
    ],
)
def test_a_bad_supply_is_refused_with_file_line_and_field(line: str, said: str) -> None:
    with pytest.raises(HubError) as refused:
        freeze(read_demands("d.csv", demand("S2,mask,1,1,"))[0], supplies(line), others()[1])
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("W,S1,nan,1", "l.csv line 2, field hours: 'nan' is not hours from 0 to 100000"),
        ("W,S1,-1,1", "l.csv line 2, field hours: '-1' is not hours from 0 to 100000"),
        ("W,S1,1e9,1", "l.csv line 2, field hours: '1e9' is not hours from 0 to 100000"),
        ("W,S1,,1", "l.csv line 2, field hours: is empty"),
        ("W,S1,1,", "l.csv line 2, field cost: is empty"),
        ("W,S1,1,-0.01", "l.csv line 2, field cost: '-0.01' is not an amount from 0 to 100000"),
        ("W,S1,1,inf", "l.csv line 2, field cost: 'inf' is not an amount from 0 to 100000"),
        ("W,S1,1,0.00001", "l.csv line 2, field cost: '0.00001' has too many decimals"),
        ("W,S1,1,1\nW,S1,2,2", "l.csv line 3, field site: is the same way as l.csv line 2"),
    ],
)
def test_a_bad_lead_time_is_refused_with_file_line_and_field(line: str, said: str) -> None:
    with pytest.raises(HubError) as refused:
        freeze(read_demands("d.csv", demand("S2,mask,1,1,"))[0], others()[0], leads(line))
    assert str(refused.value).startswith(said)


def test_unknown_warehouses_and_sites_are_noted_with_their_place_and_ignored() -> None:
    world = freeze(
        read_demands("d.csv", demand("S2,mask,1,1,"))[0],
        supplies("W,mask,5,A,\nV,mask,5,A,"),
        leads("W,S1,1,1\nX,S1,1,1\nW,S9,1,1"),
    )
    assert world.notes == (
        "l.csv line 3, field warehouse: 'X' is not among the supplies; ignored",
        "l.csv line 4, field site: 'S9' is not among the demands; ignored",
        "warehouse 'V' has supplies but no lead time: nothing can leave it",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_encodings_of_spreadsheets_are_read(encoding: str) -> None:
    text = HEAD + "武汉市第一医院,医用口罩,1200,1,\n襄阳站,医用口罩,30,2,20\n"
    table, sheet = read_demands("d.csv", text.encode(encoding))
    assert table.site.names == ["武汉市第一医院", "襄阳站"] and table.cap.tolist() == [-1, 20]
    assert sheet.encoding == {"gb18030": "GB18030", "utf-16": "UTF-16"}.get(encoding, "UTF-8")


def test_a_rare_character_in_a_name_does_not_spoil_gb18030() -> None:
    table, _sheet = read_demands("d.csv", (HEAD + "朱镕站,口罩,1,1,\n㙍上村卫生室,口罩,1,1,\n").encode("gb18030"))
    assert table.site.names == ["朱镕站", "㙍上村卫生室"]


def test_windows_line_ends_blank_lines_spaces_quotes_and_case_are_no_matter() -> None:
    raw = b'Tier , ITEM,"Site",quantity\r\n\r\n1, mask ,"S,1",010.0\r\n,,,\r\n2,mask,"S\xe3\x80\x80",5\r\n'
    table, sheet = read_demands("d.csv", raw)
    assert table.site.names == ["S,1", "S"] and table.item.names == ["mask"]
    assert table.quantity.tolist() == [10, 5] and table.tier.tolist() == [1, 2] and sheet.ignored == []


def test_a_column_that_is_not_known_is_named() -> None:
    _table, sheet = read_demands("d.csv", b"site,item,quantity,tier,flor\nS,mask,1,1,2\n")
    assert sheet.ignored == ["flor"]


@pytest.mark.parametrize(
    ("text", "dated", "microseconds"),
    [
        ("", False, NEVER),
        ("36", False, 36 * HOUR),
        ("1.5", False, 3 * HOUR // 2),
        ("2026-05-01", True, 1777651200_000000),  # the end of that day in Shanghai
        ("2026/5/1", True, 1777651200_000000),
        ("20260501", True, 1777651200_000000),
        ("2026-05-01T08:00:00", True, 1777593600_000000),
        ("2026-05-01 08:00", True, 1777593600_000000),
        ("2026-05-01T00:00:00Z", True, 1777593600_000000),
    ],
)
def test_expiry_is_hours_a_date_or_an_instant(text: str, dated: bool, microseconds: int) -> None:
    table = supplies(f"W,mask,5,A,{text}")
    assert (bool(table.dated[0]), int(table.expires[0])) == (dated, microseconds)


def test_a_start_on_a_date_is_its_beginning() -> None:
    assert moment("2026-05-01").isoformat() == "2026-05-01T00:00:00+08:00"


@pytest.mark.parametrize("quantity", ["1.5", "NaN", "five", "", "0x10", "1" * 19])
def test_a_plan_whose_quantity_is_no_whole_number_is_refused(quantity: str) -> None:
    with pytest.raises(HubError, match=r"^p.csv line 2, field quantity: "):
        read_plan("p.csv", f"warehouse,site,item,lot,quantity\nW,S,mask,A,{quantity}\n".encode())


def supplies(lines: str) -> SupplyTable:
    return read_supplies("s.csv", f"warehouse,item,quantity,lot,expires\n{lines}\n".encode())[0]


def leads(lines: str) -> LeadTable:
    return read_leads("l.csv", f"warehouse,site,hours,cost\n{lines}\n".encode())[0]


def others() -> tuple[SupplyTable, LeadTable]:
    return supplies("W,mask,5,A,"), leads("W,S1,1,1")
