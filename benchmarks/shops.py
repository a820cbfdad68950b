"""A process that plays one WooCommerce shop with N products for the ingest and order benchmarks, so that the shop's own
work is not counted as the hub's. Prints its address, then serves until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectors.woocommerce.sandbox import WooSandbox
from hub.kernel.embedded import die_with_parent

SECRETS = {
    "consumer_key": "ck_bench_0123456789",
    "consumer_secret": "cs_bench_9876543210",
    "webhook_secret": "whsec_bench_55667788",
}
_NOUNS = ("口罩", "布洛芬缓释胶囊", "纯牛奶", "洗衣液", "电热水壶", "抽纸", "儿童牙膏", "大米", "维生素C片", "运动水杯")
_NOUNS_EN = (
    "face masks", "ibuprofen capsules", "pure milk", "laundry detergent", "electric kettle", "facial tissues",
    "children's toothpaste", "rice", "vitamin C tablets", "sports bottle",
)  # fmt: skip
_BRANDS = ("禾惠", "鲜里", "松鹤", "慢野", "青岚", "白桦", "云栖", "海棠")


def product(n: int, stock: int = 100) -> dict[str, Any]:
    """The n-th product: bilingual title, own GTIN, brand and model, as a real shop's row would carry."""
    noun, brand = n % len(_NOUNS), _BRANDS[n % 8]
    body = f"952{n:09d}"
    check = (10 - sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(body)) % 10) % 10
    return {
        "sku": f"SKU-{n:07d}",
        "name": f"{brand} {_NOUNS[noun]} {n % 97 + 1}型 {n % 12 + 1}件装",
        "title_en": f"{brand} {_NOUNS_EN[noun]}, type {n % 97 + 1}, pack of {n % 12 + 1}",
        "price": f"{n % 400 + 5}.90",
        "stock": stock,
        "gtin": f"{body}{check}",
        "brand": brand,
        "model": f"M{n}",
        "category": _NOUNS[noun],
        "pack": f"{n % 12 + 1}件/盒",
    }


async def _serve(count: int, per_page: int, stock: int) -> None:
    box = WooSandbox(
        (product(n, stock) for n in range(count)),
        consumer_key=SECRETS["consumer_key"],
        consumer_secret=SECRETS["consumer_secret"],
        webhook_secret=SECRETS["webhook_secret"],
        max_per_page=per_page,
    )
    box.prime(per_page)
    await box.start()
    sys.stdout.write(box.base_url + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await box.stop()


@contextmanager
def shop(count: int, *, per_page: int = 100, stock: int = 100) -> Iterator[str]:
    """The address of a running shop."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.shops", str(count), str(per_page), str(stock)],
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().decode().strip()
    finally:
        child.terminate()
        child.wait(20)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(*map(int, sys.argv[1:4])))
