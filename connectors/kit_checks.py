"""The contract kit's checks of pulls, pushes and secrets, tried against a connector's own sandbox."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from connectors import base
from connectors.base import Adapter
from connectors.contracts import Capability, Message, PushContent
from connectors.kit import SystemKit
from connectors.kit_registry import CHECKS, promise, raises
from connectors.kit_stage import KitFailure, figures_of, listings_of, must, pages_of, playing, stock_pages_of
from connectors.protocol import PollsMessages, ReceivesPush
from connectors.sandbox_kit import Delivery, Faults
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Unauthorized


@promise()
async def manifest_is_valid(kit: SystemKit) -> None:
    """The manifest loads, its capabilities are those of the object, every waiver names a check, README exists."""
    base.adapter_class(kit.folder)
    unknown = set(kit.manifest.waive) - set(CHECKS)
    must(not unknown, f"waive: there is no check {', '.join(sorted(unknown))}")
    must((kit.folder / "README.md").is_file(), "README.md is missing: say what it was verified against")


@promise()
async def every_fixture_is_used(kit: SystemKit) -> None:
    """Every file under fixtures/ is fed to the adapter, and every named fixture exists."""
    root = kit.folder / "fixtures"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {"golden_order.json"}
    checks = kit.fixtures()
    must(files == set(checks), f"fixtures and checks differ: {sorted(files ^ set(checks))}")
    async with playing(kit) as (_, adapter):
        for name, check in checks.items():
            try:
                done = check(adapter, (root / name).read_bytes())
                if done is not None:
                    await done
            except Exception as error:
                raise KitFailure(f"fixture {name}: {type(error).__name__}: {error}") from error


@promise(Capability.PULLS_LISTINGS)
async def a_pull_ends(kit: SystemKit) -> None:
    """It ends, once, with a complete page, and no SKU comes twice."""
    async with playing(kit) as (_, adapter):
        pages = await pages_of(adapter)
    must(len(pages) >= 3, f"the sandbox must need at least 3 pages, not {len(pages)}")
    must([page.complete for page in pages] == [False] * (len(pages) - 1) + [True], "only the last page is complete")
    skus = [listing.vendor_sku for listing in listings_of(pages)]
    must(len(skus) >= 25, f"the sandbox must hold at least 25 good listings, not {len(skus)}")
    must(len(skus) == len(set(skus)), "a SKU came twice")


@promise(Capability.PULLS_LISTINGS)
async def a_pull_resumes_after_any_page(kit: SystemKit) -> None:
    """Stopped after each page in turn and resumed in a new object: no gap, no duplicate, through JSON."""
    async with playing(kit) as (sandbox, adapter):
        whole = await pages_of(adapter)
        wanted = [listing.vendor_sku for listing in listings_of(whole)]
        for done in range(1, len(whole) + 1):
            cursor = orjson.loads(orjson.dumps(whole[done - 1].cursor))
            fresh = kit.adapter(sandbox)
            try:
                rest = await pages_of(fresh, cursor)
            finally:
                await fresh.aclose()
            got = [listing.vendor_sku for listing in listings_of(whole[:done] + rest)]
            must(got == wanted, f"resumed after page {done}: {len(got)} listings instead of {len(wanted)}")
            must(rest[-1].complete, f"resumed after page {done}: it does not end complete")


@promise(Capability.PULLS_LISTINGS)
async def money_is_decimal_and_times_are_aware(kit: SystemKit) -> None:
    """Prices are finite decimals, every time has a zone, a count is never invented beside a level."""
    async with playing(kit) as (_, adapter):
        pages = await pages_of(adapter)
    for page in pages:
        must(page.captured_at.tzinfo is not None, "captured_at has no time zone")
        for listing in page.listings:
            exact = type(listing.price) is Decimal and math.isfinite(listing.price)
            must(exact, f"{listing.vendor_sku}: the price is not an exact decimal")
            must(listing.reported_at is None or listing.reported_at.tzinfo is not None, "reported_at has no zone")
            must(listing.on_hand is None or listing.level is None, "both a count and a level")
        for slot in page.slots:
            must(slot.start.tzinfo is not None and slot.end.tzinfo is not None, "a slot without a time zone")


@promise(Capability.PULLS_LISTINGS)
async def known_records_report_their_stock_only(kit: SystemKit) -> None:
    """With the digests of a first pull, a second reports every SKU's stock and maps nothing again."""
    async with playing(kit) as (_, adapter):
        first = await pages_of(adapter)
        digests = {
            x.vendor_sku: d for page in first if page.digests for x, d in zip(page.listings, page.digests, strict=True)
        }
        if not digests:
            return  # digests are optional: without them every record is simply mapped on each pull

        async def known(skus: Any) -> dict[str, bytes]:
            return {sku: digests[sku] for sku in skus if sku in digests}

        adapter.known = known
        second = await pages_of(adapter)
    must(not any(x.vendor_sku in digests for x in listings_of(second)), "an unchanged record was mapped again")
    figures = {figure.vendor_sku for page in second for figure in page.unchanged}
    must(figures == set(digests), "an unchanged record did not report its stock")


