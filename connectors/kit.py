"""What every system's folder must provide so that the contract kit can try it, and the kit's entry points.

A folder `connectors/<system>/` holds manifest.yaml, README.md, fixtures/, sandbox.py, kit.py and, where YAML runs
out, adapter.py. kit.py defines one class `Kit(SystemKit)`; the checks themselves are in connectors.kit_checks and
connectors.kit_orders. They run from pytest (tests/contract_kit) and from `supplyhub connector check NAME`. A check that
does not apply is waived in the manifest under `waive:` with a reason; one that needs a capability the connector lacks
is skipped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from connectors import base, manifest
from connectors.base import Adapter
from connectors.contracts import PoLine, PurchaseOrder, ShipTo
from connectors.manifest import Manifest
from connectors.sandbox_kit import Delivery, Faults, Sandbox

FixtureCheck = Callable[[Adapter, bytes], Awaitable[None] | None]


class SystemKit(ABC):
    """What the kit asks of one system. Subclass it as `Kit` in connectors/<system>/kit.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = manifest.load(folder)

    @abstractmethod
    def sandbox(self, faults: Faults) -> Sandbox:
        """A stand-in server with at least 25 listings in at least 3 pages as `connection` will pull them, playing
        `faults`. Not started."""

    @abstractmethod
    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Settings and secrets of a connection to the started sandbox. Secret values must be at least 8 characters
        and differ from every other value, so that a leak is recognised."""

    @abstractmethod
    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """File under fixtures/ -> a check that feeds it to the adapter and asserts what comes out. Every file must
        be named here; the golden order needs no check."""

    # For connectors that place orders -------------------------------------------------------------------------

    def purchase_order(self) -> PurchaseOrder:
        """An order that the sandbox accepts; its body must equal fixtures/golden_order.json."""
        raise NotImplementedError

    def refused_order(self) -> PurchaseOrder:
        """An order that the sandbox refuses (for stock, say)."""
        raise NotImplementedError

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        """How many living orders with this key the sandbox holds."""
        raise NotImplementedError

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        """The JSON body of the order as the sandbox received it, for comparison with fixtures/golden_order.json."""
        raise NotImplementedError

    # For connectors that hold slots ---------------------------------------------------------------------------

    def held_slot(self, sandbox: Sandbox, slot_ref: str) -> bool:
        """Whether the sandbox keeps this slot from others without having booked it."""
        raise NotImplementedError

    # For connectors that hold stock ---------------------------------------------------------------------------

    def held_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        """How many orders with this key the sandbox holds without having been told to send them."""
        raise NotImplementedError

    # For connectors that poll messages ------------------------------------------------------------------------

    def put_messages(self, sandbox: Sandbox) -> None:
        """Let at least two messages wait in the sandbox."""
        raise NotImplementedError

    unknown_order = "4711"  # an order number of the vendor's form that the sandbox never gave

    # For connectors that receive pushes -----------------------------------------------------------------------

    def pushes(self, sandbox: Sandbox) -> Sequence[Delivery]:
        """At least three signed pushes, oldest first, that report different states of one thing."""
        raise NotImplementedError

    def signature_header(self) -> str:
        """The header that carries the signature."""
        assert self.manifest.push is not None
        return self.manifest.push.hmac_sha256.header

    # Given ----------------------------------------------------------------------------------------------------

    def adapter(self, sandbox: Sandbox) -> Adapter:
        """A connector object for the started sandbox. Close it after use."""
        config, secrets = self.connection(sandbox)
        hidden = {name: SecretStr(value) for name, value in secrets.items()}
        return base.build(self.folder, config, hidden, connection_id=f"kit-{id(sandbox)}")


def example_order(number: str, lines: Sequence[tuple[str, int, str]], currency: str = "CNY") -> PurchaseOrder:
    """A purchase order with fixed times and names; `lines` are (vendor_sku, quantity, unit price)."""
    return PurchaseOrder(
        number=number,
        lines=tuple(
            PoLine(line_no=n, vendor_sku=sku, quantity=qty, unit_price=Decimal(price), currency=currency)
            for n, (sku, qty, price) in enumerate(lines, 1)
        ),
        ship_to=ShipTo(
            name="李伟", phone="13800000000", province="上海", city="上海", district="黄浦区",
            address="中山东一路1号", postcode="200001",
        ),
        note="",
        placed_at=datetime(2026, 11, 22, 7, 0, tzinfo=UTC),
    )  # fmt: skip


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check of one system."""

    check: str
    outcome: Literal["passed", "failed", "waived", "skipped"]
    detail: str = ""


def kit_of(folder: Path) -> SystemKit:
    """The Kit of the system in `folder`; raises Misconfigured when it has none."""
    module = base.load_module(folder, "kit")
    made: SystemKit = module.Kit(folder)
    return made


def checks() -> tuple[str, ...]:
    """The names of all checks."""
    from connectors import kit_checks, kit_orders, kit_registry

    del kit_checks, kit_orders  # importing them registers what they check
    return tuple(kit_registry.CHECKS)


async def check(name: str | Path) -> list[CheckResult]:
    """Run every check on one system (an installed name, or a folder); for `supplyhub connector check NAME`."""
    from connectors import kit_registry

    folder = name if isinstance(name, Path) else manifest.HOME / name
    return [await kit_registry.run(folder, each) for each in checks()]
