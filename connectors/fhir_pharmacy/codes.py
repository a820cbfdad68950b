"""Codes of medicines: which is which, and whether it can be right. Pure.

China's drug code (国家药品编码本位码) has 14 digits: 86 for the country, 9 for drugs, five for the enterprise, five for
its product, and a check digit by GB 18937: counted from the right, with the check digit as the first, the digits in
even places count three times and all of them together give a whole number of tens. GTIN-14 uses the same arithmetic,
and 86 9… is also a possible GTIN-14: only the coding's system tells the two apart, so nothing is concluded from
digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NDC = "http://hl7.org/fhir/sid/ndc"
GTIN = frozenset({"https://www.gs1.org/gtin", "http://www.gs1.org/gtin", "urn:oid:1.3.160"})
_DRUG_CODE = re.compile(r"869\d{11}")
_APPROVAL = re.compile(r"国药准字([A-Z]{1,2}\d{8})")
_BARE_APPROVAL = re.compile(r"[A-Z]{1,2}\d{8}")
_FULL_WIDTH = {0xFF01 + n: 0x21 + n for n in range(94)} | {0x3000: 0x20}


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ordinary ones: both are typed in China."""
    return text.translate(_FULL_WIDTH)


def drug_code(raw: str) -> str:
    """The 14 digits of a drug code; raises ValueError when they are none or the check digit is wrong."""
    digits = half_width(raw).replace(" ", "").replace("-", "")
    if not _DRUG_CODE.fullmatch(digits):
        raise ValueError("a drug code (本位码) has 14 digits and begins with 869")
    if check_digit(digits[:13]) != digits[13]:
        raise ValueError("the drug code's (本位码) check digit is wrong")
    return digits


def check_digit(body: str) -> str:
    """The check digit that belongs behind these digits (GB 18937, as for a GTIN)."""
    values = [int(digit) for digit in reversed(body)]
    return str(-(3 * sum(values[::2]) + sum(values[1::2])) % 10)


def approval_number(raw: str) -> str | None:
    """An approval number such as 国药准字H20123308, or None when the text is none: it is known by its own words."""
    found = _APPROVAL.search(half_width(raw).upper().replace(" ", ""))
    return f"国药准字{found.group(1)}" if found else None


@dataclass(frozen=True)
class Systems:
    """Which coding systems hold which codes; those of China have no agreed address, so a connection names them."""

    gtin: frozenset[str] = GTIN
    approval: frozenset[str] = frozenset()
    drug_code: frozenset[str] = frozenset()


@dataclass
class Codes:
    """The codes of one medicine."""

    gtin: str | None = None
    ndc: str | None = None
    approval_no: str | None = None
    drug_code: str | None = None
    others: dict[str, str] = field(default_factory=dict)  # system -> code

    def attributes(self) -> dict[str, str]:
        """As attributes of a listing."""
        named = {"ndc": self.ndc, "approval_no": self.approval_no, "drug_code": self.drug_code}
        return {name: value for name, value in named.items() if value} | {
            f"code {system}"[:80]: code for system, code in self.others.items()
        }


def read_codes(pairs: Iterable[tuple[str, str]], systems: Systems) -> Codes:
    """Sort (system, code) pairs by what they are; of each kind the first counts. Raises ValueError for a drug code that
    cannot be right: a medicine whose code is wrong may be another medicine."""
    found = Codes()
    for system, code in pairs:
        if system in systems.gtin:
            found.gtin = found.gtin or code
        elif system == NDC:
            found.ndc = found.ndc or code
        elif system in systems.drug_code:
            found.drug_code = found.drug_code or drug_code(code)
        elif (number := approval_number(code)) is not None:
            found.approval_no = found.approval_no or number
        elif system in systems.approval:
            text = half_width(code).strip()
            bare = _BARE_APPROVAL.fullmatch(text.upper())
            found.approval_no = found.approval_no or (f"国药准字{text.upper()}" if bare else text)
        elif system:
            found.others.setdefault(system, code)
    return found


def pairs_of(resource: Mapping[str, Any], *concepts: str) -> list[tuple[str, str]]:
    """(system, code) of a resource's identifiers and of the codings in these CodeableConcepts, in order."""
    found: dict[tuple[str, str], None] = {}  # in order, each once
    for item in _items(resource.get("identifier")):
        if code := _text(item.get("value")):
            found[str(item.get("system") or ""), code] = None
    for name in concepts:
        for item in _items(resource.get(name)):
            for coding in _items(item.get("coding")):
                if code := _text(coding.get("code")):
                    found[str(coding.get("system") or ""), code] = None
    return list(found)


def _items(held: Any) -> Sequence[dict[str, Any]]:
    if not held:
        return ()
    return [item for item in (held if isinstance(held, list) else [held]) if isinstance(item, dict)]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
