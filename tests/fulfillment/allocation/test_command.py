"""`supplyhub allocate` and `supplyhub verify-plan` as an operator types them: files, exit codes, one line for each
thing wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fulfillment.allocation.commanding import supplyhub, typed
from tests.fulfillment.allocation.forging import sealed

DEMANDS = "site,item,quantity,tier,cap\n" + "".join(
    f"站点{n:02},{item},{10 + n * 7 % 40},{1 + n % 3},{30 if n % 4 else ''}\n"
    for n in range(30)
    for item in ("口罩", "手套")
)
SUPPLIES = (
    "warehouse,item,quantity,lot,expires\n"
    "东仓,口罩,200,A,40\n东仓,口罩,100,B,\n西仓,口罩,150,C,20\n东仓,手套,900,D,\n西仓,手套,50,E,2099-12-31\n"
)
LEADS = "warehouse,site,hours,cost\n" + "".join(
    f"{place},站点{n:02},{(n * 5 + 9 * far) % 60}.5,{1 + (n + far) % 4}.25\n"
    for n in range(30) for far, place in enumerate(("东仓", "西仓"))
)  # fmt: skip


INPUTS = ("--demands", "d.csv", "--supplies", "s.csv", "--lead-times", "l.csv")
OUTPUTS = ("--out", "plan.csv", "--certificate", "cert.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the three input files."""
    for name, text in (("d.csv", DEMANDS), ("s.csv", SUPPLIES), ("l.csv", LEADS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_plan_is_made_certified_and_verified(folder: Path) -> None:
    made = typed(folder, "allocate", *INPUTS, *OUTPUTS, "--start", "2026-05-01T08:00:00+08:00")
    assert made.returncode == 0, made.stderr
    assert made.stderr == "" and "split deliveries" in made.stdout and "certified: snapshot" in made.stdout
    with (folder / "plan.csv").open(encoding="utf-8", newline="") as file:
        plan = list(csv.DictReader(file))
    assert list(plan[0]) == ["warehouse", "site", "item", "lot", "quantity"]
    assert all(int(row["quantity"]) > 0 for row in plan)
    checked = typed(folder, "verify-plan", *INPUTS, "--plan", "plan.csv", "--certificate", "cert.json")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(
        f"every guarantee holds: {len(plan)} rows, deadline 48 hours, seed 0, start 2026-05-01"
    )


def test_the_same_input_in_another_order_and_encoding_makes_the_same_files(folder: Path) -> None:
    when = ("--start", "2026-05-01T08:00:00+08:00", "--seed", "7")
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, *when).returncode == 0
    first = (folder / "plan.csv").read_bytes(), (folder / "cert.json").read_bytes()
    for name, text in (("d.csv", DEMANDS), ("s.csv", SUPPLIES), ("l.csv", LEADS)):
        head, *lines = text.splitlines()
        (folder / name).write_text("\n".join([head, *reversed(lines)]) + "\n", encoding="gb18030")
    again = typed(folder, "allocate", *INPUTS, *OUTPUTS, *when)  # with other hashes of strings, too
    assert again.returncode == 0 and "note: d.csv was read as GB18030" in again.stderr
    assert ((folder / "plan.csv").read_bytes(), (folder / "cert.json").read_bytes()) == first


def test_a_changed_plan_is_told_in_one_line_each_and_exit_code_1(folder: Path) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    lines = (folder / "plan.csv").read_text(encoding="utf-8").splitlines()
    place, site, item, lot, _units = lines[3].split(",")
    lines[3] = f"{place},{site},{item},{lot},900"
    lines.append("南仓,站点00,口罩,A,1")
    (folder / "plan.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, "--plan", "plan.csv", "--certificate", "cert.json")
    assert checked.returncode == 1 and "Traceback" not in checked.stderr
    assert checked.stdout.splitlines() == [
        f"feasible: plan.csv line {len(lines)}: warehouse '南仓' is not in the input"
    ]
    (folder / "plan.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, "--plan", "plan.csv", "--certificate", "cert.json")
    assert checked.returncode == 1
    assert f"feasible: plan.csv line 4 ({place} → {site}, {item}): 900 units are not from 1" in checked.stdout


@pytest.mark.parametrize(
    ("pinned", "said"),
    [
        (("--deadline-hours", "72"), "snapshot: the certificate is for deadline_hours '48', not '72'"),
        (("--seed", "3"), "snapshot: the certificate is for seed 0, not 3"),
        (
            ("--start", "2026-06-01"),
            "snapshot: the certificate is for start '2026-05-01T00:00:00+08:00', not '2026-06-01",
        ),
    ],
)
def test_what_is_insisted_on_must_be_what_was_certified(folder: Path, pinned: tuple[str, ...], said: str) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, "--start", "2026-05-01").returncode == 0
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS, *pinned)
    assert checked.returncode == 1 and checked.stdout.startswith(said)


def test_changed_input_is_found_by_its_hash(folder: Path) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    (folder / "l.csv").write_text(LEADS.replace("东仓,站点00,0.5,1.25", "东仓,站点00,0.5,1.26"), encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS)
    assert checked.returncode == 1 and checked.stdout.startswith("snapshot: the certificate is for the input ")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seed": NaN}', '{"a": 1, "a": 2}', "\x00", "[" * 100_000])
def test_what_is_no_certificate_is_one_line(folder: Path, text: str) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    (folder / "cert.json").write_text(text, encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS)
    assert checked.returncode == 1 and "Traceback" not in checked.stderr
    assert checked.stderr.startswith("supplyhub: cert.json: not") and checked.stderr.count("\n") == 1


def _units(document: Any) -> None:
    document["figures"]["units"] += 1


def _granted(document: Any) -> None:
    granted = document["items"][0]["stages"][0]["granted"]
    granted[0], granted[1] = granted[1] + 1, granted[0]


def _price(document: Any) -> None:
    document["items"][0]["price"][0] += 1


@pytest.mark.parametrize("reseal", [False, True], ids=["", "sealed again"])
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_units, "figures: units is "),
        (_granted, "fairness: "),
        (_price, "cost: "),
        (lambda document: document.update(plan_sha256="0" * 64), "plan: the certificate is for another plan"),
        (lambda document: document["items"].pop(), "certificate: the certificate has 1 items, there are 2"),
    ],
)
def test_a_changed_certificate_is_refused(folder: Path, edit: Callable[[Any], object], said: str, reseal: bool) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    document = json.loads((folder / "cert.json").read_bytes())
    edit(document)
    (folder / "cert.json").write_text(json.dumps(sealed(document) if reseal else document), encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS)
    assert (checked.returncode, checked.stderr) == (1, "")
    lines = checked.stdout.splitlines()
    assert any(line.startswith(said) for line in lines), lines
    assert ("certificate: was changed after it was made: its seal does not fit" in lines) is not reseal


