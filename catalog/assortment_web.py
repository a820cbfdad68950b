"""How procurement staff set what a mall sells, and see beforehand what that comes to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import Field, model_validator

from catalog import assortments, changes, store
from catalog.assortments import Assortment, Rule
from catalog.views import ProductId, Short, shaped
from hub.kernel import audit
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Conflict, Fault, NotFound
from hub.kernel.types import Input, Kind, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes

routes = Routes("assortments")
MOST_RULES = 500
VendorId = Annotated[str, shaped("vnd")]


class AssortmentRule(Input):
    """What is in or out. All that it names must fit; words are compared as they are written in the catalogue."""

    effect: Literal["include", "exclude"]
    kind: Kind | None = None
    category: Short | None = None
    brand: Short | None = None
    vendor: VendorId | None = None
    product: ProductId | None = None

    @model_validator(mode="after")
    def _names_something(self) -> AssortmentRule:
        if not self.rule.given:
            raise ValueError("a rule names at least one of kind, category, brand, vendor, product")
        return self

    @property
    def rule(self) -> Rule:
        """As it is kept."""
        return Rule(
            include=self.effect == "include",
            kind=self.kind.value if self.kind is not None else None,
            category=self.category,
            brand=self.brand,
            vendor_id=parse_int_id("vnd", self.vendor) if self.vendor is not None else None,
            product_id=parse_int_id("prd", self.product) if self.product is not None else None,
        )


class AssortmentIn(Input):
    """All rules of a mall, in place of those it has; none means that it sells everything. Give the `version` that you
    looked at, and a change that somebody else made meanwhile is not overwritten."""

    rules: Annotated[list[AssortmentRule], Field(max_length=MOST_RULES)]
    version: Annotated[int, Field(ge=0, le=2**62)] | None = None

    @property
    def assortment(self) -> Assortment | None:
        """The rules, each once."""
        return Assortment(tuple(dict.fromkeys(given.rule for given in self.rules))) if self.rules else None


class AssortmentShown(View):
    """What one mall sells: without rules everything. `version` counts the changes."""

    mall_id: int
    mall: str
    rules: list[AssortmentRule]
    version: int
    updated_at: datetime | None
    updated_by: str | None


class Assortments(View):
    """Every mall, and what it sells."""

    items: list[AssortmentShown]


class AssortmentSet(AssortmentShown):
    """What it sells now; how many products on sale came in, went out, and stay with other offers."""

    entered: int
    left: int
    offers_changed: int


class AssortmentPreview(View):
    """What these rules would come to. Of `listed` products on sale the mall sells `before` now and would sell `after`;
    `fitting` has for each rule in the order given how many products it names: 0 where a word is written otherwise."""

    listed: int
    before: int
    after: int
    entering: int
    leaving: int
    offers_changing: int
    fitting: list[int]


def _mall_id(call: Call[Any, Any]) -> int:
    text = call.path["mall"]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise _no_mall()


def _no_mall() -> NotFound:
    return NotFound("there is no such mall; GET /v1/assortments names them all", code="no_mall")


def _rule_shown(kept: dict[str, Any]) -> AssortmentRule:
    rule = Rule(**kept)
    return AssortmentRule(
        effect="include" if rule.include else "exclude",
        kind=Kind(rule.kind) if rule.kind is not None else None,
        category=rule.category,
        brand=rule.brand,
        vendor=public_id("vnd", rule.vendor_id) if rule.vendor_id is not None else None,
        product=public_id("prd", rule.product_id) if rule.product_id is not None else None,
    )


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return {**dict(row), "rules": [_rule_shown(rule) for rule in row["rules"] or ()]}


async def _row(tx: Tx, mall_id: int) -> asyncpg.Record:
    rows = await store.assortment_rows(tx, mall_id)
    if not rows:
        raise _no_mall()
    return rows[0]


@routes.get("/assortments", scope="staff", summary="What each mall sells", answer=Assortments, tx=True)
async def list_assortments(call: Call[None, None]) -> Assortments:
    return Assortments(items=[AssortmentShown(**_shown(row)) for row in await store.assortment_rows(call.tx, None)])


@routes.get("/assortments/{mall}", scope="staff", summary="What one mall sells", answer=AssortmentShown, tx=True)
async def one_assortment(call: Call[None, None]) -> AssortmentShown:
    return AssortmentShown(**_shown(await _row(call.tx, _mall_id(call))))


@routes.post(
    "/assortments/{mall}/preview", scope="staff", summary="What these rules would come to", body=AssortmentIn,
    answer=AssortmentPreview, tx=True,
)  # fmt: skip
async def preview_assortment(call: Call[AssortmentIn, None]) -> AssortmentPreview:
    row = await _row(call.tx, _mall_id(call))
    found = await store.count_difference(call.tx, assortments.read(row["rules"]), call.body.assortment)
    fitting = await store.count_fitting(call.tx, [given.rule for given in call.body.rules])
    names = {"entering": "enter", "leaving": "leave", "offers_changing": "differ"}
    counts = {name: found[column] for name, column in names.items()}
    return AssortmentPreview(**found, **counts, fitting=fitting)


@routes.put(
    "/assortments/{mall}", scope="staff", summary="Set what one mall sells", body=AssortmentIn, answer=AssortmentSet
)
async def set_assortment(call: Call[AssortmentIn, None]) -> AssortmentSet:
    """The mall's readers are shown the new assortment at once (in other processes within 2 s), orders keep to it from
    the commit on, and its feed of changes gets what came in as an upsert and what went out as a delete."""
    mall_id, wanted, actor = _mall_id(call), call.body, call.principal.actor
    async with uow(HUB) as tx:
        await store.queue_for_rules(tx, mall_id)
        before = await _row(tx, mall_id)
        if wanted.version is not None and wanted.version != before["version"]:
            raise Conflict(
                f"somebody changed these rules meanwhile: they are at version {before['version']}; look again",
                code="version",
                faults=(Fault("/version", f"the rules are at version {before['version']}"),),
                facts={"version": before["version"]},
            )
        old, new = assortments.read(before["rules"]), wanted.assortment
        await store.put_rules(tx, mall_id, assortments.kept(new), actor)
        entered, left, differ = await store.note_difference(tx, mall_id, old, new, changes.CHUNK)
        facts = {"rules": assortments.kept(new), "entered": entered, "left": left}
        await audit.record(tx, actor, "assortment.set", f"mall:{mall_id}", facts)
        tx.after_commit(assortments.forget)
        shown = _shown(await _row(tx, mall_id))
    return AssortmentSet(**shown, entered=entered, left=left, offers_changed=differ)
