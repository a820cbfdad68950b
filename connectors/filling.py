"""Filling a manifest's shapes with values: the body of an order and the parameters of a request. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.contracts import PurchaseOrder
from connectors.parts import BodyValue
from connectors.paths import compile_path
from connectors.pieces import FromConfig, Param


def order_document(po: PurchaseOrder, key: str) -> dict[str, Any]:
    """What the paths of an order's body see: the purchase order as JSON values, and the key."""
    return {**po.model_dump(mode="json"), "key": key}


def fill_body(spec: Mapping[str, Any], document: Any, config: Mapping[str, Any]) -> Any:
    """A JSON body from a nested map: a bare string is a path into `document`; {const}, {config} and
    {each, map} say what they are; other objects nest. Missing values are left out."""
    made = {name: _body_value(value, document, config) for name, value in spec.items()}
    return {name: value for name, value in made.items() if value is not None}


def _body_value(spec: Any, document: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(spec, str):
        return compile_path(spec)(document)
    if isinstance(spec, list):
        return [_body_value(item, document, config) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if not spec.keys() <= BodyValue.model_fields.keys() or not spec:
        return fill_body(spec, document, config)
    value = BodyValue.model_validate(spec)
    if value.each is not None:
        return [fill_body(value.map, item, config) for item in compile_path(value.each)(document) or []]
    if value.config is not None:
        return config.get(value.config)
    return compile_path(value.path)(document) if value.path is not None else value.const


def fill_params(params: Mapping[str, Param], config: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters with settings filled in; those that are not set are left out."""
    made = {name: config.get(p.config) if isinstance(p, FromConfig) else p for name, p in params.items()}
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else value
        for name, value in made.items()
        if value is not None and value != ""
    }