def test_the_certificates_of_two_plans_do_not_fit_each_other(folder: Path) -> None:
    others = ("--out", "b.csv", "--certificate", "b.json", "--deadline-hours", "20")
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    assert supplyhub(folder, "allocate", *INPUTS, *others).returncode == 0
    assert (folder / "plan.csv").read_bytes() != (folder / "b.csv").read_bytes()
    for plan, certificate in (("plan.csv", "b.json"), ("b.csv", "cert.json")):
        checked = supplyhub(folder, "verify-plan", *INPUTS, "--plan", plan, "--certificate", certificate)
        assert checked.returncode == 1 and checked.stdout, (plan, certificate)
    assert supplyhub(folder, "verify-plan", *INPUTS, "--plan", "b.csv", "--certificate", "b.json").returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("d.csv", "site,item,tier\n", "d.csv line 1: no column 'quantity'; found site, item, tier"),
        ("d.csv", "", "d.csv line 1: no column 'site'; found nothing"),
        ("s.csv", f"{SUPPLIES}东仓,口罩,-1,Z,\n", "s.csv line 7, field quantity: '-1' is not a whole number"),
        ("s.csv", f"{SUPPLIES}东仓,口罩,5,A,\n", "s.csv line 7, field lot: is the same lot of the same item as"),
        ("s.csv", f"{SUPPLIES}东仓,口罩,5,Z,soon\n", "s.csv line 7, field expires: 'soon' is neither a date"),
        ("l.csv", LEADS + "东仓,站点00,1,1\n", "l.csv line 62, field site: is the same way as l.csv line 2"),
        ("l.csv", LEADS[: LEADS.rindex(",")], "l.csv line 61: 3 fields, the header has 4"),
        ("l.csv", "PK\x03\x04\x00\x00", "l.csv line 1: a NUL character; this is not a CSV file"),
    ],
)  # fmt: skip
def test_each_file_is_refused_in_one_line_and_nothing_is_written(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS)
    assert (made.returncode, made.stdout, made.stderr.count("\n")) == (1, "", 1)
    assert made.stderr.startswith(f"supplyhub: {said}")
    assert sorted(path.name for path in folder.iterdir()) == ["d.csv", "l.csv", "s.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "same", "--certificate", "./same"), "--certificate and --out are the same file: same"),
        (("--out", "d.csv"), "--out and --demands are the same file: d.csv"),
        (("--explanations", "l.csv"), "--explanations and --lead-times are the same file: l.csv"),
        (("--certificate", "gone/cert.json"), "cannot write gone/cert.json: No such file or directory"),
        (("--certificate", "."), "cannot write .: Is a directory"),
        (("--explanations", "gone/why.csv"), "cannot write gone/why.csv: No such file or directory"),
        (("--why", "nobody"), "'nobody' did not ask for anything"),
    ],
)
def test_all_files_are_written_or_none(folder: Path, words: tuple[str, ...], said: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, *words)
    assert (made.returncode, made.stderr) == (1, f"supplyhub: {said}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_second_plan_replaces_the_first(folder: Path) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    first = (folder / "plan.csv").read_bytes()
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, "--deadline-hours", "20").returncode == 0
    assert (folder / "plan.csv").read_bytes() != first
    assert supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS).returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "plan.csv line 1: no column 'warehouse'; found nothing"),
        ("warehouse,site,item,lot,quantity\n东仓,站点00,口罩,A,ten\n", "plan.csv line 2, field quantity: 'ten' is not"),
        ("warehouse,site,item,lot,quantity\n东仓,站点00\n", "plan.csv line 2: 2 fields, the header has 5"),
    ],
)
def test_what_is_no_plan_is_one_line(folder: Path, text: str, said: str) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    (folder / "plan.csv").write_text(text, encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS)
    assert (checked.returncode, checked.stdout, checked.stderr.count("\n")) == (1, "", 1)
    assert checked.stderr.startswith(f"supplyhub: {said}")