@promise(Capability.PULLS_STOCK)
async def a_stock_pull_ends_and_resumes(kit: SystemKit) -> None:
    """It ends once, complete; every figure says a count or a level, one a SKU and location; resumed after any page, in
    a new object, it reports the rest."""
    async with playing(kit) as (sandbox, adapter):
        whole = await stock_pages_of(adapter)
        must([page.complete for page in whole] == [False] * (len(whole) - 1) + [True], "only the last is complete")
        wanted = figures_of(whole)
        must(len(wanted) >= 25, f"the sandbox must report at least 25 figures, not {len(wanted)}")
        must(len({(f.vendor_sku, f.location) for f in wanted}) == len(wanted), "a SKU and location came twice")
        must(all((f.on_hand is None) != (f.level is None) for f in wanted), "a figure says nothing, or both")
        for done in range(1, len(whole) + 1):
            cursor = orjson.loads(orjson.dumps(whole[done - 1].cursor))
            fresh = kit.adapter(sandbox)
            try:
                rest = await stock_pages_of(fresh, cursor)
            finally:
                await fresh.aclose()
            got = figures_of(whole[:done] + rest)
            must(len(got) == len(wanted) and rest[-1].complete, f"resumed after page {done}: {len(got)} figures")


@promise(Capability.PULLS_LISTINGS)
async def throttling_is_honoured(kit: SystemKit) -> None:
    """After 429 nothing is sent before Retry-After is over, and the pull then ends as if nothing had happened."""
    async with playing(kit, Faults(throttle=1, retry_after_s=1)) as (sandbox, adapter):
        pages = await pages_of(adapter)
        must(pages[-1].complete, "the pull did not end complete")
        refused = next((n for n, seen in enumerate(sandbox.seen) if seen.status == 429), None)
        must(refused is not None, "the sandbox did not throttle")
        assert refused is not None
        gap = sandbox.seen[refused + 1].at - sandbox.seen[refused].at
        must(gap >= 0.99, f"the next request came after {gap:.2f} s of the 1 s that the vendor asked for")


@promise(Capability.PULLS_LISTINGS)
async def a_short_outage_is_ridden_out(kit: SystemKit) -> None:
    """One 503 costs a retry, not the pull."""
    async with playing(kit, Faults(unavailable=1)) as (_, adapter):
        must((await pages_of(adapter))[-1].complete, "the pull did not end complete")


@promise(Capability.PULLS_LISTINGS)
async def a_wrong_credential_is_misconfigured(kit: SystemKit) -> None:
    """401 is Misconfigured at once: repeating it would lock the account."""
    async with playing(kit, Faults(deny=True)) as (sandbox, adapter):
        await raises(Misconfigured, pages_of(adapter))
        must(len(sandbox.seen) == 1, f"a denied request was repeated {len(sandbox.seen) - 1} times")


@promise(Capability.PULLS_LISTINGS)
async def garbage_is_broken(kit: SystemKit) -> None:
    """A web page with status 200, and an answer cut short, are Broken: never an empty or a complete pull."""
    for faults in (Faults(garbage=100), Faults(truncate=100)):
        async with playing(kit, faults) as (_, adapter):
            await raises(Broken, pages_of(adapter))


@promise(Capability.RECEIVES_PUSH)
async def only_signed_pushes_are_believed(kit: SystemKit) -> None:
    """Bad, missing and empty signatures, and changed bytes, are refused; without a secret there is no address."""
    async with playing(kit) as (sandbox, adapter):
        push = kit.pushes(sandbox)[0]
        receiver = _receiving(adapter)
        receiver.verify(push.headers, push.body)
        header = kit.signature_header()
        without = {name: value for name, value in push.headers.items() if name.lower() != header.lower()}
        signature = next(value for name, value in push.headers.items() if name.lower() == header.lower())
        for forged in ("", "AAAA", signature[::-1], signature[:-4], "\u2603", signature + "A"):
            _refused(receiver, Delivery({**without, header: forged}, push.body))
        _refused(receiver, Delivery(without, push.body))
        _refused(receiver, Delivery(push.headers, push.body + b" "))
        _refused(receiver, Delivery(push.headers, b""))
        adapter.secrets = {}
        try:
            receiver.verify(push.headers, push.body)
        except NotFound:
            return
        raise KitFailure("a connection without a push secret believed a push")


@promise(Capability.RECEIVES_PUSH)
async def a_repeated_push_has_the_same_id(kit: SystemKit) -> None:
    """The same delivery has the same id (the inbox keeps one); different deliveries differ."""
    async with playing(kit) as (sandbox, adapter):
        pushes, receiver = kit.pushes(sandbox), _receiving(adapter)
        ids = [receiver.verify(push.headers, push.body).external_id for push in pushes]
        again = [receiver.verify(push.headers, push.body).external_id for push in pushes]
        must(ids == again, "a repeated delivery got another id")
        must(len(set(ids)) == len(ids), "two deliveries share an id")


