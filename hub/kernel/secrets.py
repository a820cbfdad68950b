"""Encryption of secrets and personal data at rest: AES-256-GCM with a key id in front, so that keys can be
rotated while old rows stay readable. Layout: one byte length of the key id, the id, 12 bytes nonce, ciphertext."""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets as random
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.kernel.errors import Misconfigured
from hub.kernel.settings import settings

_rings: dict[str, dict[str, AESGCM]] = {}
_markers: dict[str, list[bytes]] = {}  # by the same text: what marks are keyed with


def _spec() -> str:
    configured = settings().secret_keys
    return configured.get_secret_value() if configured is not None else _generated()


def _ring() -> dict[str, AESGCM]:
    """Keys by id; the first one encrypts."""
    spec = _spec()
    ring = _rings.get(spec)
    if ring is None:
        ring, markers = {}, []
        for part in spec.split(","):
            key_id, _, key = part.strip().partition(":")
            try:
                raw = base64.b64decode(key, validate=True)
                ring[key_id] = AESGCM(raw)
            except ValueError as error:
                raise Misconfigured("SUPPLYHUB_SECRET_KEYS must be id:base64 of 32 bytes, comma-separated") from error
            markers.append(hmac.digest(raw, b"supplyhub.marks", "sha256"))
        _rings[spec], _markers[spec] = ring, markers
    return ring


def _generated() -> str:
    path = settings().secrets_file
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("k1:" + base64.b64encode(random.token_bytes(32)).decode())
        try:
            os.link(draft, path)  # the first of several starting processes wins
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)  # noqa: PTH108 - paired with os.link
        return path.read_text().strip()


def encrypt(plain: bytes, context: str) -> bytes:
    """Ciphertext of `plain`, bound to `context` (what it is for): it decrypts under no other context."""
    key_id, key = next(iter(_ring().items()))
    nonce = os.urandom(12)
    return bytes([len(key_id)]) + key_id.encode() + nonce + key.encrypt(nonce, plain, context.encode())


def decrypt(sealed: bytes, context: str) -> bytes:
    """The plain bytes; raises Misconfigured when the key is missing or the bytes were altered."""
    size = sealed[0]
    key = _ring().get(sealed[1 : 1 + size].decode(errors="replace"))
    if key is None:
        raise Misconfigured("a stored secret needs a key that SUPPLYHUB_SECRET_KEYS does not hold")
    try:
        return key.decrypt(sealed[1 + size : 13 + size], sealed[13 + size :], context.encode())
    except InvalidTag as error:
        raise Misconfigured("a stored secret does not decrypt; it was altered or belongs elsewhere") from error


def encrypt_json(value: Any, context: str) -> bytes:
    return encrypt(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), context)


def decrypt_json(sealed: bytes, context: str) -> Any:
    return json.loads(decrypt(sealed, context))


def marks(value: str, context: str) -> list[bytes]:
    """Keyed hashes (HMAC-SHA256, 16 bytes) by which equal values are recognised and nothing is read back: one a
    key, the newest first. Keep the first and look for all of them, so that a rotation of keys forgets nobody.
    Equal values under another `context` look different."""
    spec = _spec()
    if spec not in _markers:
        _ring()
    text = f"{context}\x00{value}".encode("utf-8", "surrogatepass")
    return [hmac.digest(key, text, "sha256")[:16] for key in _markers[spec]]


def mask_phone(phone: str) -> str:
    """`13812341234` shown as `138****1234`."""
    return phone[:3] + "****" + phone[-4:] if len(phone) >= 8 else "****"


def mask_name(name: str) -> str:
    """Only the first character of a person's name."""
    return name[:1] + "*" * max(1, min(len(name) - 1, 3)) if name else ""
