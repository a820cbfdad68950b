"""HTTP surface in one shape. A package declares its routes with `Routes`; the app mounts them and writes the
OpenAPI document from the same declarations. Around each handler, in this order: who calls (credential), what
they ask (query, body), one unit of work, the handler, and errors turned into RFC 9457 problem+json here only."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar, get_args

import structlog
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from hub.kernel import bodies, idempotency, keys, metrics, quota
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Fault, Forbidden, HubError, Malformed, Rejected, Retry, TooMany
from hub.kernel.keys import Principal, Scope

log = structlog.get_logger()
B = TypeVar("B")
Q = TypeVar("Q")
Access = Literal["mall", "vendor", "staff", "public"]


@dataclass(slots=True)
class Call(Generic[B, Q]):
    """One request as a handler sees it. `body` and `query` are already validated; `tx` is open when the route
    is declared with `tx=True`."""

    request: web.Request
    path: dict[str, str]
    query: Q
    body: B
    _principal: Principal | None
    _tx: Tx | None
    prepared: Any = None  # what the work of `Outside` gave

    @property
    def principal(self) -> Principal:
        assert self._principal is not None, "public routes have no principal"
        return self._principal

    @property
    def tx(self) -> Tx:
        assert self._tx is not None, "declare the route with tx=True"
        return self._tx

    @property
    def mall_id(self) -> int:
        """The calling mall, from the credential alone."""
        assert self.principal.scope == "mall"
        return self.principal.tenant_id

    @property
    def vendor_id(self) -> int:
        """The calling vendor, from the credential alone."""
        assert self.principal.scope == "vendor"
        return self.principal.tenant_id


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's answer when the declared status or the JSON default does not fit."""

    body: Any = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Outside(Exception):
    """Raised by a handler that needs something done outside any transaction before it can go on, such as asking a
    vendor. Its transaction is undone, `work` is awaited, and the handler runs again with `call.prepared` set. When it
    fails then, `undo` is awaited."""

    def __init__(self, work: Callable[[], Awaitable[Any]], undo: Callable[[Any], Awaitable[None]]) -> None:
        super().__init__("something must be done outside the transaction first")
        self.work = work
        self.undo = undo


_TURNS = 3  # how often a handler may ask for work outside: what it wants can change while a vendor is asked

