"""The object that speaks to one vendor for one connection.

`Adapter` holds the manifest, the connection's settings and secrets, and the `Caller` through which every request
goes. A system's `adapter.py` defines one class named `Adapter` that inherits the pieces it wants from
`connectors.declarative` (`PullsByManifest`, `PlacesByManifest`, `TracksByManifest`, `ReceivesByManifest`) and
overrides single methods. A system without adapter.py gets the pieces that its manifest has sections for. What the
resulting class can do is read off its methods and must equal the manifest's `capabilities`."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from connectors import manifest as manifests
from connectors.calling import Caller
from connectors.contracts import Capability
from connectors.described import manifest_for
from connectors.manifest import Manifest
from hub.kernel.errors import Fault, Misconfigured

Known = Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]
"""Given the SKUs of one page: the digests kept with their listings (absent: not known). See contracts.Page."""


class Adapter:
    """Base of every connector object. Make one per connection and close it after use."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: Known | None = None,
    ) -> None:
        self.manifest = manifest
        self.config = settle(manifest, config)
        self.secrets = dict(secrets)
        self.connection_id = connection_id
        self.known = known
        self.keep_raw = False  # previews show what came beside what it became
        self.call = Caller(manifest, self.config, self.secrets, http, connection_id)

    def __repr__(self) -> str:
        return f"<{self.manifest.id} connection={self.connection_id}>"

    def secret(self, name: str) -> str:
        """The plain secret `name`; raises Misconfigured when the connection has none."""
        value = self.secrets.get(name)
        if value is None or not value.get_secret_value():
            raise Misconfigured(f"the connection has no secret {name!r}", code="no_secret")
        return value.get_secret_value()

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self.call.aclose()


def settle(manifest: Manifest, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with defaults filled in; raises Misconfigured for unknown, missing or ill-typed ones."""
    plain = {name: setting for name, setting in manifest.config.items() if not setting.secret}
    unknown = set(config) - set(plain)
    if unknown:
        raise _bad(f"{manifest.id} has no setting {', '.join(sorted(unknown))}", *sorted(unknown))
    settled: dict[str, Any] = {}
    for name, setting in plain.items():
        value = config.get(name, setting.default)
        if value is None or value == "":
            if setting.required:
                raise _bad(f"{manifest.id} needs the setting {name!r}", name)
            settled[name] = setting.default
            continue
        settled[name] = _typed(name, setting, value)
    return settled


def _typed(name: str, setting: manifests.Setting, value: Any) -> Any:
    kinds: dict[str, type] = {"text": str, "url": str, "integer": int, "boolean": bool, "map": dict}
    if setting.type == "integer" and isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if setting.type == "boolean" and value in ("true", "false"):
        value = value == "true"
    fits = isinstance(value, kinds[setting.type]) and not (setting.type == "integer" and isinstance(value, bool))
    if not fits:
        raise _bad(f"the setting {name!r} must be of type {setting.type}", name)
    if setting.choices and value not in setting.choices:
        raise _bad(f"the setting {name!r} must be one of {', '.join(setting.choices)}", name)
    if not _storable(value):
        raise _bad(f"the setting {name!r} holds a NUL character or a number without end", name)
    return value


def _bad(detail: str, *names: str) -> Misconfigured:
    """Settings at fault, each with the pointer at which a request carries it."""
    pointers = ("/config/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    return Misconfigured(detail, code="bad_config", faults=tuple(Fault(at, detail) for at in pointers))


_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _storable(value: Any) -> bool:
    """Whether a setting holds only text and numbers that JSON in PostgreSQL can hold."""
    if isinstance(value, Mapping):
        return all(_storable(key) and _storable(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_storable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not (isinstance(value, str) and "\x00" in value)


_METHODS: dict[Capability, tuple[str, ...]] = {
    Capability.PULLS_LISTINGS: ("pull",),
    Capability.PULLS_STOCK: ("pull_stock",),
    Capability.RECEIVES_PUSH: ("verify", "parse_push"),
    Capability.PLACES_ORDERS: ("place", "find", "cancel"),
    Capability.TRACKS_ORDERS: ("track",),
    Capability.BOOKS_SLOTS: ("books_slots",),
    Capability.HOLDS_SLOTS: ("hold", "release"),
    Capability.HOLDS_STOCK: ("hold_stock", "release_stock"),
    Capability.ISSUES_CODES: ("issue",),
    Capability.OBSERVES_PRICES: ("observes_prices",),
    Capability.LISTS_ORDERS: ("list_orders",),
    Capability.POLLS_MESSAGES: ("messages", "acknowledge", "parse_message"),
}


def implemented(adapter_class: type[Adapter]) -> frozenset[Capability]:
    """What objects of this class can do, read off the methods it has."""
    return frozenset(
        capability
        for capability, names in _METHODS.items()
        if all(getattr(adapter_class, name, None) for name in names)
    )


_classes: dict[Path, type[Adapter]] = {}


def adapter_class(folder: Path) -> type[Adapter]:
    """The class that speaks for the system in `folder`; raises Misconfigured when its manifest declares other
    capabilities than it implements."""
    found = _classes.get(folder)
    if found is not None:
        return found
    from connectors import declarative  # the engine builds on this module

    manifest = manifests.load(folder)
    made = _own_class(folder) if (folder / "adapter.py").is_file() else declarative.class_for(manifest)
    declared, real = frozenset(manifest.capabilities), implemented(made)
    if declared != real:
        wrong = [f"{c} is declared but missing" for c in sorted(declared - real)]
        wrong += [f"{c} is implemented but not declared" for c in sorted(real - declared)]
        raise Misconfigured(f"connector {manifest.id}: {'; '.join(wrong)}", code="capabilities")
    _classes[folder] = made
    return made


def _own_class(folder: Path) -> type[Adapter]:
    module = load_module(folder, "adapter")
    made = getattr(module, "Adapter", None)
    if not (isinstance(made, type) and issubclass(made, Adapter)):
        raise Misconfigured(f"{folder.name}/adapter.py must define a class Adapter", code="no_adapter")
    return made


def load_module(folder: Path, name: str) -> Any:
    """The module `name`.py of a system's folder, imported by name when it is inside the package."""
    if folder.parent == manifests.HOME:
        return importlib.import_module(f"connectors.{folder.name}.{name}")
    qualified = f"_system_{folder.name}_{abs(hash(str(folder)))}_{name}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    spec = importlib.util.spec_from_file_location(qualified, folder / f"{name}.py")
    if spec is None or spec.loader is None:
        raise Misconfigured(f"{folder.name} has no {name}.py", code="no_module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    spec.loader.exec_module(module)
    return module


def build(
    folder: Path,
    config: Mapping[str, Any],
    secrets: Mapping[str, SecretStr],
    http: httpx.AsyncClient | None = None,
    *,
    connection_id: int | str = "unsaved",
    known: Known | None = None,
) -> Adapter:
    """A connector object for the system in `folder`. One whose connections describe their own protocol can do what
    this connection's settings say, and no more."""
    made = adapter_class(folder)
    manifest = manifest_for(manifests.load(folder), config)
    if frozenset(manifest.capabilities) != implemented(made):
        made = narrowed(made, frozenset(manifest.capabilities))
    return made(manifest, config, secrets, http, connection_id=connection_id, known=known)


def narrowed(made: type[Adapter], capabilities: frozenset[Capability]) -> type[Adapter]:
    """The class without those of its pieces that do something else."""
    pieces = tuple(piece for piece in made.__bases__ if implemented(piece) <= capabilities)
    return type(made.__name__, pieces or (Adapter,), {})
