"""How a WooCommerce shop is told who calls. Over https it takes Basic; over plain http it takes only OAuth 1.0a:
one-legged (a consumer key and secret, no token), signed with HMAC-SHA256 as RFC 5849 says. The shop rebuilds the signed
URL from its own address, so a shop that is reached under another name or port needs `home_url`."""

from __future__ import annotations

import base64
import hmac
import uuid
from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import quote

import httpx

from connectors.credentials import Credentials, Draft, Post
from connectors.tokens import Purse
from hub.kernel import clock

Digest = Literal["sha1", "sha256"]
_PORTS = {"http": 80, "https": 443}


def base_string(method: str, url: str, params: Iterable[tuple[str, str]]) -> str:
    """What is signed (RFC 5849, section 3.4.1). `params` are decoded and hold the OAuth ones; the query of `url` does
    not count."""
    parts = httpx.URL(url)
    port = f":{parts.port}" if parts.port not in (None, _PORTS.get(parts.scheme)) else ""
    path = parts.raw_path.partition(b"?")[0].decode("ascii") or "/"
    uri = f"{parts.scheme}://{parts.host}{port}{path}"
    pairs = sorted((_escaped(name), _escaped(value)) for name, value in params)
    return "&".join((method.upper(), _escaped(uri), _escaped("&".join(f"{name}={value}" for name, value in pairs))))


def signature(text: str, secret: str, token_secret: str = "", digest: Digest = "sha256") -> str:
    """The signature of a base string (section 3.4.2), in base64."""
    key = f"{_escaped(secret)}&{_escaped(token_secret)}".encode()
    return base64.b64encode(hmac.digest(key, text.encode(), digest)).decode()


class ShopCredentials(Credentials):
    """Basic over https, a signature over plain http; the connection may say otherwise (`auth`)."""

    async def put_on(self, draft: Draft, purse: Purse, post: Post, token_url: Callable[[str], str]) -> None:
        """Complete `draft`."""
        wanted = self._config["auth"]
        if wanted == "basic" or (wanted == "auto" and draft.url.startswith("https:")):
            await super().put_on(draft, purse, post, token_url)
            return
        said = {
            "oauth_consumer_key": self.secret("consumer_key"),
            "oauth_nonce": uuid.uuid4().hex,
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(clock.now().timestamp())),
        }
        asked = httpx.URL(draft.url).copy_merge_params(draft.query).params.multi_items()
        text = base_string(draft.method, self._signed_url(draft.url), [*asked, *said.items()])
        said["oauth_signature"] = signature(text, self.secret("consumer_secret"))
        if self._config["oauth_in"] == "query":
            draft.query.update(said)
        else:  # out of the URL, which proxies log
            draft.headers["Authorization"] = "OAuth " + ", ".join(f'{n}="{_escaped(v)}"' for n, v in said.items())

    def _signed_url(self, url: str) -> str:
        """The URL as the shop itself will write it."""
        home, base = self._config.get("home_url"), str(self._config["base_url"]).rstrip("/")
        return f"{str(home).rstrip('/')}{url.removeprefix(base)}" if home else url


def _escaped(text: str) -> str:
    return quote(text, safe="")
