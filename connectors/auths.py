"""How a manifest says who calls: a fixed credential, a token fetched with credentials, or a signature over the request.
Each is data; what is done with it is in connectors.signing and connectors.tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from connectors.pieces import Constant, FromConfig, Name, Part, PathExpr, SecretRef


class BasicAuth(Part):
    user: SecretRef | FromConfig
    password: SecretRef | None = None  # None: the user is an API key and the password is empty


class NamedSecret(Part):
    """A secret sent under a name (a header or a query parameter), with an optional constant in front."""

    name: str
    secret: Name
    prefix: str = ""


class Now(Part):
    """The time of the call: seconds or milliseconds since 1970, ISO 8601 in UTC, or `2026-11-25 14:32:05` in China."""

    now: Literal["epoch", "epoch_ms", "iso", "china"]


class Fresh(Part):
    """A new random identifier for every call."""

    fresh: Literal["uuid", "UUID", "hex"]


Sent = FromConfig | SecretRef | Now | Fresh | Constant
"""A value that goes out with a call: a constant, a setting, a secret, the time, or a fresh identifier."""


class Placed(Part):
    """Where a token or signature stands in the request: exactly one of header, query, form."""

    header: str | None = None
    query: str | None = None
    form: str | None = None
    prefix: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Placed:
        if sum(place is not None for place in (self.header, self.query, self.form)) != 1:
            raise ValueError("give exactly one of header, query, form")
        return self


class Params(Part):
    """All parameters of the request (query and form), written one after the other."""

    between: str = "="  # name and value
    join: str = "&"
    sort: bool = True
    skip: tuple[str, ...] = ()
    skip_empty: bool = False
    secret_as: dict[str, Name] = Field(default_factory=dict)  # further ones that are signed and not sent


class Signed(Part):
    """One piece of the text that is signed: exactly one of these."""

    text: str | None = None
    config: Name | None = None
    secret: Name | None = None
    secret_md5: Name | None = None  # the lower-case hex MD5 of a secret
    param: str | None = None  # the value of one parameter
    request: Literal["method", "url", "path", "body", "body_md5"] | None = None  # url: without its query
    params: Params | None = None

    @model_validator(mode="after")
    def _one_piece(self) -> Signed:
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError("give exactly one of text, config, secret, secret_md5, param, request, params")
        return self


def _piece(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


Algorithm = Literal["md5", "sha1", "sha256", "hmac_md5", "hmac_sha1", "hmac_sha256", "hmac_sha512"]


class Signing(Part):
    """A signature over each request. `params` go out with it (in `send`) and are signed too."""

    algorithm: Algorithm
    key: Name | None = None  # the secret of an HMAC
    params: dict[str, Sent] = Field(default_factory=dict)
    send: Literal["query", "form", "header"] = "query"
    over: tuple[Annotated[Signed, BeforeValidator(_piece)], ...] = Field(min_length=1)
    digest: Literal["hex", "HEX", "base64"] = "hex"
    to: Placed

    @model_validator(mode="after")
    def _keyed(self) -> Signing:
        if self.algorithm.startswith("hmac") != (self.key is not None):
            raise ValueError("an HMAC needs a key, a plain digest has none")
        return self

    @property
    def secret_names(self) -> Iterator[str]:
        if self.key is not None:
            yield self.key
        yield from secrets_of(self.params)
        for piece in self.over:
            yield from (name for name in (piece.secret, piece.secret_md5) if name is not None)
            if piece.params is not None:
                yield from piece.params.secret_as.values()


class Token(Part):
    """A token fetched with credentials, kept until it ends and fetched anew when the vendor denies it: OAuth2 client
    credentials, a login, a session. `read` is its path in the answer, or `read_header` the header that carries it."""

    post: str  # a path of the vendor, or a whole URL; {name} is filled with a setting
    form: dict[str, Sent] = Field(default_factory=dict)
    json_: dict[str, Sent] = Field(default_factory=dict, alias="json")
    basic: BasicAuth | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    read: PathExpr | None = None
    read_header: str | None = None
    expires: PathExpr | None = None  # seconds that it lives
    ttl_s: int = Field(3600, ge=10)  # when the answer does not say
    to: Placed = Placed(header="Authorization", prefix="Bearer ")

    @model_validator(mode="after")
    def _one_source(self) -> Token:
        if (self.read is None) == (self.read_header is None):
            raise ValueError("give read or read_header, exactly one of them")
        if self.form and self.json_:
            raise ValueError("give form or json, not both")
        return self

    @property
    def secret_names(self) -> Iterator[str]:
        yield from secrets_of(self.form)
        yield from secrets_of(self.json_)
        if self.basic is not None:
            yield from basic_secrets(self.basic)


class Auth(Part):
    """Exactly one way to say who calls."""

    basic: BasicAuth | None = None
    bearer: SecretRef | None = None
    header: NamedSecret | None = None
    query: NamedSecret | None = None
    token: Token | None = None
    signed: Signing | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if sum(way is not None for way in self.__dict__.values()) != 1:
            raise ValueError("give exactly one of basic, bearer, header, query, token, signed")
        return self

    @property
    def secret_names(self) -> tuple[str, ...]:
        if self.basic is not None:
            return tuple(basic_secrets(self.basic))
        if self.token is not None or self.signed is not None:
            return tuple((self.token or self.signed).secret_names)  # type: ignore[union-attr]
        one = self.bearer or self.header or self.query
        assert one is not None
        return (one.secret,)


def basic_secrets(basic: BasicAuth) -> Iterator[str]:
    """The secrets that a user and password take."""
    if isinstance(basic.user, SecretRef):
        yield basic.user.secret
    if basic.password is not None:
        yield basic.password.secret


def secrets_of(values: dict[str, Sent]) -> Iterator[str]:
    """The secrets among values that go out with a call."""
    yield from (value.secret for value in values.values() if isinstance(value, SecretRef))
