"""Signatures over requests, as the manifest describes them. Pure: the time and fresh identifiers are arguments."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from connectors.auths import Fresh, Now, Params, Sent, Signed, Signing
from connectors.pieces import FromConfig, SecretRef

CHINA = timezone(timedelta(hours=8))
Secret = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request as far as its signature covers it. `params` are those of query and form together, as text."""

    method: str
    url: str  # without query
    path: str
    params: Mapping[str, str]
    body: bytes


def sent_value(value: Sent, config: Mapping[str, Any], secret: Secret, now: datetime) -> str | None:
    """The text of one value that goes out with a call; None when the setting is not set."""
    if isinstance(value, FromConfig):
        return as_text(config.get(value.config))
    if isinstance(value, SecretRef):
        return secret(value.secret)
    if isinstance(value, Now):
        if value.now == "epoch":
            return str(int(now.timestamp()))
        if value.now == "epoch_ms":
            return str(int(now.timestamp() * 1000))
        return now.isoformat() if value.now == "iso" else now.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Fresh):
        made = uuid.uuid4()
        return made.hex if value.fresh == "hex" else str(made).upper() if value.fresh == "UUID" else str(made)
    return as_text(value)


def as_text(value: Any) -> str | None:
    """A parameter as it is written: true and false in lower case; None stays None."""
    if value is None:
        return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def signature(spec: Signing, request: Unsigned, config: Mapping[str, Any], secret: Secret) -> str:
    """The signature of `request`."""
    data = b"".join(_piece(piece, request, config, secret) for piece in spec.over)
    if spec.key is not None:
        digest = hmac.digest(secret(spec.key).encode(), data, spec.algorithm.removeprefix("hmac_"))
    else:
        digest = hashlib.new(spec.algorithm, data, usedforsecurity=False).digest()
    if spec.digest == "base64":
        return base64.b64encode(digest).decode()
    return digest.hex().upper() if spec.digest == "HEX" else digest.hex()


def _piece(piece: Signed, request: Unsigned, config: Mapping[str, Any], secret: Secret) -> bytes:
    if piece.request == "body":
        return request.body
    if piece.text is not None:
        text: str | None = piece.text
    elif piece.config is not None:
        text = as_text(config.get(piece.config))
    elif piece.secret is not None:
        text = secret(piece.secret)
    elif piece.secret_md5 is not None:
        text = hashlib.md5(secret(piece.secret_md5).encode(), usedforsecurity=False).hexdigest()
    elif piece.param is not None:
        text = request.params.get(piece.param)
    elif piece.params is not None:
        text = _params(piece.params, request.params, secret)
    else:
        text = {
            "method": request.method,
            "url": request.url,
            "path": request.path,
            "body_md5": hashlib.md5(request.body, usedforsecurity=False).hexdigest(),
        }[piece.request or ""]
    return (text or "").encode()


def _params(spec: Params, params: Mapping[str, str], secret: Secret) -> str:
    chosen = {name: value for name, value in params.items() if name not in spec.skip}
    chosen |= {name: secret(held) for name, held in spec.secret_as.items()}
    if spec.skip_empty:
        chosen = {name: value for name, value in chosen.items() if value != ""}
    named = sorted(chosen.items()) if spec.sort else chosen.items()
    return spec.join.join(f"{name}{spec.between}{value}" for name, value in named)
