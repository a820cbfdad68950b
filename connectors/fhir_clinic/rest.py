"""Reading a FHIR server over REST: what it says it can do, searches followed page by page, single resources. FHIR's
versions do not differ here, so the pharmacy connector reads with the same hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.base import Adapter
from connectors.calling import Answer, Refused
from connectors.fhir_clinic.resources import Bundle, Resource, bundle, etag_of
from hub.kernel.errors import Broken, NotFound

FHIR_JSON = "application/fhir+json"
_MOST_PAGES = 100_000


@dataclass(frozen=True)
class Capabilities:
    """What a CapabilityStatement says. `types` is None when the server does not list its resources (some do not)."""

    version: str = ""  # such as 4.0.1
    types: frozenset[str] | None = None
    operations: frozenset[tuple[str, str]] = frozenset()  # (resource type, operation), such as (Appointment, hold)

    def offers(self, kind: str) -> bool:
        """Whether the server has resources of this type, as far as it says."""
        return self.types is None or kind in self.types


def capabilities_in(body: Any) -> Capabilities:
    """The part of a CapabilityStatement that matters here; nothing at all for anything else."""
    if not isinstance(body, dict) or body.get("resourceType") != "CapabilityStatement":
        return Capabilities()
    rests = [rest for rest in _dicts(body.get("rest")) if rest.get("mode", "server") == "server"]
    listed = [resource for rest in rests for resource in _dicts(rest.get("resource"))]
    types = frozenset(str(resource["type"]) for resource in listed if resource.get("type"))
    operations = frozenset(
        (str(resource.get("type")), str(operation.get("name", "")).removeprefix("$"))
        for resource in listed
        for operation in _dicts(resource.get("operation"))
    )
    return Capabilities(str(body.get("fhirVersion") or ""), types or None, operations)


class ReadsFhir(Adapter):
    """The reading half of a FHIR client. A system's manifest must have the setting `page_size`."""

    async def capabilities(self) -> Capabilities:
        """What the server says it can do, asked once a connection object. A server without a statement says nothing."""
        known: Capabilities | None = self.__dict__.get("_capabilities")
        if known is None:
            try:
                known = capabilities_in((await self.call.get("metadata")).json(self.manifest))
            except (NotFound, Refused):
                known = Capabilities()
            self.__dict__["_capabilities"] = known
        return known

    async def _walk(
        self, kind: str, params: Mapping[str, Any] | None = None, url: str | None = None
    ) -> AsyncIterator[tuple[Bundle, datetime]]:
        """The pages of a search, from its start or from `url`, and when each was asked for. Raises Broken for a link
        that leaves the server or turns in a circle, and when rows that the server announced did not come."""
        visited: set[str] = set()
        first: dict[str, Any] = {"_count": self.config["page_size"], **(params or {})}
        query: dict[str, Any] | None = first
        path = kind
        if url is not None:
            path, query = self._link(url), None
        seen: set[str] = set()
        announced: int | None = None
        for _ in range(_MOST_PAGES):
            answer = await self.call.get(path, query)
            found = bundle(answer.json(self.manifest), kind)
            before = len(seen)
            seen.update(resource["id"] for resource in found.resources)
            announced = found.total or announced
            short = found.next is None and url is None and announced is not None and len(seen) < announced
            if short and (visited or len(seen) == before):
                raise Broken(f"the server announced {announced} of {kind} and sent {len(seen)}", code="rows_missing")
            yield replace(found, more=True) if short else found, answer.sent_at
            if short:  # more, and never a link: servers that page by offset (Medplum's, HAPI's) take this
                path, query = kind, {**first, "_offset": len(seen)}
                continue
            if found.next is None:
                return
            if found.next in visited:
                raise Broken(f"the pages of {kind} go in a circle", code="page_repeated")
            visited.add(found.next)
            path, query = self._link(found.next), None
        raise Broken(f"{kind} has more than {_MOST_PAGES} pages", code="too_many_pages")

    def _link(self, url: str) -> str:
        """A page link as given when absolute (the caller refuses another origin), else below the server's root."""
        if "://" in url or not url.startswith("/"):
            return url
        root = self.call.base_url.split("/", 3)
        return "/".join(root[:3]) + url

    async def _knows(self, kind: str, parameter: str) -> bool:
        """Whether the server knows a search parameter that takes times: a filter that everything passes finds one."""
        answer = await self.call.get(kind, {parameter: "ge1970-01-01T00:00:00Z", "_count": 1})
        return bool(bundle(answer.json(self.manifest), kind).resources)

    async def _read(self, kind: str, number: str) -> Resource | None:
        """A resource now, or None when the server has none."""
        try:
            answer = await self.call.get(f"{kind}/{self.call.fill('{id}', id=number)}")
        except NotFound:
            return None
        made = self._resource(answer, kind)
        tag = answer.headers.get("etag")
        if tag and etag_of(made) is None:
            made.setdefault("meta", {})["versionId"] = tag.removeprefix("W/").strip('"')
        return made

    def _resource(self, answer: Answer, kind: str) -> Resource:
        body: Any = answer.json(self.manifest)
        if not isinstance(body, dict) or body.get("resourceType") != kind or not isinstance(body.get("id"), str):
            raise Broken(f"{self.manifest.id} answered something that is no {kind}", code="bad_resource")
        return body


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
