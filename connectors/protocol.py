"""The small protocols a connector may implement, one per capability. A connector is an object made for one
connection by `connectors.api.open_connector`; it owns its HTTP client and is closed after use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol, runtime_checkable

from connectors.contracts import (
    BadRow,
    Cursor,
    Held,
    IssuedCode,
    ListedOrder,
    ListingIn,
    Message,
    OrderUpdate,
    Page,
    PurchaseOrder,
    PushContent,
    PushReceived,
    Receipt,
)

IdempotencyKey = str


@runtime_checkable
class PullsListings(Protocol):
    def pull(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Pages of listings (and slots). `since` None: everything; otherwise from after the saved page."""
        ...


@runtime_checkable
class Remaps(Protocol):
    def remap(self, raws: Sequence[str]) -> Sequence[ListingIn | BadRow]:
        """Records that were refused, as the quarantine kept them, mapped once more: one result each, in order. Pure."""
        ...


@runtime_checkable
class PullsStock(Protocol):
    def pull_stock(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Stock figures alone, as `Page.unchanged`; asked for beside every incremental pull of listings."""
        ...


@runtime_checkable
class ReceivesPush(Protocol):
    def verify(self, headers: Mapping[str, str], body: bytes) -> PushReceived:
        """Check the native signature; raises hub.kernel.errors.Unauthorized when bad, missing or empty, and
        NotFound when the connection has no push secret."""
        ...

    def parse_push(self, topic: str, body: bytes) -> PushContent:
        """What the verified body means. Pure."""
        ...


@runtime_checkable
class PollsMessages(Protocol):
    """For systems that keep messages until they are told that we have them."""

    def messages(self) -> AsyncIterator[Sequence[Message]]:
        """Batches of waiting messages. Land a batch, acknowledge it, then ask for the next. Deletes nothing."""
        ...

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """Have landed messages deleted. Raises Refused for those that the vendor keeps, Retry when it is not known:
        they come again."""
        ...

    def parse_message(self, topic: str, body: bytes) -> PushContent:
        """What a message means. Pure."""
        ...


@runtime_checkable
class PlacesOrders(Protocol):
    async def place(self, po: PurchaseOrder, *, key: IdempotencyKey) -> Receipt:
        """Place the order. A refusal is a Receipt, not an error. Raises Retry when the outcome is unknown or the
        vendor is unavailable (ask with `find` before trying again), Misconfigured for 401/403, Broken for
        answers outside the protocol."""
        ...

    async def find(self, key: IdempotencyKey) -> Receipt | None:
        """The receipt of the order placed with this key, or None when the vendor has none."""
        ...

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel at the vendor. ACCEPTED means cancelled; REFUSED carries the reason."""
        ...


@runtime_checkable
class TracksOrders(Protocol):
    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The vendor's own view of the order now: one update a parcel, or one for the order while it has none. Empty
        when the vendor knows no such order."""
        ...


@runtime_checkable
class ListsOrders(Protocol):
    def list_orders(self, day: date) -> AsyncIterator[Sequence[ListedOrder]]:
        """The vendor's own list of our orders that were made, delivered or refused on a day that is over (of the
        vendor's calendar), each order once. Raises Broken when it is not whole: what is missing must not pass for
        absent."""
        ...


@runtime_checkable
class BooksSlots(Protocol):
    """A marker beside PlacesOrders: order lines may carry slots."""

    books_slots: bool


@runtime_checkable
class HoldsSlots(Protocol):
    """Beside BooksSlots: a slot can be kept for an order that is not placed yet."""

    async def hold(self, slot_ref: str, key: IdempotencyKey, until: datetime) -> Held:
        """Hold one place of this slot until then; `place` with the same key books it. A refusal is an answer.
        Repeating it moves the end. Raises Retry when the outcome is unknown: repeat it, or `release`."""
        ...

    async def release(self, key: IdempotencyKey, slot_ref: str | None = None) -> int:
        """Let go of what is held for `key` (of one slot, if given) and say how many places that was. What is booked
        stays booked; nothing held is no error."""
        ...


@runtime_checkable
class HoldsStock(Protocol):
    """Beside PlacesOrders, for vendors that count nothing: goods are kept for an order that is not placed yet."""

    async def hold_stock(self, po: PurchaseOrder, *, key: IdempotencyKey) -> Held:
        """Have the vendor keep all lines of the order, or none; `place` with the same key buys what is kept. A refusal
        is an answer. Repeating it keeps the same. Raises Retry when the outcome is unknown: repeat it, or
        `release_stock`."""
        ...

    async def release_stock(self, key: IdempotencyKey) -> bool:
        """Let go of what is kept for `key`; False when nothing was. What is bought stays bought."""
        ...


@runtime_checkable
class IssuesCodes(Protocol):
    async def issue(self, po: PurchaseOrder, *, key: IdempotencyKey) -> Sequence[IssuedCode]:
        """The codes of an order that `place` accepted; the same key returns the same codes."""
        ...


@runtime_checkable
class ObservesPrices(Protocol):
    """A marker beside PullsListings: listings carry `market_price`, and every pull observes it anew."""

    observes_prices: bool
