"""The manifest of one connection. A connector's own manifest usually says it all. Where that names a setting under
`described_by`, each connection describes its protocol there, in the same sections and as strictly: a mistake is named
with the pointer at which a request carries it. The secrets that the protocol names are the ones the connection must
bring, and its sections are what it can do. Pure: nothing here calls or stores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from connectors.auths import Auth
from connectors.contracts import Capability
from connectors.jsonio import depth_exceeds
from connectors.manifest import Manifest, manifest_of
from hub.kernel.errors import Fault, Misconfigured

_MEANS = {
    "pull_listings": Capability.PULLS_LISTINGS,
    "pull_stock": Capability.PULLS_STOCK,
    "place_orders": Capability.PLACES_ORDERS,
    "track_orders": Capability.TRACKS_ORDERS,
    "push": Capability.RECEIVES_PUSH,
}
SECTIONS = (
    "config", "auth", "http", "envelope", "error_code", "error_text", *_MEANS, "statuses", "errors",
)  # fmt: skip
_DEEPEST = 30
_OURS = frozenset({"authorization", "proxy-authorization", "cookie", "host", "content-length", "transfer-encoding"})
_NEEDED = {"stock": ("vendor_sku", "reported_at"), "orders": ("status", "at")}  # what a push's map cannot do without


def of_connection(connector: str, config: Mapping[str, Any]) -> Manifest:
    """The manifest of a connection of an installed connector. Raises NotFound, and Misconfigured as `manifest_for`."""
    return manifest_for(manifest_of(connector), config)


def manifest_for(base: Manifest, config: Mapping[str, Any]) -> Manifest:
    """The manifest of a connection with these settings. Raises Misconfigured with a pointer to every mistake."""
    if base.described_by is None:
        return base
    said = config.get(base.described_by)
    if not isinstance(said, dict) or not said:
        raise _wrong(base, ((), f"{base.id} needs the setting {base.described_by!r}: how the vendor is spoken to"))
    if depth_exceeds(said, _DEEPEST):
        raise _wrong(base, ((), f"it is nested more than {_DEEPEST} levels deep"))
    try:
        text = json.dumps(said, allow_nan=False)
    except (TypeError, ValueError):
        raise _wrong(base, ((), "it holds something that JSON cannot say")) from None
    found = _made.get((base.digest, text))
    if found is None:
        if len(_made) >= _MOST:
            _made.clear()
        found = _made[base.digest, text] = _described(base, json.loads(text))
    return found


def lists_changes_only(manifest: Manifest, config: Mapping[str, Any]) -> bool:
    """Whether this connection's source lists changes alone, so that what a pull did not see is still on sale."""
    rule = manifest.changes_only
    if rule is None:
        return False
    setting = manifest.config[rule.config]
    return bool(config.get(rule.config, setting.default) == rule.is_)


_made: dict[tuple[bytes, str], Manifest] = {}  # a protocol is read once, not for every look at its connection
_MOST = 500


def _described(base: Manifest, said: dict[str, Any]) -> Manifest:
    mistakes = [*_strangers(base, said)]
    if mistakes:
        raise _wrong(base, *mistakes)
    own = said.get("config", {})
    secrets = {name: {"secret": True, "required": True} for name in _credentials(said)}
    secrets |= {name: {"secret": True} for name in _push_secret(said) if name not in secrets}
    declared = {name: setting.model_dump(by_alias=True) for name, setting in base.config.items()}
    whole = {
        **{name: part for name, part in said.items() if name not in ("config", "http")},
        **{"schema": 1, "id": base.id, "title": base.title, "title_en": base.title_en, "family": base.family},
        "capabilities": [capability for section, capability in _MEANS.items() if section in said],
        "config": {**secrets, **own, **declared},
        "http": said.get("http", {}),
    }
    try:
        made = Manifest.model_validate(whole)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise _wrong(base, *((_place(said, f["loc"], f["type"]), f["msg"]) for f in faults)) from None
    if mistakes := [*_unsafe(said, made)]:
        raise _wrong(base, *mistakes)
    return made


Mistake = tuple[tuple[Any, ...], str]


