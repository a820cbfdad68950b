"""Signed pushes of a WooCommerce shop: whatever is altered in body or signature, the push is refused and leaves nothing
behind; every push that the shop really signed is taken, under either secret during a rotation, and kept once.

What counts as forged is decided by a second implementation of HMAC (RFC 2104 over hashlib) from the secrets alone.
Every mutation goes through the connector's own check, and every fiftieth through the inbox with its database. The
control takes the check away."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace

from connectors import api as connectors
from connectors import push as pushes
from connectors.protocol import ReceivesPush
from connectors.sandbox_kit import Delivery
from connectors.woocommerce.sandbox import WooSandbox
from hub.kernel import db
from hub.kernel.errors import Unauthorized
from tests.chaos import ground, progress

FULL, SMALL = 200_000, 6_000
SIGNATURE = "X-WC-Webhook-Signature"
SECRETS = ("whsec_old_4455667788", "whsec_new_8877665544")
LANDED_EVERY = 50
CONTROL = 200


async def run(n: int) -> dict[str, int]:
    """`n` mutations, valid pushes among them, and in the end every valid push twice."""
    rng = random.Random(n)
    originals = [push for secret in SECRETS for push in _signed_by(secret)]
    accepted = refused = valid = 0
    async with ground.empty_database():
        connection_id = await _connection()
        async with connectors.open_connector(connection_id) as adapter:
            for number in range(n):
                original = rng.choice(originals)
                forged = rng.choice(MUTATIONS)(rng, original, rng.choice(originals))
                if _genuine(forged):  # the mutation altered nothing that is signed
                    forged = replace(forged, body=forged.body + b" ")
                accepted += _taken(adapter, forged)
                if number % LANDED_EVERY == 0:
                    accepted += await _landed(connection_id, forged)
                    valid += 1
                    refused += not _taken(adapter, original)
                if number % 1000 == 0:
                    progress.report("mutations", number, n)
            control = _unchecked(adapter, rng, originals)
        left_behind = await ground.count("SELECT count(*) FROM inbox")
        for original in originals * 2:  # a shop may send a delivery again
            valid += 1
            refused += not await _landed(connection_id, original)
        kept = await ground.count("SELECT count(*) FROM inbox")
    lost_or_doubled = abs(kept - left_behind - len(originals))
    return {
        "n": n,
        "violations": accepted + refused + left_behind + lost_or_doubled,
        "control_violations": control,
        "forged_accepted": accepted,
        "valid": valid,
        "valid_refused": refused,
    }


def _signed_by(secret: str) -> list[Delivery]:
    skus = [f"{secret[6:9]}-{k}" for k in range(8)]
    shop = WooSandbox(
        [{"sku": sku, "name": "口罩", "price": "9.90", "stock": 5} for sku in skus], webhook_secret=secret
    )
    return [shop.product_delivery(sku) for sku in skus]


async def _connection() -> int:
    async with db.uow() as tx:
        return await connectors.add_connection(
            tx,
            vendor_id=await connectors.add_vendor(tx, "张三药房"),
            connector="woocommerce",
            name="main",
            config={"base_url": "https://shop.example"},
            secrets={
                "consumer_key": "ck_0123456789",
                "consumer_secret": "cs_9876543210",
                "webhook_secret": ",".join(SECRETS),  # both are valid while the shop changes over
            },
        )


def _unchecked(adapter: ReceivesPush, rng: random.Random, originals: list[Delivery]) -> int:
    """How many mutations get through when nobody looks at the signature."""
    check = pushes.check_signature
    pushes.check_signature = lambda *_: None
    try:
        return sum(
            _taken(adapter, rng.choice(MUTATIONS)(rng, rng.choice(originals), rng.choice(originals)))
            for _ in range(CONTROL)
        )
    finally:
        pushes.check_signature = check


def _taken(adapter: ReceivesPush, push: Delivery) -> bool:
    try:
        adapter.verify(push.headers, push.body)
    except Unauthorized:
        return False
    return True


async def _landed(connection_id: int, push: Delivery) -> bool:
    try:
        return (await connectors.land_push(connection_id, push.headers, push.body)).result != "ping"
    except Unauthorized:
        return False


# A second implementation ------------------------------------------------------------------------------------------


def _hmac(key: bytes, message: bytes, digest: str = "sha256") -> bytes:
    """RFC 2104; keys here are shorter than a block."""
    block = hashlib.new(digest).block_size
    inner, outer = (bytes(b ^ pad for b in key.ljust(block, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.new(digest, outer + hashlib.new(digest, inner + message).digest()).digest()


def _genuine(push: Delivery) -> bool:
    """Whether one of the secrets signed exactly this body, however sloppily the signature is written down."""
    try:
        given = base64.b64decode(push.headers.get(SIGNATURE, "").strip())
    except (ValueError, binascii.Error):
        return False
    return any(_hmac(secret.encode(), push.body) == given for secret in SECRETS)


# Mutations: (dice, the push, another valid push) -> a forged push --------------------------------------------------

Mutation = Callable[[random.Random, Delivery, Delivery], Delivery]


def _signed(push: Delivery, signature: str | bytes | None) -> Delivery:
    """The push with this signature; bytes are written in base64, None takes the header away."""
    headers = {name: value for name, value in push.headers.items() if name != SIGNATURE}
    if signature is not None:
        headers[SIGNATURE] = base64.b64encode(signature).decode() if isinstance(signature, bytes) else signature
    return replace(push, headers=headers)


def _mac(push: Delivery) -> bytes:
    return base64.b64decode(push.headers[SIGNATURE])


def _flip(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _spliced(rng: random.Random, data: bytes, new: bytes, gone: int) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + new + data[at + gone :]


def _other_key(rng: random.Random, push: Delivery, _: Delivery) -> Delivery:
    """Signed with what a secret is easily confused with."""
    secret = rng.choice(SECRETS)
    keys = (
        "", secret[:-1], secret + " ", secret.upper(), secret[::-1], ",".join(SECRETS), secret + ",", "ck_0123456789",
        "cs_9876543210", secret.encode().hex(), "None", f"{rng.random()}",
    )  # fmt: skip
    return _signed(push, _hmac(rng.choice(keys).encode(), push.body))


def _other_hash(rng: random.Random, push: Delivery, _: Delivery) -> Delivery:
    """The right secret in the wrong construction."""
    key = rng.choice(SECRETS).encode()
    macs = (
        _hmac(key, push.body, "sha1"), _hmac(key, push.body, "sha512"), _hmac(key, push.body, "md5"),
        hashlib.sha256(push.body).digest(), hashlib.sha256(key + push.body).digest(),
        hashlib.sha256(push.body + key).digest(), _hmac(push.body[:64], key), _hmac(key, b""),
        _hmac(key, push.body.strip(b"{}")), _hmac(key, hashlib.sha256(push.body).digest()),
    )  # fmt: skip
    return _signed(push, rng.choice(macs))


def _other_writing(rng: random.Random, push: Delivery, _: Delivery) -> Delivery:
    """A signature that is not one in base64."""
    text, mac = push.headers[SIGNATURE], _mac(push)
    texts = (
        None, "", " ", "=", mac.hex(), f"sha256={mac.hex()}", f"sha256={text}", f"v1,{text}", f"{text},{text}",
        text[:-2], text.swapcase(), text[::-1], "签名", "null", "*", text.replace("=", "") + "!", mac.hex().upper(),
        text + text,
    )  # fmt: skip
    return _signed(push, rng.choice(texts))


MUTATIONS: tuple[Mutation, ...] = (
    lambda rng, push, _: replace(push, body=_flip(rng, push.body)),
    lambda rng, push, _: replace(push, body=_spliced(rng, push.body, rng.randbytes(rng.randint(1, 4)), 0)),
    lambda rng, push, _: replace(push, body=_spliced(rng, push.body, b"", rng.randint(1, 40))),
    lambda rng, push, _: replace(push, body=_spliced(rng, push.body, b"9", 1)),
    lambda rng, push, _: replace(push, body=push.body[: rng.randrange(len(push.body))]),
    lambda rng, push, _: replace(push, body=push.body + rng.choice((b"\n", b" ", b"\0", b"{}", push.body))),
    lambda rng, push, _: replace(push, body=rng.choice((b"\xef\xbb\xbf", b" ")) + push.body),
    lambda rng, push, _: replace(push, body=json.dumps(json.loads(push.body)).encode()),  # the same, written otherwise
    lambda rng, push, other: replace(push, body=other.body + b" " * (other.body == push.body)),
    lambda rng, push, other: _signed(push, _mac(other) if other.body != push.body else b""),
    lambda rng, push, _: _signed(push, _flip(rng, _mac(push))),
    lambda rng, push, _: _signed(push, _mac(push)[: rng.randrange(32)]),
    lambda rng, push, _: _signed(push, _mac(push) + rng.randbytes(rng.randint(1, 32))),
    lambda rng, push, _: _signed(push, rng.randbytes(32)),
    lambda rng, push, _: _signed(push, bytes(32)),
    _other_key,
    _other_hash,
    _other_writing,
)
