"""Manifests are strict: a mistake is an error at load, with its place, and never a surprise at night."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from connectors import base, kit, manifest, scaffold
from connectors.contracts import Capability
from hub.kernel.errors import Conflict, Misconfigured, NotFound, Rejected

GOOD = (scaffold.TEMPLATE / "manifest.yaml").read_text(encoding="utf-8")


def changed(**parts: object) -> str:
    raw = yaml.safe_load(GOOD)
    raw.update(parts)
    return yaml.safe_dump({name: part for name, part in raw.items() if part is not None})


def test_the_template_is_valid() -> None:
    assert manifest.parse(GOOD).id == "acme"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not YAML"),
        ("[]", "dictionary"),
        (changed(shoes=1), "shoes"),
        (changed(schema=2), "schema"),
        (changed(id="Acme Shop"), "id"),
        (changed(auth={"bearer": {"secret": "nobody"}}), "nobody"),
        (changed(auth={"bearer": {"secret": "token"}, "header": {"name": "x", "secret": "token"}}), "exactly one"),
        (changed(http={"rate": "five a second"}), "rate"),
        (changed(waive={"a_pull_ends": "no"}), "waive"),
        (changed(capabilities=["flies"]), "capabilities"),
        (changed(config={"token": {"secret": True, "default": "x"}}), "no default"),
    ],
)
def test_a_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=r"(?i)" + says):
        manifest.parse(text)


@pytest.mark.parametrize(
    ("pull", "says"),
    [
        ({"map": {"vendor_sku": "sku", "title": "name"}}, "needs price"),
        ({"map": {"vendor_sku": "sku", "title": "name", "price": "p", "colour": "c"}}, "no colour"),
        ({"map": {"vendor_sku": "sku[", "title": "name", "price": "p"}}, "JMESPath"),
        ({"get": "/v2/{shop}/products"}, "shop"),
        ({"params": {"lang": {"config": "language"}}}, "language"),
        ({"paginate": {"cursor": "next"}}, "param"),
        ({"paginate": {"cursor": "next", "param": "c", "page": "p"}}, "exactly one"),
    ],
)
def test_a_mistake_in_the_pull_is_named(pull: dict[str, object], says: str) -> None:
    whole = {**yaml.safe_load(GOOD)["pull_listings"], **pull}
    with pytest.raises(Misconfigured, match=says):
        manifest.parse(changed(pull_listings=whole))


def test_nothing_in_a_manifest_is_executed() -> None:
    with pytest.raises(Misconfigured, match="not YAML"):
        manifest.parse("id: !!python/object/apply:os.system ['true']")


def test_a_capability_that_is_not_implemented_fails_at_load(tmp_path: Path) -> None:
    folder = scaffold.create("liar", tmp_path)
    path = folder / "manifest.yaml"
    path.write_text(path.read_text().replace("[pulls_listings,", "[pulls_listings, issues_codes,"))
    with pytest.raises(Misconfigured, match="issues_codes is declared but missing"):
        base.adapter_class(folder)


def test_a_capability_that_is_not_declared_fails_at_load(tmp_path: Path) -> None:
    folder = scaffold.create("modest", tmp_path)
    path = folder / "manifest.yaml"
    path.write_text(path.read_text().replace(", tracks_orders]", "]"))
    with pytest.raises(Misconfigured, match="tracks_orders is implemented but not declared"):
        base.adapter_class(folder)


def test_an_adapter_overrides_a_single_method(tmp_path: Path) -> None:
    folder = scaffold.create("own_way", tmp_path)
    (folder / "adapter.py").write_text(
        "from connectors.declarative import PlacesByManifest, PullsByManifest, ReceivesByManifest, TracksByManifest\n"
        "class Adapter(PullsByManifest, PlacesByManifest, ReceivesByManifest, TracksByManifest):\n"
        "    async def expand(self, got, bad):\n"
        "        return [{**record, 'name': record['name'].upper()} for record in got.records]\n"
    )
    assert base.implemented(base.adapter_class(folder)) == frozenset(manifest.load(folder).capabilities)


def test_settings_are_checked_against_the_manifest() -> None:
    described = manifest.parse(GOOD)
    assert base.settle(described, {"base_url": "https://a.example"})["currency"] == "CNY"
    with pytest.raises(Misconfigured, match="no setting colour"):
        base.settle(described, {"base_url": "https://a.example", "colour": "red"})
    with pytest.raises(Misconfigured, match="base_url"):
        base.settle(described, {})
    with pytest.raises(Misconfigured, match="type url"):
        base.settle(described, {"base_url": 7})


def test_every_installed_connector_loads() -> None:
    for name in manifest.systems():
        found = manifest.manifest_of(name)
        made = base.adapter_class(manifest.HOME / name)
        assert frozenset(found.capabilities) == base.implemented(made)
    assert Capability.PLACES_ORDERS in manifest.manifest_of("woocommerce").capabilities


@pytest.mark.parametrize("name", ["nobody", "../secrets", "_template", "", "Woo"])
def test_an_unknown_connector_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        manifest.manifest_of(name)


async def test_a_fresh_scaffold_passes_the_contract_kit(tmp_path: Path) -> None:
    folder = scaffold.create("fresh_shop", tmp_path)
    results = await kit.check(folder)
    assert [(r.check, r.detail) for r in results if r.outcome not in ("passed", "skipped")] == []
    assert {r.check for r in results if r.outcome == "skipped"} == {
        "a_held_slot_is_nobody_elses", "a_stock_pull_ends_and_resumes", "codes_are_issued_once",
        "held_stock_is_bought_by_its_own_key", "messages_wait_until_they_are_acknowledged",
    }  # fmt: skip
    assert len(results) >= 21


async def test_the_kit_notices_a_broken_promise(tmp_path: Path) -> None:
    folder = scaffold.create("sloppy", tmp_path)
    sandbox = folder / "sandbox.py"
    sandbox.write_text(sandbox.read_text().replace("if reference not in self.orders:", "if True:"))
    golden = folder / "fixtures" / "golden_order.json"
    golden.write_text("{}")
    (folder / "fixtures" / "orphan.json").write_text("{}")
    failed = {r.check for r in await kit.check(folder) if r.outcome == "failed"}
    assert failed == {"the_order_request_is_golden", "every_fixture_is_used"}


def test_a_scaffold_neither_overwrites_nor_escapes(tmp_path: Path) -> None:
    scaffold.create("once", tmp_path)
    with pytest.raises(Conflict):
        scaffold.create("once", tmp_path)
    for name in ("../out", "Bad", "1st", "a", "with space"):
        with pytest.raises(Rejected):
            scaffold.create(name, tmp_path)
