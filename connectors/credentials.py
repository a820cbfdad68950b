"""Puts a connection's credential on a request: a fixed one, a token that is fetched first, or a signature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
from pydantic import SecretStr

from connectors.answers import Answer
from connectors.auths import BasicAuth, Placed, Sent, Signing, Token
from connectors.manifest import Manifest, SecretRef
from connectors.paths import compile_path
from connectors.signing import Unsigned, as_text, sent_value, signature
from connectors.tokens import Fetched, Purse
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured

_LONGEST_LIFE_S = 366 * 86_400.0


@dataclass(slots=True)
class Draft:
    """A request that is still being put together. `form` and `body` exclude each other."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] | None = None
    body: bytes = b""
    auth: httpx.Auth | None = None
    token: str | None = field(default=None, repr=False)  # the fetched token that it carries

    def content(self) -> bytes:
        """The bytes of the body; a form is written here."""
        if self.form is None:
            return self.body
        self.headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return urlencode({name: as_text(value) for name, value in self.form.items() if value is not None}).encode()


Post = Callable[[Draft], Awaitable[Answer]]


class Credentials:
    """The credential of one connection."""

    def __init__(self, manifest: Manifest, config: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> None:
        self._manifest = manifest
        self._config = config
        self._secrets = secrets

    async def put_on(self, draft: Draft, purse: Purse, post: Post, token_url: Callable[[str], str]) -> None:
        """Complete `draft`; `post` sends the request for a token. Raises Misconfigured when the connection has no
        credential, and whatever a vendor that denies a token means."""
        auth = self._manifest.auth
        if auth is None:
            return
        if auth.basic is not None:
            draft.auth = self._basic(auth.basic)
        elif auth.bearer is not None:
            draft.headers["Authorization"] = "Bearer " + self.secret(auth.bearer.secret)
        elif auth.header is not None:
            draft.headers[auth.header.name] = auth.header.prefix + self.secret(auth.header.secret)
        elif auth.query is not None:
            draft.query[auth.query.name] = auth.query.prefix + self.secret(auth.query.secret)
        elif auth.token is not None:
            spec = auth.token
            draft.token = await purse.take(lambda: self._fetch(spec, post, token_url))
            _place(draft, spec.to, draft.token)
        elif auth.signed is not None:
            self.sign(draft, auth.signed)

    def secret(self, name: str) -> str:
        """The plain secret `name`; raises Misconfigured when the connection has none."""
        value = self._secrets.get(name)
        if value is None or not value.get_secret_value():
            raise Misconfigured(f"the connection has no secret {name!r}", code="no_secret")
        return value.get_secret_value()

    def values(self, given: Mapping[str, Sent]) -> dict[str, str]:
        """Values that go out with a call; settings that are not set are left out."""
        now = clock.now()
        made = {name: sent_value(value, self._config, self.secret, now) for name, value in given.items()}
        return {name: value for name, value in made.items() if value is not None}

    def sign(self, draft: Draft, spec: Signing) -> None:
        """Add the signature and the parameters that go with it."""
        added = self.values(spec.params)
        if spec.send == "header":
            draft.headers.update(added)
        elif spec.send == "form":
            draft.form = {**(draft.form or {}), **added}
        else:
            draft.query.update(added)
        params = {**draft.query, **(draft.form or {}), **(added if spec.send == "header" else {})}
        said = {name: text for name, value in params.items() if (text := as_text(value)) is not None}
        url = httpx.URL(draft.url)
        unsigned = Unsigned(
            draft.method, str(url.copy_with(query=None, fragment=None)), url.path, said, draft.content()
        )
        _place(draft, spec.to, signature(spec, unsigned, self._config, self.secret))

    def _basic(self, spec: BasicAuth) -> httpx.BasicAuth:
        user = spec.user
        name = self.secret(user.secret) if isinstance(user, SecretRef) else str(self._config.get(user.config, ""))
        return httpx.BasicAuth(name, self.secret(spec.password.secret) if spec.password is not None else "")

    async def _fetch(self, spec: Token, post: Post, token_url: Callable[[str], str]) -> Fetched:
        draft = Draft("POST", token_url(spec.post), {"Accept": "application/json", **spec.headers})
        if spec.form:
            draft.form = dict(self.values(spec.form))
        elif spec.json_:
            draft.body = orjson.dumps(self.values(spec.json_))
            draft.headers["Content-Type"] = "application/json"
        if spec.basic is not None:
            draft.auth = self._basic(spec.basic)
        answer = await post(draft)
        lives: Any = None
        if spec.read_header is not None:
            token: Any = answer.headers.get(spec.read_header.lower())
        else:
            body = answer.json(self._manifest)
            token = compile_path(spec.read or "")(body)
            lives = compile_path(spec.expires)(body) if spec.expires else None
        if not isinstance(token, str) or not token:
            raise Broken(f"{self._manifest.id} gave no token where one was due", code="no_token")
        known = isinstance(lives, int | float | str) and str(lives).replace(".", "", 1).isdigit()
        return Fetched(token, min(float(lives), _LONGEST_LIFE_S) if known else float(spec.ttl_s))


def _place(draft: Draft, where: Placed, value: str) -> None:
    text = where.prefix + value
    if where.header is not None:
        draft.headers[where.header] = text
    elif where.query is not None:
        draft.query[where.query] = text
    else:
        draft.form = {**(draft.form or {}), (where.form or ""): text}