def _strangers(base: Manifest, said: Mapping[str, Any]) -> Iterator[Mistake]:
    """What a protocol may not say at all."""
    for name in said.keys() - set(SECTIONS):
        yield (name,), f"there is no section {str(name)[:60]!r}; there are {', '.join(SECTIONS)}"
    for name in ("config", "http"):
        if not isinstance(said.get(name, {}), dict):
            yield (name,), "this section is a map"
            return
    for name in said.get("config", {}).keys() & base.config.keys():
        yield ("config", name), f"every connection has the setting {name!r} already"
    if "base_url" in said.get("http", {}):
        yield ("http", "base_url"), "the address is the connection's own setting base_url"
    if said.get("pull_listings") is None:
        yield ("pull_listings",), "say how listings are pulled; nothing else works without them"


def _credentials(said: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return Auth.model_validate(said["auth"]).secret_names if said.get("auth") is not None else ()
    except ValidationError:
        return ()  # said again, with its place, by the whole


def _push_secret(said: Mapping[str, Any]) -> tuple[str, ...]:
    push = said.get("push")
    signature = push.get("hmac_sha256") if isinstance(push, dict) else None
    name = signature.get("secret") if isinstance(signature, dict) else None
    return (name,) if isinstance(name, str) else ()


def _unsafe(said: Mapping[str, Any], made: Manifest) -> Iterator[Mistake]:
    """What is well-formed and would do harm: credentials in plain, other hosts, orders that could be bought twice."""
    for name in made.http.headers:
        if name.lower() in _OURS:
            yield ("http", "headers", name), "a credential goes under auth as a secret; the rest is the hub's own"
    for section in _MEANS:
        spec = getattr(made, section)
        for verb in ("get", "post"):
            if "://" in str(getattr(spec, verb, None) or ""):
                yield (section, verb), "a path of the vendor's own address is due, not another one"
    place = made.place_orders
    if place is not None:
        if "vendor_order_no" not in place.receipt:
            yield ("place_orders", "receipt"), "say where the vendor's order number stands: vendor_order_no"
        if "{key}" not in place.find.get:
            yield ("place_orders", "find", "get"), "ask for the one order with our number: {key} must be in it"
        if "://" in place.find.get:
            yield ("place_orders", "find", "get"), "a path of the vendor's own address is due, not another one"
        if place.find.records is not None and place.find.match is None:
            yield ("place_orders", "find"), "say with match where a found order repeats our number"
        if place.idempotency_header is None and "{key}" not in place.post and not _tells(place.body):
            yield ("place_orders", "body"), "send our number (key), or no order could be found again"
    for topic, means in (made.push.topics if made.push is not None else {}).items():
        missing = [name for name in _NEEDED.get(means.means, ()) if name not in means.map]
        if missing:
            yield ("push", "topics", topic, "map"), f"a push of {means.means} needs {', '.join(missing)}"


def _tells(body: Any) -> bool:
    """Whether an order's body carries our number."""
    if isinstance(body, dict):
        if body.get("path") in ("key", "number"):
            return True
        return any(_tells(inner) for name, inner in body.items() if name not in ("const", "config"))
    if isinstance(body, list):
        return any(map(_tells, body))
    return body in ("key", "number")


def _place(said: Any, loc: tuple[int | str, ...], kind: str) -> tuple[Any, ...]:
    """Where in what was said a mistake of the whole stands: validation names steps of its own in between."""
    found: list[Any] = []
    for n, step in enumerate(loc):
        inside = isinstance(said, dict) and step in said
        if inside or (isinstance(said, list) and isinstance(step, int) and step < len(said)):
            found.append(step)
            said = said[step]
        elif kind == "missing" and n == len(loc) - 1:
            found.append(step)
    return tuple(found)


def _wrong(base: Manifest, *mistakes: Mistake) -> Misconfigured:
    faults = []
    for place, reason in mistakes[:20]:
        steps = (str(base.described_by), *(str(step) for step in place))
        pointer = "/config" + "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
        faults.append(Fault(pointer[:300], reason.removeprefix("Value error, ")[:300]))
    detail = "; ".join(f"{fault.pointer.removeprefix('/config/')}: {fault.detail}" for fault in faults)
    return Misconfigured(detail[:2000], code="bad_config", faults=tuple(faults))


def foreign_urls(manifest: Manifest) -> Iterator[httpx.URL]:
    """Whole addresses in a manifest other than the base: where its tokens come from."""
    token = manifest.auth.token if manifest.auth is not None else None
    if token is not None and "://" in token.post and "{" not in token.post:
        yield httpx.URL(token.post)
