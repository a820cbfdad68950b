"""Who may call the sandbox shop: Basic, or OAuth 1.0a checked as WooCommerce checks it (signature over the shop's own
address, a timestamp within a quarter of an hour, no nonce twice), in the Authorization header or in the query. The
steps are WooCommerce's own, so that a mistake of the connector's cannot hide in both."""

from __future__ import annotations

import base64
import hmac
import re
from collections import OrderedDict
from urllib.parse import quote, unquote

from aiohttp import web

from hub.kernel import clock

_HEADER = re.compile(r'(oauth_[a-z_]+)="([^"]*)"')
_NAMES = ("oauth_consumer_key", "oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method")
_WINDOW_S = 15 * 60


class Gate:
    """The keys of one shop. `basic` off: what WooCommerce does over plain http."""

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self.secret = secret
        self.basic = True
        self._authorization = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def lets_in(self, request: web.Request, home: str) -> bool:
        """Whether this request is signed on; `home` is the shop's address as it knows it."""
        given = request.headers.get("Authorization", "")
        if given == self._authorization:
            return self.basic
        params = dict(request.query)
        if given.startswith("OAuth "):
            params |= {name: unquote(value) for name, value in _HEADER.findall(given)}
        if not all(params.get(name) for name in _NAMES) or params["oauth_consumer_key"] != self.key:
            return False
        sent = params.pop("oauth_signature")
        if params["oauth_signature_method"] != "HMAC-SHA256" or not self._fresh(params):
            return False
        pairs = (_encoded(f"{_encoded(name)}={_encoded(value)}") for name, value in sorted(params.items()))
        text = f"{request.method}&{_encoded(home + request.rel_url.raw_path)}&{'%26'.join(pairs)}"
        mac = hmac.digest(f"{self.secret}&".encode(), text.encode(), "sha256")
        return hmac.compare_digest(base64.b64encode(mac).decode(), sent)

    def _fresh(self, params: dict[str, str]) -> bool:
        stamp, nonce = params["oauth_timestamp"], params["oauth_nonce"]
        timely = stamp.isdigit() and abs(int(stamp) - clock.now().timestamp()) <= _WINDOW_S
        if not timely or nonce in self._nonces:
            return False
        self._nonces[nonce] = None
        if len(self._nonces) > 10_000:
            self._nonces.popitem(last=False)
        return True


def _encoded(text: str) -> str:
    return quote(text, safe="")
