"""Values that every package shares: money, kinds, levels, identifiers, frozen models."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


class Frozen(BaseModel):
    """A value that crosses a wall between packages: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(BaseModel):
    """What a caller sends: unknown fields refused, strings stripped, NaN and infinities refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False, hide_input_in_errors=True)


class View(BaseModel):
    """What a caller receives: only declared fields leave the house."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Kind(StrEnum):
    """What a product is: 实物, 服务 or 体验."""

    GOODS = "goods"
    SERVICE = "service"
    EXPERIENCE = "experience"


class DeliveryMode(StrEnum):
    """How it reaches the employee: a parcel, an appointment, or a voucher code."""

    PARCEL = "parcel"
    APPOINTMENT = "appointment"
    CODE = "code"


class Level(StrEnum):
    """Availability of a vendor that gives no counts. Never turned into an invented number."""

    IN_STOCK = "in_stock"
    LIMITED = "limited"
    OUT = "out"


class Money(Frozen):
    """A decimal amount in an ISO 4217 currency; never a float."""

    amount: Decimal = Field(allow_inf_nan=False)
    currency: str = Field(pattern=r"^[A-Z]{3}$")

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def gtin14(raw: str | None) -> str | None:
    """The GTIN padded to 14 digits, or None if `raw` is empty.

    Accepts GTIN-8, -12, -13 and -14 with spaces or hyphens. Raises ValueError when the digits or the check
    digit are wrong (GS1 General Specifications, section 7.9)."""
    if raw is None:
        return None
    digits = raw.strip().replace(" ", "").replace("-", "")
    if not digits:
        return None
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (8, 12, 13, 14):
        raise ValueError("a GTIN has 8, 12, 13 or 14 digits")
    # Weights 3 and 1 from the right, over all digits: a whole number of tens. (python-stdnum's `ean` says the same
    # thing ten times slower, which a bulk pull feels; the tests hold the two against each other.)
    values = digits.encode()  # each byte is 48 + digit
    if (3 * sum(values[-2::-2]) + sum(values[-1::-2]) - 48 * (3 * (len(digits) // 2) + (len(digits) + 1) // 2)) % 10:
        raise ValueError("the GTIN's check digit is wrong")
    return digits.zfill(14)


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562, version 7), so that index pages fill in order."""
    ms = time.time_ns() // 1_000_000
    rand = int.from_bytes(os.urandom(10), "big")
    value = (ms & (2**48 - 1)) << 80 | 0x7 << 76 | (rand >> 68 & 0xFFF) << 64 | 0b10 << 62 | rand & (2**62 - 1)
    return uuid.UUID(int=value)


def public_id(prefix: str, value: int | uuid.UUID) -> str:
    """The outside form of an internal identifier, such as `prd_42` or `ord_0198…`."""
    return f"{prefix}_{value.hex if isinstance(value, uuid.UUID) else value}"


def parse_int_id(prefix: str, text: str) -> int:
    """The internal number of `prd_42`; raises ValueError for any other shape."""
    head, _, tail = text.partition("_")
    if head != prefix or not tail.isascii() or not tail.isdigit() or len(tail) > 18:
        raise ValueError(f"expected an id like {prefix}_123")
    return int(tail)


def parse_uuid_id(prefix: str, text: str) -> uuid.UUID:
    """The internal UUID of `ord_0198…`; raises ValueError for any other shape."""
    head, _, tail = text.partition("_")
    if head != prefix or len(tail) != 32:
        raise ValueError(f"expected an id like {prefix}_ followed by 32 hexadecimal digits")
    return uuid.UUID(tail)


# A pattern and not Python functions: it is checked in Rust, which halves the cost of validating a listing. Lone
# surrogates fail before it, as text that is not Unicode.
SafeText = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[SafeText, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Sku = Annotated[SafeText, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Quantity = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Price = Annotated[Decimal, Field(gt=0, le=Decimal("99999999"), max_digits=14, decimal_places=4)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
# Bounded (in Rust too), so that neither UTC nor a window of days around it falls off the calendar.
Instant = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
Json = dict[str, Any]