Handler = Callable[[Call[Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: everything the server and the OpenAPI document need to know."""

    method: str
    path: str
    handler: Handler
    scopes: frozenset[Access]
    summary: str
    tag: str
    body: type[Any] | None
    query: type[BaseModel] | None
    answer: Any
    status: int
    tx: bool
    idempotent: bool
    prefix: str
    raw_body: str | None
    conditional: bool

    @property
    def body_optional(self) -> bool:
        """Whether an empty body is allowed: it then counts as null."""
        return type(None) in get_args(self.body)


class Routes:
    """The routes of one package. Paths are relative to `prefix` (default /v1)."""

    def __init__(self, tag: str, prefix: str = "/v1") -> None:
        self.tag = tag
        self.prefix = prefix
        self.all: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        scope: Access | Sequence[Access],
        summary: str,
        body: Any = None,
        query: type[BaseModel] | None = None,
        answer: Any = None,
        status: int = 200,
        tx: bool = False,
        idempotent: bool = False,
        raw_body: str | None = None,
        conditional: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare an operation. `raw_body` names the media types of a body the handler reads itself; with
        `conditional` it answers If-None-Match (see hub.kernel.conditional)."""
        scopes: frozenset[Access] = frozenset([scope] if isinstance(scope, str) else scope)

        def register(handler: Handler) -> Handler:
            self.all.append(
                Route(
                    method, path, handler, scopes, summary, self.tag, body, query, answer, status,
                    tx or idempotent, idempotent, self.prefix, raw_body, conditional,
                )
            )  # fmt: skip
            return handler

        return register

    def get(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("DELETE", path, **options)


def dump(value: Any) -> bytes:
    """JSON bytes of a model, of plain values with models inside, or of bytes that are JSON already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_jsonable).encode()


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "hex"):
        return value.hex
    raise TypeError(f"cannot put {type(value).__name__} into JSON")


def problem(error: HubError, instance: str) -> web.Response:
    """RFC 9457 problem+json for an expected error."""
    body: dict[str, Any] = {
        "type": f"urn:supplyhub:problem:{error.code or type(error).__name__.lower()}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
    }
    if error.faults:
        body["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in error.faults]
    if error.facts:
        body["facts"] = error.facts
    headers = dict(error.headers) if isinstance(error, TooMany) else {}
    if isinstance(error, Retry) and error.status in (429, 503):
        headers["Retry-After"] = str(max(1, round(error.after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(body=dump(body), status=error.status, headers=headers, content_type="application/problem+json")


def faults_of(error: ValidationError, prefix: str = "") -> tuple[Fault, ...]:
    """Pydantic's findings as JSON pointers, at most 50."""
    faults = []
    for found in error.errors(include_url=False, include_context=False, include_input=False)[:50]:
        pointer = "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in found["loc"])
        faults.append(Fault(prefix + pointer, found["msg"]))
    return tuple(faults)


def _rejected(error: ValidationError, where: str) -> Rejected:
    faults = faults_of(error)
    if any(found["type"] == "json_invalid" for found in error.errors(include_input=False, include_url=False)):
        return Malformed(f"the {where} is not valid JSON: {faults[0].detail}", code="bad_json", faults=faults)
    first = f"{faults[0].pointer or where}: {faults[0].detail}" if faults else "it does not validate"
    return Rejected(f"the {where} was refused; {first}", code="invalid", faults=faults)


def endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler for one route."""
    adapter: TypeAdapter[Any] | None = TypeAdapter(route.body) if route.body is not None else None
    name = route.prefix + route.path
    public = "public" in route.scopes
    timers: dict[int, Any] = {}  # looking a labelled timer up costs more than reading the clock

    async def work(request: web.Request) -> web.StreamResponse:
        if public:
            return await serve(request, None)
        principal = await keys.authenticate(request.headers.get("Authorization"))
        standing = await quota.spend(principal)
        try:
            response = await serve(request, principal)
        except HubError as error:
            response = refused(error, request)
        if standing and not response.prepared:
            response.headers.update(standing)
        return response

    async def serve(request: web.Request, principal: Principal | None) -> web.StreamResponse:
        if principal is not None and principal.scope not in route.scopes:
            raise Forbidden(f"this call needs a key of scope {' or '.join(sorted(route.scopes))}", code="scope")
        query: Any = None
        if route.query is not None:
            query = _query(route.query, request)
        body: Any = None
        raw = b""
        if adapter is not None or route.idempotent:
            raw = await bodies.whole(request)
        if adapter is not None:
            try:
                body = adapter.validate_json(b"null" if route.body_optional and not raw.strip() else raw)
            except ValidationError as error:
                raise _rejected(error, "body") from None
        call: Call[Any, Any] = Call(request, request.match_info, query, body, principal, None)
        if not route.tx:
            return _respond(route, await route.handler(call))
        return await turns(call, principal.tenant if principal else "", raw)

    async def turns(call: Call[Any, Any], tenant: str, raw: bytes) -> web.StreamResponse:
        wanted: Outside | None = None
        for _ in range(_TURNS):
            try:
                return await in_transaction(call, tenant, raw)
            except Outside as outside:
                if wanted is not None:
                    await wanted.undo(call.prepared)
                wanted = outside
            except Exception:
                if wanted is not None:
                    await wanted.undo(call.prepared)
                raise
            call.prepared = await wanted.work()
        assert wanted is not None
        await wanted.undo(call.prepared)
        raise Retry("what was asked for keeps changing; try again", code="unsettled")

    async def in_transaction(call: Call[Any, Any], tenant: str, raw: bytes) -> web.StreamResponse:
        async with uow(tenant) as tx:
            call._tx = tx
            if not route.idempotent:
                response = _respond(route, await route.handler(call))
            else:
                response = await _once(route, call, tx, raw)
        return response

    def refused(error: HubError, request: web.Request) -> web.Response:
        if error.status >= 500 and not isinstance(error, Retry):
            log.error("request_failed", route=name, error=str(error), kind=type(error).__name__)
        return problem(error, request.path)

    async def answered(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        status = 500
        try:
            response = await work(request)
            status = response.status
            return response
        except HubError as error:
            status = error.status
            return refused(error, request)
        except (web.HTTPException, ConnectionResetError):
            raise
        except Exception:
            log.exception("request_crashed", route=name)
            return problem(
                HubError("something went wrong on our side; nothing was changed", code="internal"), request.path
            )
        finally:
            timer = timers.get(status)
            if timer is None:
                timer = timers[status] = metrics.REQUESTS.labels(route.method, name, status)
            timer.observe(time.perf_counter() - started)

    return answered


def application(routes: Iterable[Route], *, body_limit: int, middlewares: Iterable[Any] = ()) -> web.Application:
    """An aiohttp application with these routes. `body_limit` bounds a decompressed body, in bytes; it is this
    module's to decompress (see hub.kernel.bodies)."""
    app = web.Application(
        middlewares=list(middlewares), client_max_size=body_limit, handler_args={"auto_decompress": False}
    )
    for route in routes:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    return app


async def _once(route: Route, call: Call[Any, Any], tx: Tx, raw: bytes) -> web.StreamResponse:
    key = call.request.headers.get("Idempotency-Key")
    if key is None:
        raise Malformed("send an Idempotency-Key header so that a repeat cannot act twice", code="no_key_header")
    tenant = call.principal.tenant
    print_ = idempotency.fingerprint(route.method, call.request.path, raw)
    remembered = await idempotency.replay(tx, tenant, key, print_)
    if remembered is not None:
        status, body = remembered
        return web.Response(
            body=body, status=status, content_type="application/json", headers={"Idempotent-Replay": "true"}
        )
    response = _respond(route, await route.handler(call))
    assert isinstance(response, web.Response) and isinstance(response.body, bytes)
    await idempotency.keep(tx, tenant, key, print_, response.status, response.body)
    return response


def _query(model: type[BaseModel], request: web.Request) -> BaseModel:
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        values[name] = given if len(given) > 1 else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _rejected(error, "query") from None


def _respond(route: Route, result: Any) -> web.StreamResponse:
    if type(result) is bytes:  # JSON already: the hot paths
        return web.Response(body=result, status=route.status, content_type="application/json")
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, Answer):
        body = dump(result.body) if result.body is not None else b""
        return web.Response(
            body=body, status=result.status or route.status, headers=result.headers, content_type=result.content_type
        )
    if result is None:
        return web.Response(status=204 if route.status == 200 else route.status)
    return web.Response(body=dump(result), status=route.status, content_type="application/json")


__all__ = [
    "Access",
    "Answer",
    "Call",
    "Route",
    "Routes",
    "Scope",
    "TooMany",
    "application",
    "dump",
    "endpoint",
    "problem",
]
