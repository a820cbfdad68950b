"""Orders that are placed by leaving a file. The vendor's number for an order is our own purchase order number: it is
what every document of both sides names it by. `place` answers *pending*; what became of it, `find` reads out of what
the partner left since."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from connectors.base import Adapter
from connectors.contracts import OrderUpdate, PurchaseOrder, Receipt, ReceiptStatus
from connectors.edi.deciding import Decision, cancel_refused, cancelled, decide, updates
from connectors.edi.models import Dialect, Fact, Invoice, Sent, Verdict
from connectors.edi.office import PostOffice, options
from connectors.mailbox import Mailbox, open_mailbox
from hub.kernel import clock
from hub.kernel.errors import Broken, Retry


class LeavesFiles(Adapter):
    """What every adapter over a mailbox has: the mailbox, the post office, and the brakes around them."""

    def dialect(self) -> Dialect:
        """The syntax of this connection; raises Misconfigured for settings that name none."""
        raise NotImplementedError

    @property
    def office(self) -> PostOffice:
        """Made on first use."""
        found: PostOffice | None = self.__dict__.get("_office")
        if found is None:
            box: Mailbox = open_mailbox(self.config, self.secrets, timeout_s=self.manifest.http.timeout_s)
            name = f"{self.manifest.id}:{self.connection_id}"
            found = PostOffice(box, self.dialect(), name, **options(self.config))
            self.__dict__["_office"] = found
        return found

    async def aclose(self) -> None:
        """Disconnect."""
        await super().aclose()
        found: PostOffice | None = self.__dict__.get("_office")
        if found is not None:
            await found.box.aclose()

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncIterator[PostOffice]:
        """The post office, behind the connection's brakes: a mailbox that is out of reach is left alone for a while."""
        guard = self.call.guard()
        async with guard.seat(self.manifest.http.longest_wait_s):
            try:
                yield self.office
            except Retry as error:
                if error.code in ("vendor_unreachable", "vendor_timeout"):
                    guard.failed()
                raise
            guard.succeeded()


