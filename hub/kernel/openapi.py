"""The OpenAPI 3.1 document, written from the same route declarations that serve the requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from hub.kernel.web import Route

_REF = "#/components/schemas/{model}"


class FieldFault(BaseModel):
    """One field at fault."""

    pointer: str = Field(description="JSON pointer into the request")
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldFault] | None = None
    facts: dict[str, Any] | None = None


class Message(BaseModel):
    """An outgoing message. It may come twice (same `webhook-id`) and out of order (compare `timestamp`)."""

    type: str
    timestamp: datetime
    data: dict[str, Any]


def document(
    routes: Iterable[Route], *, version: str, told: Mapping[str, tuple[Iterable[str], str]] | None = None
) -> dict[str, Any]:
    """The validated document as plain JSON values. `told`: type of outgoing message -> (who is told, when)."""
    schemas: dict[str, Any] = {}
    problem = _schema(Problem, schemas, "serialization")
    paths: dict[str, Any] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.prefix + route.path)
        operation: dict[str, Any] = {
            "operationId": route.handler.__module__.split(".")[0] + "_" + route.handler.__name__,
            "summary": route.summary,
            "tags": [route.tag],
            "security": [] if "public" in route.scopes else [{"key": []}],
            "x-scopes": sorted(route.scopes),
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"\{(\w+)\}", path)
            ],
            "responses": {
                str(route.status): {"description": "Done", **_content(route.answer, schemas)},
                "default": {
                    "description": "Refused or failed",
                    "content": {"application/problem+json": {"schema": problem}},
                },
            },
        }
        if route.query is not None:
            operation["parameters"] += _query_parameters(route.query, schemas)
        if route.idempotent:
            operation["parameters"].append(
                {
                    "name": "Idempotency-Key", "in": "header", "required": True,
                    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
                }
            )  # fmt: skip
        if route.conditional:
            operation["responses"]["304"] = {"description": "Not modified: what the tag named is still good"}
            operation["parameters"].append({"name": "If-None-Match", "in": "header", "schema": {"type": "string"}})
        if route.body is not None:
            schema = _schema(route.body, schemas, "validation")
            operation["requestBody"] = {
                "required": not route.body_optional,
                "content": {"application/json": {"schema": schema}},
            }
        elif route.raw_body:
            operation["requestBody"] = {
                "required": True,
                "content": {media.strip(): {"schema": {}} for media in route.raw_body.split(",")},
            }
        paths.setdefault(path, {})[route.method.lower()] = operation
    raw = {
        "openapi": "3.1.0",
        "info": {
            "title": "supplyhub",
            "version": version,
            "description": "The hub between companies' employee-benefit malls and the vendors that supply them.",
        },
        "paths": paths,
        "webhooks": _messages(told or {}, schemas),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    from openapi_pydantic import OpenAPI  # slow to import, and only whoever asks for the document needs it

    OpenAPI.model_validate(raw)
    return raw


def _messages(told: Mapping[str, tuple[Iterable[str], str]], schemas: dict[str, Any]) -> dict[str, Any]:
    """Outgoing messages after the Standard Webhooks specification, as the other side serves them."""
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": meaning}
        for name, meaning in (
            ("webhook-id", "the same for every attempt"),
            ("webhook-timestamp", "of this attempt, seconds since 1970"),
            ("webhook-signature", "v1,base64 of HMAC-SHA256 over id.timestamp.body; several during a rotation"),
        )
    ]
    return {
        kind: {
            "post": {
                "operationId": "told_" + kind.replace(".", "_"),
                "summary": when,
                "x-scopes": sorted(scopes),
                "parameters": headers,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _schema(Message, schemas, "serialization")}},
                },
                "responses": {"2XX": {"description": "Taken"}, "410": {"description": "Send nothing here any more"}},
            }
        }
        for kind, (scopes, when) in told.items()
    }


def _content(answer: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {"schema": {"type": "string"}}}}
    return {"content": {"application/json": {"schema": _schema(answer, schemas, "serialization")}}}


def _schema(model: Any, schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    schema = TypeAdapter(model).json_schema(mode=mode, ref_template=_REF)
    for name, definition in schema.pop("$defs", {}).items():
        schemas[name] = definition
    if isinstance(model, type) and issubclass(model, BaseModel) and "$ref" not in schema:
        schemas[model.__name__] = schema
        return {"$ref": _REF.format(model=model.__name__)}
    return schema


def _query_parameters(model: type[BaseModel], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(mode="validation", ref_template=_REF)
    schemas.update(schema.get("$defs", {}))
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": prop}
        for name, prop in schema.get("properties", {}).items()
    ]
