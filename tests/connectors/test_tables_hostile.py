"""Files made to hurt: each is refused by name within a second, and memory stays where it was."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_RUN = """
import asyncio, json, resource, sys, time
from connectors.tables import Limits, Reading, land, records
from pathlib import Path

def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def chunks(path):
    with Path(path).open("rb") as file:
        while chunk := file.read(2**20):
            yield chunk

async def one(path):
    with await land(chunks(path)) as spooled:
        found = [bool(record.reason) for record in records(spooled, Reading())]
        return f"{len(found)} rows, {sum(found)} refused"

warm = Path(sys.argv[1]); asyncio.run(one(warm))
for path in sys.argv[2:]:
    before, started = rss(), time.perf_counter()
    try:
        said = "read " + asyncio.run(one(path))
    except Exception as error:
        said = f"{type(error).__name__}:{getattr(error, 'code', error)}"
    print(json.dumps([Path(path).name, said, round(time.perf_counter() - started, 3), rss() - before]))
"""

SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)
BOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>'
)
RELS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="x/worksheet" Target="worksheets/sheet1.xml"/>'
    '<Relationship Id="r2" Type="x/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
)
LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
)


def xlsx(path: Path, sheet: str, strings: str = "", extra: int = 0) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", BOOK)
        archive.writestr("xl/_rels/workbook.xml.rels", RELS)
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        if strings:
            archive.writestr("xl/sharedStrings.xml", strings)
        for number in range(extra):
            archive.writestr(f"x/{number}", b"")


def gzip_of(path: Path, members: int, line: bytes = b"\0") -> None:
    """A gzip file of this many members, 16 MiB unpacked each."""
    path.write_bytes(gzip.compress(line * (16 * 2**20 // len(line))) * members)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, int]]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "warm.csv").write_text("a,b\n1,2\n")
    head = "<rss><channel>"
    texts = {
        "columns.csv": "c," * 10**6 + "\n" + "1," * 10**6,
        "columns_quoted.csv": '"c",' * 200_000 + "\n",
        "line.csv": "a,b\n" + "x" * (20 * 2**20),
        "xxe.xml": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item></rss>',
        "dtd.xml": '<!DOCTYPE r SYSTEM "http://169.254.169.254/x.dtd"><rss><item><id>1</id></item></rss>',
        "laughs.xml": LAUGHS + "]><rss><item><id>&m;</id></item></rss>",
        "parameter.xml": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]><rss/>',
        "deep.xml": head + "<item>" + "<a>" * 100_000,
        "fat.xml": head + "<item><id>" + "x" * (8 * 2**20),
        "fields.xml": head + "<item>" + "".join(f"<f{n}>1</f{n}>" for n in range(50_000)),
        "repeated.xml": head + "<item>" + "<f>1</f>" * 300_000,
        "tag.xml": head + "<item " + "a" * (12 * 2**20),
        "comment.xml": head + "<!--" + "a" * (12 * 2**20),
        "entity.xml": "<rss><item><id>&nothing;</id></item></rss>",
        "keys.jsonl": "{" + ",".join(f'"{n}":1' for n in range(10**6)) + "}\n",
        "keys_line.jsonl": "{" + ",".join(f'"{n}":1' for n in range(80_000)) + "}\n" + '{"a": 1}\n',
        "same_key.jsonl": "{" + '"a":1,' * 150_000 + '"a":2}\n',
        "line.jsonl": '{"a": "' + "x" * (20 * 2**20) + '"}\n',
        "deep.jsonl": '{"a":' * 100_000 + "1" + "}" * 100_000 + "\n" + '{"a":' + "[" * 400_000 + "]" * 400_000 + "}\n",
        "nan.jsonl": '{"a": NaN}\n{"a": -Infinity}\n{"a": 1e999999999}\n{"a": 1}\n',
        "digits.jsonl": '{"a": ' + "9" * 900_000 + "}\n" + '{"a": "' + "\\u0000" * 10 + '"}\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    gzip_of(folder / "bomb.csv.gz", 600)
    gzip_of(folder / "bomb_rows.csv.gz", 40, b"a,b\n")
    gzip_of(folder / "inner.gz", 20)
    (folder / "bomb_twice.gz").write_bytes(gzip.compress((folder / "inner.gz").read_bytes()))
    (folder / "inner.gz").unlink()
    row = '<row r="{}"><c r="{}1"><v>1</v></c></row>'
    xlsx(folder / "zip_bomb.xlsx", SHEET.format(" " * (64 * 2**20)))
    xlsx(folder / "far_column.xlsx", SHEET.format(row.format(1, "XFD")))
    xlsx(folder / "far_row.xlsx", SHEET.format(row.format(1, "A") + row.format(10**12, "A")))
    xlsx(folder / "many_parts.xlsx", SHEET.format(""), extra=3_000)
    xlsx(folder / "doctype.xlsx", LAUGHS + "]>" + SHEET.format("<row><c><v>&m;</v></c></row>"))
    xlsx(folder / "strings_doctype.xlsx", SHEET.format(""), LAUGHS + "]><sst><si><t>&m;</t></si></sst>")
    xlsx(folder / "strings_big.xlsx", SHEET.format(""), "<sst>" + "<si><t>ab&#38;</t></si>" * 1_600_000 + "</sst>")
    wide = "".join(f'<c t="inlineStr"><is><t>{n}</t></is></c>' for n in range(100_000))
    xlsx(folder / "wide.xlsx", SHEET.format(f"<row>{wide}</row>"))
    xlsx(folder / "number.xlsx", SHEET.format("<row><c><v>a</v></c></row><row><c><v>1E999999999</v></c></row>"))
    files = sorted(str(path) for path in folder.iterdir() if path.name != "warm.csv")
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(folder / "warm.csv"), *files],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=110, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in io.StringIO(done.stdout)]
    return {name: (said, seconds, grown) for name, said, seconds, grown in lines}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bomb.csv.gz", "TooLarge:gzip_bomb"),
        ("bomb_rows.csv.gz", "TooLarge:gzip_bomb"),
        ("bomb_twice.gz", "TooLarge:gzip_bomb"),
        ("columns.csv", "TooLarge:"),
        ("columns_quoted.csv", "TooLarge:too_many_columns"),
        ("line.csv", "TooLarge:line_too_long"),
        ("xxe.xml", "Malformed:xml_doctype"),
        ("dtd.xml", "Malformed:xml_doctype"),
        ("laughs.xml", "Malformed:xml_doctype"),
        ("parameter.xml", "Malformed:xml_doctype"),
        ("entity.xml", "Malformed:bad_xml"),
        ("deep.xml", "TooLarge:xml_too_deep"),
        ("fat.xml", "TooLarge:record_too_large"),
        ("fields.xml", "TooLarge:too_many_columns"),
        ("repeated.xml", "TooLarge:too_many_columns"),
        ("tag.xml", "TooLarge:record_too_large"),
        ("comment.xml", "TooLarge:record_too_large"),
        ("zip_bomb.xlsx", "TooLarge:zip_bomb"),
        ("far_column.xlsx", "TooLarge:too_many_columns"),
        ("many_parts.xlsx", "TooLarge:zip_bomb"),
        ("doctype.xlsx", "Malformed:xml_doctype"),
        ("strings_doctype.xlsx", "Malformed:xml_doctype"),
        ("strings_big.xlsx", "TooLarge:"),
        ("wide.xlsx", "TooLarge:too_many_columns"),
        ("far_row.xlsx", "read 1 rows, 0 refused"),
        ("number.xlsx", "read 1 rows, 0 refused"),
        ("keys.jsonl", "TooLarge:line_too_long"),
        ("keys_line.jsonl", "read 2 rows, 1 refused"),
        ("same_key.jsonl", "read 1 rows, 1 refused"),
        ("line.jsonl", "TooLarge:line_too_long"),
        ("deep.jsonl", "read 2 rows, 2 refused"),
        ("nan.jsonl", "read 4 rows, 2 refused"),
        ("digits.jsonl", "read 2 rows, 1 refused"),
    ],
)
def test_a_hostile_file_is_refused_by_name_within_a_second(
    verdicts: dict[str, tuple[str, float, int]], name: str, said: str
) -> None:
    verdict, seconds, grown = verdicts[name]
    assert verdict.startswith(said)
    assert seconds <= 1.0
    assert grown <= 64


def test_all_hostile_files_together_leave_memory_where_it_was(verdicts: dict[str, tuple[str, float, int]]) -> None:
    assert len(verdicts) == 33
    assert sum(grown for _, _, grown in verdicts.values()) <= 64  # MiB of peak resident memory