class OrdersByFile(LeavesFiles):
    """PlacesOrders and TracksOrders."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Leave the order, once. Raises Retry when it is not known whether it was delivered: ask with `find`."""
        reference = _reference(key)
        async with self.visit() as office:
            if await office.sent(reference) is not None:
                await office.deliver(reference)  # nothing to do, unless the last attempt died just before
                return (await self._decided(office, key)).receipt
            try:  # once without a number, so that an order that cannot be written costs none
                self.office.dialect.order(po, key, 1, clock.now())
            except ValueError as error:
                return Receipt(status=ReceiptStatus.REFUSED, reason=str(error))
            number = await office.number()
            await office.send(reference, office.dialect.order(po, key, number, clock.now()), number, "order")
        return Receipt(status=ReceiptStatus.PENDING, vendor_order_no=key, raw_status="sent")

    async def find(self, key: str) -> Receipt | None:
        """Where the order placed with this key stands; None when it was never delivered. Raises Broken when the partner
        took only a part of it and takes no cancellation of the rest: a person must decide."""
        async with self.visit() as office:
            body = await office.sent(_reference(key))
            if body is None or await office.undelivered(_reference(key)):
                return None
            sent = office.dialect.own(body)
            facts = await office.facts(sent.at)
            decision = decide(sent, facts)
            if not decision.part:
                return self._with_cause(decision, sent, facts)
            return await self._part_taken(office, sent, decision, facts)

    def _with_cause(self, decision: Decision, sent: Sent, facts: Sequence[Fact]) -> Receipt:
        """An order that we cancelled because only a part of it was taken is refused for what was missing."""
        if decision.receipt.raw_status != "cancelled":
            return decision.receipt
        before = decide(sent, [fact for fact in facts if fact != cancelled(sent.po_number, facts)])
        if not before.part:
            return decision.receipt
        skus = before.short if before.out_of_stock else ()
        return decision.receipt.model_copy(
            update={"reason": before.part[:500], "out_of_stock": before.out_of_stock, "out_of_stock_skus": skus}
        )

    async def _part_taken(self, office: PostOffice, sent: Sent, decision: Decision, facts: Sequence[Fact]) -> Receipt:
        """The partner would send a part, or something else: cancel the whole, so that it can be bought elsewhere."""
        told = f"the partner took order {sent.po_number} only in part: {decision.part}"
        if not self._cancels():
            raise Broken(f"{told}. It takes no cancellation by file: settle it by hand", code="part_taken")
        if cancel_refused(sent.po_number, facts) is not None:
            raise Broken(f"{told}, and will not cancel: settle it by hand", code="part_taken")
        control = await self._ask_to_cancel(office, sent)
        if not self._read_is_enough(control, facts):
            return decision.receipt
        return decision.receipt.model_copy(
            update={
                "status": ReceiptStatus.REFUSED,
                "out_of_stock": decision.out_of_stock,
                "out_of_stock_skus": decision.short if decision.out_of_stock else (),
            }
        )

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Ask the partner to cancel. An order that it never got is taken back; otherwise the answer comes by file, and
        the cancellation is pending until then."""
        key = po.number
        async with self.visit() as office:
            body = await office.sent(_reference(key))
            if body is None:
                return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, raw_status="never sent")
            if await office.withdraw(_reference(key)):
                return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, raw_status="withdrawn")
            sent = office.dialect.own(body)
            facts = await office.facts(sent.at)
            decision = decide(sent, facts)
            if decision.receipt.status is ReceiptStatus.REFUSED:
                return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, raw_status="cancelled")
            if (said := cancel_refused(key, facts)) is not None:
                return self._not_cancelled(key, f"the partner will not cancel ({said.raw})")
            if any(update.tracking_no for update in updates(sent, decision, facts)):
                return self._not_cancelled(key, "the order has left")
            if not self._cancels():
                return self._not_cancelled(key, "the partner takes no cancellations by file; call it")
            control = await self._ask_to_cancel(office, sent)
            facts = await office.facts(sent.at)
            if cancelled(key, facts) is not None or self._read_is_enough(control, facts):
                return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=key, raw_status="cancelled")
            return Receipt(
                status=ReceiptStatus.PENDING, vendor_order_no=key, raw_status="cancellation sent",
                reason="the partner was asked to cancel and has not answered",
            )  # fmt: skip

    def _not_cancelled(self, key: str, reason: str) -> Receipt:
        return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=key, reason=reason)

    def _cancels(self) -> bool:
        return str(self.config["cancel"]) != "none"

    def _read_is_enough(self, control: str, facts: Sequence[Fact]) -> bool:
        """Whether the partner's system has read our cancellation, where the settings say that this settles it."""
        if self.config["cancel"] != "when_read":
            return False
        return any(isinstance(f, Verdict) and f.control == control and f.accepted for f in facts)

    async def _ask_to_cancel(self, office: PostOffice, sent: Sent) -> str:
        """Leave the cancellation, once; returns its control number."""
        reference = f"{_reference(sent.po_number)}_cancel"
        body = await office.sent(reference)
        if body is None:
            number = await office.number()
            body = await office.send(
                reference, office.dialect.cancellation(sent, number, clock.now()), number, "cancel"
            )
        else:
            await office.deliver(reference)
        return office.dialect.own(body).control

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """One update a parcel out of the ship notices, or one for the order while there is none; nothing for an order
        that was never placed."""
        async with self.visit() as office:
            body = await office.sent(_reference(vendor_order_no))
            if body is None or await office.undelivered(_reference(vendor_order_no)):
                return ()
            sent = office.dialect.own(body)
            facts = await office.facts(sent.at)
            return updates(sent, decide(sent, facts), facts)

    async def invoices(self, days: int = 400) -> list[Invoice]:
        """The invoices that came in the last days, oldest first, for settlement."""
        async with self.visit() as office:
            facts = await office.facts(clock.now() - timedelta(days=days))
        return [fact for fact in facts if isinstance(fact, Invoice)]

    async def _decided(self, office: PostOffice, key: str) -> Decision:
        body = await office.sent(_reference(key))
        if body is None:
            raise Retry("the order is being taken back", code="order_moves", after=5.0)
        sent = office.dialect.own(body)
        return decide(sent, await office.facts(sent.at))


def _reference(key: str) -> str:
    return f"po_{key}"