@promise(Capability.RECEIVES_PUSH)
async def pushes_out_of_order_converge(kit: SystemKit) -> None:
    """Whatever order and however often pushes arrive, the newest state wins."""
    async with playing(kit) as (sandbox, adapter):
        pushes, receiver = list(kit.pushes(sandbox)), _receiving(adapter)
        must(len(pushes) >= 3, "give at least three pushes")
        contents = [receiver.parse_push(receiver.verify(p.headers, p.body).topic, p.body) for p in pushes]
        must(all(c.stock or c.orders or c.listings for c in contents), "a push says nothing")
        wanted = _newest(contents)
        for shuffled in itertools.permutations(contents[:5]):
            rest = contents[5:]
            must(_newest([*shuffled, *rest, *shuffled]) == wanted, "the final state depends on the order of arrival")
        must(_last_wins(contents) == wanted, "the newest push does not say the final state")


@promise(Capability.POLLS_MESSAGES)
async def messages_wait_until_they_are_acknowledged(kit: SystemKit) -> None:
    """A message that was fetched and not acknowledged comes again, under the same id, to a new object; one that was
    acknowledged does not; each can be read without calling anybody."""
    async with playing(kit) as (sandbox, adapter):
        kit.put_messages(sandbox)
        first = await _batch_of(adapter)
        must(len(first) >= 1, "no message came")
        fresh = kit.adapter(sandbox)
        try:
            again = await _batch_of(fresh)
            must([m.external_id for m in again] == [m.external_id for m in first], "a message was lost or renamed")
            assert isinstance(fresh, PollsMessages)
            seen = len(sandbox.seen)
            for message in again:
                fresh.parse_message(message.topic, message.body)
            must(len(sandbox.seen) == seen, "reading a message called the vendor")
            await fresh.acknowledge([message.external_id for message in again])
            left = {m.external_id for m in await _batch_of(fresh)}
            must(not left & {m.external_id for m in again}, "an acknowledged message came again")
        finally:
            await fresh.aclose()


async def _batch_of(adapter: Adapter) -> Sequence[Message]:
    """The first batch of waiting messages; empty when none waits."""
    assert isinstance(adapter, PollsMessages)
    async with contextlib.aclosing(adapter.messages()) as batches:  # type: ignore[type-var]
        async for batch in batches:
            return batch
    return ()


@promise(Capability.PULLS_LISTINGS)
async def secrets_stay_secret(kit: SystemKit) -> None:
    """No secret shows in repr, in errors or in logs, whatever fails."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    shown: list[str] = []
    try:
        for faults in (
            Faults(),
            Faults(deny=True),
            Faults(garbage=9),
            Faults(throttle=9, retry_after_s=900),
            Faults(truncate=9),
        ):
            async with playing(kit, faults) as (sandbox, adapter):
                _, secrets = kit.connection(sandbox)
                shown += [repr(adapter), repr(adapter.__dict__), repr(adapter.call.__dict__)]
                try:
                    await pages_of(adapter)
                except HubError as error:
                    shown += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    shown.append(stream.getvalue())
    for name, value in secrets.items():
        must(len(value) >= 8, f"the secret {name} is too short to recognise")
        must(not any(value in text for text in shown), f"the secret {name} shows")


def _refused(receiver: ReceivesPush, push: Delivery) -> None:
    try:
        receiver.verify(push.headers, push.body)
    except Unauthorized:
        return
    raise KitFailure(f"a forged push was believed: {push.headers}")


def _receiving(adapter: Adapter) -> ReceivesPush:
    assert isinstance(adapter, ReceivesPush)
    return adapter


def _newest(contents: list[PushContent]) -> dict[Any, Any]:
    """The state after these pushes under the shelf's rule: a report counts only when it is newer."""
    state: dict[Any, tuple[Any, Any]] = {}
    for content in contents:
        for report in content.stock:
            key, order = ("stock", report.vendor_sku, report.location), (report.version or 0, report.reported_at)
            if key not in state or order > state[key][0]:
                state[key] = (order, (report.on_hand, report.level))
        for update in content.orders:
            key2, order2 = ("order", update.vendor_order_no or update.po_number), (0, update.at)
            if key2 not in state or order2 > state[key2][0]:
                state[key2] = (order2, update.status)
    return {key: value for key, (_, value) in state.items()}


def _last_wins(contents: list[PushContent]) -> dict[Any, Any]:
    """The state if the last to be sent is the truth."""
    state: dict[Any, Any] = {}
    for content in contents:
        for report in content.stock:
            state["stock", report.vendor_sku, report.location] = (report.on_hand, report.level)
        for update in content.orders:
            state["order", update.vendor_order_no or update.po_number] = update.status
    return state