def test_an_empty_plan_is_no_plan_of_scarce_goods(folder: Path) -> None:
    assert supplyhub(folder, "allocate", *INPUTS, *OUTPUTS).returncode == 0
    (folder / "plan.csv").write_text("warehouse,site,item,lot,quantity\n", encoding="utf-8")
    checked = supplyhub(folder, "verify-plan", *INPUTS, *OUTPUTS)
    assert checked.returncode == 1 and "maximal: " in checked.stdout


def test_bad_input_is_one_line_and_writes_nothing(folder: Path) -> None:
    (folder / "d.csv").write_text("site,item,quantity,tier,cap\nS,口罩,NaN,1,\n", encoding="utf-8")
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS)
    assert made.returncode == 1
    assert made.stderr == "supplyhub: d.csv line 2, field quantity: 'NaN' is not a whole number from 0 to 1000000000\n"
    assert not (folder / "plan.csv").exists() and not (folder / "cert.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--deadline-hours", "soon"), "--deadline-hours: 'soon' is not a number"),
        (("--deadline-hours", "-1"), "the deadline must be from 0 to 100000 hours, not -1"),
        (("--start", "soon"), "--start: 'soon' is neither a date nor a time"),
        (("--demands", "gone.csv"), "cannot read gone.csv: No such file or directory"),
        (("--out", "gone/plan.csv"), "cannot write gone/plan.csv: No such file or directory"),
    ],
)
def test_bad_options_are_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, *words)
    assert made.returncode == 1 and made.stderr.startswith(f"supplyhub: {said}") and made.stderr.count("\n") == 1


def test_what_is_ignored_is_noted_and_strict_refuses_it(folder: Path) -> None:
    (folder / "l.csv").write_text(LEADS + "南仓,站点00,1,1\n", encoding="utf-8")
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS)
    assert made.returncode == 0
    assert made.stderr == "note: l.csv line 62, field warehouse: '南仓' is not among the supplies; ignored\n"
    strict = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, "--strict")
    assert strict.returncode == 1 and strict.stderr.startswith("supplyhub: l.csv line 62, field warehouse: '南仓'")


def test_sites_read_why_and_other_rules_stand_beside(folder: Path) -> None:
    made = supplyhub(folder, "allocate", *INPUTS, *OUTPUTS, "--compare", "--why", "站点05", "--explanations", "why.csv")
    assert made.returncode == 0, made.stderr
    assert (
        "first come" in made.stdout
        and "pro rata" in made.stdout
        and "站点05: 口罩: 45 asked, 30 count (cap)" in made.stdout
    )
    with (folder / "why.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert (
        len(told) == 60
        and sum(int(row["granted"]) for row in told)
        == json.loads((folder / "cert.json").read_text(encoding="utf-8"))["figures"]["units"]
    )
