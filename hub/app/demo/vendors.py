"""The sandbox vendors of the demo, in one process of their own, and a small control server that makes them do what
vendors do without telling us. Prints one line of JSON when all of them listen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.sandbox_kit import Faults, Sandbox
from connectors.table_feed.sandbox import FeedSandbox
from connectors.woocommerce.sandbox import WooSandbox
from hub.app import assortment
from hub.app.assortment import CLINIC, EXPERIENCES, GROCERY, PHARMACY, REFERENCE, SHOP, VENDORS, SampleItem
from hub.app.demo.scene import SandboxVendor
from hub.kernel import clock

SMALL = 40  # products a vendor when the stage is small


@dataclass
class Stand:
    """One vendor's server and how a connection to it is set up."""

    box: Sandbox
    config: dict[str, Any]
    secrets: dict[str, str]


def _few(items: tuple[SampleItem, ...], small: bool) -> tuple[SampleItem, ...]:
    """All items, or in a small scene those that the story needs and the first few."""
    if not small:
        return items
    tale = assortment.story
    told = {tale.FAILOVER, tale.SOLE_SOURCE, tale.LATE, tale.SCARCE, tale.CONTENDED}
    return tuple(item for n, item in enumerate(items) if n < SMALL or item.gtin in told)


class Street:
    """All sandbox vendors and the control server."""

    def __init__(self, small: bool) -> None:
        self.small = small
        self.stands: dict[str, Stand] = {}
        self._refreshers: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Start every vendor."""
        self._shop(SHOP, Faults())
        self._shop(GROCERY, Faults(every=23, throttle=2, retry_after_s=1))  # answers 429 and 503 now and then
        self._shop(EXPERIENCES, Faults())
        today = clock.now().astimezone(ZoneInfo("Asia/Shanghai")).date()
        chosen = {item.sku for item in _few(assortment.items(CLINIC), self.small)}
        clinic = FhirSandbox(())
        clinic.keep(*assortment.clinic_locations())
        clinic.keep(*(each for each in assortment.clinic_services() if each["id"] in chosen))
        clinic.keep(*assortment.clinic_dirty_services())
        schedules = [f"sch-{sku}" for sku in chosen]
        clinic.keep(*(each for each in assortment.clinic_schedules(today) if each["id"] in schedules))
        references = {f"Schedule/{each}" for each in schedules}
        clinic.keep(*(e for e in assortment.clinic_slots(today) if e["schedule"]["reference"] in references))
        feeds = FeedSandbox(
            (),
            files={"pharmacy.csv": assortment.pharmacy_csv(), "reference.xml": assortment.reference_feed(clock.now())},
        )
        self.stands |= {
            CLINIC: Stand(clinic, {}, clinic.connection()[1]),
            PHARMACY: Stand(feeds, {}, {}),
            REFERENCE: Stand(feeds, {}, {}),
        }
        for box in {id(stand.box): stand.box for stand in self.stands.values()}.values():
            await box.start()
        self.stands[CLINIC].config = assortment.clinic_settings(clinic.connection()[0]["base_url"])
        self.stands[PHARMACY].config = assortment.pharmacy_settings(f"{feeds.base_url}/files/pharmacy.csv")
        self.stands[REFERENCE].config = assortment.reference_settings(f"{feeds.base_url}/files/reference.xml")

    def _shop(self, key: str, faults: Faults) -> None:
        box = WooSandbox(
            assortment.woocommerce_products(key, _few(assortment.items(key), self.small)),
            faults,
            consumer_key=f"ck_{key}_0123456789",
            consumer_secret=f"cs_{key}_9876543210",
            webhook_secret=f"whsec_{key}_5566778899",
        )
        self.stands[key] = Stand(box, {}, box.credentials())

    async def close(self) -> None:
        for box in {id(stand.box): stand.box for stand in self.stands.values()}.values():
            await box.stop()

    def introductions(self) -> list[dict[str, Any]]:
        """What a hub must know to connect to each vendor."""
        for stand in self.stands.values():
            if isinstance(stand.box, WooSandbox):
                stand.config = {"base_url": stand.box.base_url}
        return [
            asdict(
                SandboxVendor(
                    key=key,
                    name=VENDORS[key].name,
                    name_en=VENDORS[key].name_en,
                    connector=VENDORS[key].connector,
                    role=VENDORS[key].role,
                    config=stand.config,
                    secrets=stand.secrets,
                )
            )
            for key, stand in self.stands.items()
        ]

    def shop(self, key: str) -> WooSandbox:
        box = self.stands[key].box
        assert isinstance(box, WooSandbox)
        return box

    # What the control server can ask for ----------------------------------------------------------------------

    async def webhooks(self, vendor: str, url: str) -> dict[str, Any]:
        """From now on this shop pushes to `url`."""
        self.shop(vendor).webhooks_to = url
        return {}

    async def stock(self, vendor: str, gtin: str, on_hand: int, announce: bool) -> dict[str, Any]:
        """The shelf at the vendor changes; with `announce` a webhook goes out."""
        sku = next(item.sku for item in assortment.items(vendor) if item.gtin == gtin)
        self._set(vendor, sku, on_hand, announce)
        return {"sku": sku}

    def _set(self, vendor: str, sku: str, on_hand: int, announce: bool) -> None:
        shop = self.shop(vendor)
        target, shop.webhooks_to = shop.webhooks_to, shop.webhooks_to if announce else None
        shop.set_stock(sku, on_hand)
        shop.webhooks_to = target

    async def shuffle_stock(self, vendor: str, seed: int, count: int) -> dict[str, Any]:
        """Restock a few well-stocked SKUs that the story does not turn on."""
        told = {gtin for (key, gtin) in assortment.story.FORCED_STOCK if key == vendor}
        calm = [item.sku for item in _few(assortment.items(vendor), self.small) if item.gtin not in told]
        for sku in random.Random(seed).sample(calm, count):  # noqa: S311 - a story, not a secret
            self._set(vendor, sku, (self.shop(vendor).stock_of(sku) or 0) + 5, announce=True)
        return {}

    async def fill(self, vendor: str, on_hand: int) -> dict[str, Any]:
        """Restock everything that the shop counts, without a word to us."""
        for item in _few(assortment.items(vendor), self.small):
            if self.shop(vendor).stock_of(item.sku) is not None:
                self._set(vendor, item.sku, on_hand, announce=False)
        return {}

    async def orders(self) -> dict[str, Any]:
        """What the vendors themselves hold: living orders by our number, doubles among them, and shelves below
        nothing (an oversell that a shop accepted and nobody took back)."""
        by_number: Counter[str] = Counter()
        oversold = 0
        faults = {}
        for key in (SHOP, GROCERY, EXPERIENCES):
            shop = self.shop(key)
            for number in {shop.number_of(order) for order in shop.orders.values()} - {None}:
                by_number[str(number)] += shop.living(str(number))
            clean = [item.sku for item in _few(assortment.items(key), self.small)]
            oversold += sum(max(0, -(shop.stock_of(sku) or 0)) for sku in clean)
            faults[key] = sum(1 for seen in shop.seen if seen.status in (429, 503))
        clinic = self.stands[CLINIC].box
        assert isinstance(clinic, FhirSandbox)
        for number in clinic.order_numbers():
            by_number[number] += clinic.living(number)
        return {
            "living": {number: count for number, count in by_number.items() if count},
            "duplicates": sum(count - 1 for count in by_number.values() if count > 1),
            "oversold": oversold,
            "faults": faults,
        }

    async def faults(self, vendor: str, **changes: Any) -> dict[str, Any]:
        """Change the faults that a vendor plays."""
        for name, value in changes.items():
            if not hasattr(self.stands[vendor].box.faults, name):
                raise web.HTTPBadRequest(text=f"no fault {name}")
            setattr(self.stands[vendor].box.faults, name, value)
        return {}


async def _control(street: Street) -> tuple[web.AppRunner, str]:
    deeds: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "webhooks": street.webhooks,
        "stock": street.stock,
        "shuffle_stock": street.shuffle_stock,
        "fill": street.fill,
        "orders": street.orders,
        "faults": street.faults,
    }

    async def act(request: web.Request) -> web.Response:
        name = request.match_info["what"]
        if name not in deeds:
            raise web.HTTPNotFound
        details = await request.json() if request.can_read_body else {}
        return web.json_response(await deeds[name](**details))

    app = web.Application()
    app.router.add_post("/{what}", act)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main(small: bool) -> None:
    """Open the street, say so on standard output, and stay until SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    street = Street(small)
    await street.open()
    runner, control = await _control(street)
    allow = sorted({stand.box.host_port for stand in street.stands.values()})
    line = json.dumps({"control": control, "allow": allow, "vendors": street.introductions()})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    with contextlib.suppress(asyncio.CancelledError):
        await stopped.wait()
    await runner.cleanup()
    await street.close()


if __name__ == "__main__":
    asyncio.run(main("--small" in sys.argv), debug=False)
