"""The manifest of a vendor system: one YAML file that says how its protocol is spoken, in paths and constants.

There is no templating and nothing is evaluated. The only substitutions are `{name}` inside a request path (filled
with a URL-escaped connection setting or call argument) and `{config: name}` where a value may stand. Loading is
strict: an unknown key, a JMESPath that does not compile or a setting that nobody declared is an error here, so
that it cannot become one at three in the morning."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from connectors.auths import Auth, BasicAuth, NamedSecret, Signing, Token
from connectors.contracts import Capability, ShipmentStatus
from connectors.parts import (
    BodyValue,
    Cancel,
    Envelope,
    ErrorRule,
    Find,
    Http,
    Incremental,
    ListingMap,
    Mapping_,
    Paginate,
    PlaceOrders,
    Pull,
    PullStock,
    Push,
    PushTopic,
    Reading,
    Request,
    Setting,
    Signature,
    StockMap,
    TrackOrders,
)
from connectors.pieces import Constant, FromConfig, Id, Name, Part, PathExpr, SecretRef
from hub.kernel.errors import Misconfigured, NotFound

HOME = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
CALL_ARGUMENTS = frozenset({"key", "vendor_order_no", "since"})  # what a call itself may fill into a path


class SettingIs(Part):
    """True of a connection whose setting holds this value."""

    config: Name
    is_: Constant = Field(alias="is")


class Manifest(Part):
    """Everything the hub must know of one vendor system."""

    schema_version: Literal[1] = Field(alias="schema")
    id: Id
    title: str
    title_en: str = ""
    family: Literal["e-commerce", "grocery", "pharmacy", "clinic", "table", "carrier", "other"]
    capabilities: tuple[Capability, ...]
    config: dict[Name, Setting] = Field(default_factory=dict)
    auth: Auth | None = None
    http: Http = Http()
    envelope: Envelope | None = None
    error_code: PathExpr | None = None  # where an error answer says its code
    error_text: PathExpr | None = None  # and what it says to people
    pull_listings: Pull | None = None
    pull_stock: PullStock | None = None
    place_orders: PlaceOrders | None = None
    track_orders: TrackOrders | None = None
    statuses: dict[str, ShipmentStatus] = Field(default_factory=dict)
    errors: tuple[ErrorRule, ...] = ()
    push: Push | None = None
    options: dict[str, Any] = Field(default_factory=dict)  # constants for the system's own adapter
    waive: dict[str, Annotated[str, StringConstraints(min_length=10)]] = Field(default_factory=dict)
    described_by: Name | None = None  # the setting in which each connection describes its own protocol
    changes_only: SettingIs | None = None  # of a connection whose source lists changes alone: silence proves nothing

    @model_validator(mode="after")
    def _declared(self) -> Manifest:
        secrets = {name for name, setting in self.config.items() if setting.secret}
        plain = set(self.config) - secrets
        wanted = set(self.auth.secret_names if self.auth else ()) | (
            {self.push.hmac_sha256.secret} if self.push else set()
        )
        if wanted - secrets:
            raise ValueError(f"declare under config as secret: {', '.join(sorted(wanted - secrets))}")
        used = set(_config_names(self.model_dump(by_alias=True)))
        if used - plain:
            raise ValueError(f"declare under config: {', '.join(sorted(used - plain))}")
        if self.described_by is not None and self.described_by not in plain:
            raise ValueError(f"declare under config: {self.described_by}")
        for path in _request_paths(self):
            unknown = set(_PLACEHOLDER.findall(path)) - plain - CALL_ARGUMENTS
            if unknown:
                raise ValueError(f"{path}: declare under config: {', '.join(sorted(unknown))}")
        return self

    @property
    def secret_names(self) -> frozenset[str]:
        return frozenset(name for name, setting in self.config.items() if setting.secret)

    @functools.cached_property
    def digest(self) -> bytes:
        """Changes whenever the mapping may have changed."""
        return hashlib.blake2b(self.model_dump_json(by_alias=True).encode(), digest_size=16).digest()


def _config_names(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["config"]] if isinstance(value.get("config"), str) else []
        return own + [name for key, inner in value.items() if key != "options" for name in _config_names(inner)]
    if isinstance(value, list | tuple):
        return [name for inner in value for name in _config_names(inner)]
    return []


def _request_paths(manifest: Manifest) -> list[str]:
    place, track = manifest.place_orders, manifest.track_orders
    paths = [pull.path for pull in (manifest.pull_listings, manifest.pull_stock) if pull]
    if manifest.auth is not None and manifest.auth.token is not None:
        paths.append(manifest.auth.token.post)
    if place is not None:
        paths += [place.post, place.find.get] + ([place.cancel.path] if place.cancel else [])
    return paths + ([track.get] if track else [])


def parse(text: str, origin: str = "manifest.yaml") -> Manifest:
    """The manifest in `text`; raises Misconfigured with the place and the reason of every mistake."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Misconfigured(f"{origin} is not YAML: {error}", code="bad_manifest") from None
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        found = "; ".join(
            "/".join(str(part) for part in fault["loc"]) + ": " + fault["msg"]
            for fault in error.errors(include_url=False, include_context=False)
        )
        raise Misconfigured(f"{origin}: {found}", code="bad_manifest") from None


@functools.cache
def load(folder: Path) -> Manifest:
    """The manifest of the system in `folder`; its id must be the folder's name."""
    path = folder / "manifest.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no connector {folder.name!r}", code="no_connector") from None
    manifest = parse(text, str(path))
    if manifest.id != folder.name:
        raise Misconfigured(f"{path}: id is {manifest.id!r} but the folder is {folder.name!r}", code="bad_manifest")
    return manifest


def systems(root: Path = HOME) -> list[str]:
    """Names of all systems: folders with a manifest.yaml that do not start with an underscore."""
    return sorted(path.parent.name for path in root.glob("[a-z]*/manifest.yaml"))


def manifest_of(name: str) -> Manifest:
    """The manifest of an installed system; raises NotFound."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise NotFound(f"there is no connector {name!r}", code="no_connector")
    return load(HOME / name)


__all__ = [
    "HOME",
    "Auth",
    "BasicAuth",
    "BodyValue",
    "Cancel",
    "Envelope",
    "ErrorRule",
    "Find",
    "FromConfig",
    "Http",
    "Incremental",
    "ListingMap",
    "Manifest",
    "Mapping_",
    "NamedSecret",
    "Paginate",
    "Part",
    "PlaceOrders",
    "Pull",
    "PullStock",
    "Push",
    "PushTopic",
    "Reading",
    "Request",
    "SecretRef",
    "Setting",
    "SettingIs",
    "Signature",
    "Signing",
    "StockMap",
    "Token",
    "TrackOrders",
    "load",
    "manifest_of",
    "parse",
    "systems",
]
