"""Promises of `supplyhub match`: files as vendors write them, one line for what is wrong, exit codes 0, 1 and 2."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hub.app import cli

LEFT = [("1", "Sony WH-1000XM5 headphones black"), ("2", "稳健 N95医用防护口罩 30只/盒"), ("3", "garden hose 30 m")]
RIGHT = [
    ("a", "稳健医用防护口罩N95 30只"), ("b", "Sony WH1000XM5 wireless headphones, black"),
    ("c", "Sony WH-1000XM4 headphones black"),
]  # fmt: skip
EXPECTED = [("1", "b", "match"), ("2", "a", "match")]


def table(
    path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("id", "title"), separator: str = ",",
    encoding: str = "utf-8",
) -> Path:  # fmt: skip
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """The exit code of the command line."""
    monkeypatch.setattr("sys.argv", ["supplyhub", "match", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code is None or isinstance(stopped.value.code, int)
    return stopped.value.code or 0


def written(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pairs(path: Path) -> list[tuple[str, str, str]]:
    return [(row["left_id"], row["right_id"], row["decision"]) for row in written(path)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "#"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_any_usual_separator_and_encoding_is_read_and_utf_8_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str, encoding: str
) -> None:
    left = table(tmp_path / "left.csv", LEFT, separator=separator, encoding=encoding)
    right = table(tmp_path / "right.csv", RIGHT, separator=separator, encoding=encoding)
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == EXPECTED
    assert all(0 <= float(row["score"]) <= 1 for row in written(out))


def test_columns_go_by_their_usual_names_in_any_order_and_others_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = table(
        tmp_path / "l.csv", [("x", "索尼", "Sony WH-1000XM5 黑色", "7")], ("备注", "品牌", "商品名称", "商品编号")
    )
    right = table(tmp_path / "r.csv", [("b", "y", "WH1000XM5 黑色 sony")], ("ID", "note", "Name"))
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == [("7", "b", "match")]


def test_a_price_list_with_numbers_and_prices_is_read_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = ("id", "title", "gtin", "mpn", "brand", "price", "currency")
    left = table(
        tmp_path / "l.csv",
        [
            ("1", "text marker", "4006381333931", "", "", "", ""),
            ("2", "Bosch drill GSB 13", "", "", "", "¥1,000.00", "CNY"),
        ],
        header,
    )
    right = table(
        tmp_path / "r.csv",
        [
            ("a", "Stabilo Boss", "04006381333931", "", "", "", ""),
            ("b", "Bosch GSB 13 drill", "", "", "", "100", "CNY"),
        ],
        header,
    )
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == [("1", "a", "match"), ("2", "b", "review")]


def test_rows_that_cannot_be_used_are_counted_and_cost_only_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = table(tmp_path / "l.csv", [*LEFT, ("1", "another thing"), ("", "no id"), ("9", "")])
    right = table(tmp_path / "r.csv", RIGHT)
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == EXPECTED
    told = capsys.readouterr().err
    assert "l.csv: 1 rows repeat an id" in told and "l.csv: 2 rows have no id or no title" in told
    assert "2 matches and 0 pairs to review, of 3 and 3 rows" in told


def test_quotes_line_breaks_and_huge_cells_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("1", 'Samsung 32" "Frame", LN32\nTV', "x" * 300_000), ("2", "Sony WH-1000XM5", "short")]
    left = table(tmp_path / "l.csv", rows, ("id", "title", "description"))
    right = table(tmp_path / "r.csv", [("a", "Sony WH1000XM5"), ("b", "Samsung LN32 Frame TV 32 inch")])
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == [("1", "b", "match"), ("2", "a", "match")]


def test_a_quote_that_never_closes_does_not_swallow_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "l.csv"
    filler = "".join(f"f{k},filler row number {k} with some words\n" for k in range(6000))
    left.write_text(f'id,title\n0,"never closed\n{filler}1,Sony WH-1000XM5\n', encoding="utf-8")
    right = table(tmp_path / "r.csv", [("a", "Sony WH1000XM5")])
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 0
    assert pairs(out) == [("1", "a", "match")]


def test_a_missing_column_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = table(tmp_path / "l.csv", LEFT)
    right = table(tmp_path / "r.csv", RIGHT, ("id", "words"))
    out = tmp_path / "pairs.csv"
    assert run(monkeypatch, left, right, "--out", out) == 1
    assert (
        capsys.readouterr().err == "supplyhub: r.csv has no column title; needed are id, title, there are: id, words\n"
    )
    assert not out.exists()
    assert run(monkeypatch, "--cluster", left, "--out", out) == 1
    assert "no column vendor" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x00\x01\x02binary", b"<html><body>login</body></html>", b"id,title\n"]
)
def test_a_file_that_is_no_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    right = table(tmp_path / "r.csv", RIGHT)
    assert run(monkeypatch, tmp_path / "l.csv", right, "--out", tmp_path / "pairs.csv") == 1
    told = capsys.readouterr().err
    assert told.startswith("supplyhub: ") and told.count("\n") == 1 and "l.csv" in told


def test_wrong_use_is_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = table(tmp_path / "l.csv", LEFT)
    assert run(monkeypatch, left) == 2
    assert run(monkeypatch, left, left, "--cluster") == 2
    assert run(monkeypatch, left, tmp_path / "absent.csv") == 2


def test_an_unwritable_result_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = table(tmp_path / "l.csv", LEFT), table(tmp_path / "r.csv", RIGHT)
    assert run(monkeypatch, left, right, "--out", tmp_path / "absent" / "pairs.csv") == 1
    assert "cannot write" in capsys.readouterr().err


def test_offers_of_many_vendors_are_put_together_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        ("z9", "甲", "Sony WH-1000XM5 headphones black"), ("b", "乙", "Sony WH1000XM5 headphones, black"),
        ("a", "丙", "Sony WH-1000XM5 black"), ("d", "乙", "Sony WH-1000XM4 headphones black"),
        ("e", "丙", "Sony WH1000XM4 black"),
    ]  # fmt: skip
    offers = table(tmp_path / "offers.csv", rows, ("id", "vendor", "title"), encoding="gb18030")
    out = tmp_path / "clusters.csv"
    assert run(monkeypatch, "--cluster", offers, "--out", out) == 0
    found = [(row["id"], row["cluster"]) for row in written(out)]
    assert [name for name, _ in found] == ["z9", "b", "a", "d", "e"]
    labels = dict(found)
    assert labels["z9"] == labels["b"] == labels["a"] != labels["d"] == labels["e"]
