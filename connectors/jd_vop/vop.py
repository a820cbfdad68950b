"""How JD VOP is spoken: POST forms with a token, answers in an envelope.

The token comes from `oauth2/accessToken` with a signed request and is renewed with `oauth2/refreshToken` before it
ends; both halves are kept in the connection's purse, so that all that call JD in this process share one token. A call
that JD denies for its token did nothing, so it is made once more with a new one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeVar

import orjson

from connectors.auths import Signing
from connectors.base import Adapter
from connectors.calling import Answer, Refused
from connectors.signing import CHINA, Unsigned, signature
from connectors.tokens import Fetched
from hub.kernel import clock
from hub.kernel.errors import Broken, HubError, Misconfigured, NotFound, Retry

THROTTLED = "2010"
LONG_PAUSE_S = 60.0  # JD says that it was called too often, and not for how long
_DAY_S = 86_400.0
_EARLY_S = 60.0
_GRANT = "access_token"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """The `result` of an answer that went well, and when it was asked for."""

    result: Any
    sent_at: datetime


class Session(NamedTuple):
    """What one answer of the token service holds. Kept as one text in the purse."""

    access: str
    refresh: str = ""
    refresh_until: float = 0.0  # seconds since 1970

    def text(self) -> str:
        return orjson.dumps(list(self)).decode()

    @classmethod
    def of(cls, text: str | None) -> Session | None:
        return cls(*orjson.loads(text)) if text else None


class SpeaksVop(Adapter):
    """The calls of one connection. `read` may be repeated, `act` goes out once."""

    async def read(self, path: str, form: Mapping[str, Any] | None = None) -> Said:
        """A call that only reads. Raises Retry, Refused, NotFound, Misconfigured or Broken."""
        return await self._say(self.call.ask, path, form)

    async def act(self, path: str, form: Mapping[str, Any]) -> Said:
        """A call that changes something at JD. Raises Retry when it is not known whether it did."""
        return await self._say(self.call.send, path, form)

    async def _say(self, how: Callable[..., Awaitable[Answer]], path: str, form: Mapping[str, Any] | None) -> Said:
        purse = self.call.guard().purse
        for again in (True, False):
            kept = await purse.take(self._token)
            session = Session.of(kept)
            assert session is not None
            try:
                answer = await how("POST", path, form={**(form or {}), "token": session.access})
            except (Refused, Misconfigured) as error:
                if error.code == THROTTLED:
                    self.call.guard().pause(LONG_PAUSE_S)
                    raise Retry(str(error), code=THROTTLED, after=LONG_PAUSE_S) from None
                if not denies_token(error):
                    raise
                purse.drop(kept)
                if not again:
                    raise Misconfigured(str(error), code=error.code, facts=error.facts) from None
            else:
                body = answer.json(self.manifest)
                return Said(body.get("result") if isinstance(body, dict) else None, answer.sent_at)
        raise AssertionError("unreachable")

    # The token ------------------------------------------------------------------------------------------------

    async def _token(self) -> Fetched:
        """A session: renewed where the one before can be, fetched with the account otherwise."""
        before = Session.of(self.call.guard().purse.value)
        now = clock.now().timestamp()
        if before is not None and before.refresh and now < before.refresh_until - _EARLY_S:
            form = {
                "refresh_token": before.refresh,
                "client_id": self.config["client_id"],
                "client_secret": self.secret("client_secret"),
            }
            try:
                answer = await self.call.ask("POST", "oauth2/refreshToken", form=form)
            except (Refused, NotFound, Misconfigured):
                pass  # it was taken back: begin anew
            else:
                return self._session(answer, before)
        try:
            answer = await self.call.ask("POST", "oauth2/accessToken", form=self.token_form(clock.now()))
        except (Refused, NotFound) as error:
            raise Misconfigured(f"JD gives no token for this account: {error}", code=error.code) from None
        return self._session(answer)

    def token_form(self, now: datetime) -> dict[str, str]:
        """The signed request for a token. JD compares `timestamp` with Beijing's time."""
        form = {
            "grant_type": _GRANT,
            "client_id": str(self.config["client_id"]),
            "timestamp": now.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S"),
            "username": str(self.config["username"]),
            "password": hashlib.md5(self.secret("password").encode(), usedforsecurity=False).hexdigest(),
        }
        spec = Signing.model_validate(self.manifest.options["sign"])
        form["sign"] = signature(spec, Unsigned("POST", "", "", form, b""), self.config, self.secret)
        return form

    def _session(self, answer: Answer, before: Session | None = None) -> Fetched:
        body = answer.json(self.manifest)
        result = body.get("result") if isinstance(body, dict) else None
        access = result.get("access_token") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(access, str) or not access:
            raise Broken("jd_vop gave no token where one was due", code="no_token")
        refresh, until = result.get("refresh_token"), number(result.get("refresh_token_expires"))
        kept = Session(access, *(before[1:] if before is not None else ()))
        if isinstance(refresh, str) and refresh:
            kept = Session(access, refresh, (until or 0) / 1000)
        lives = float(number(result.get("expires_in")) or _DAY_S)
        issued = number(result.get("time"))
        if issued:  # a token that JD hands out again is older than this answer
            left = issued / 1000 + lives - clock.now().timestamp()
            lives = left if 0 < left < lives else lives
        return Fetched(kept.text(), lives)


def denies_token(error: HubError) -> bool:
    """Whether JD refused for the token. One code is known; for others its words decide."""
    return "vendor_status" in error.facts and (error.code == "2007" or "token" in str(error).lower())


# Reading what JD writes ---------------------------------------------------------------------------------------


def number(raw: Any) -> int | None:
    """A whole number written as one or as text; ids may be either."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, float):
        return int(raw) if raw == int(raw) else None
    if isinstance(raw, str):
        raw = raw.strip()
        return int(raw) if raw.removeprefix("-").isdecimal() and len(raw) < 20 else None
    return raw if isinstance(raw, int) else None


def digits(raw: Any) -> str | None:
    """An id as text, or None for what is none."""
    found = number(raw)
    return str(found) if found is not None and found > 0 else None


def amount(raw: Any) -> Decimal | None:
    """A price that was found: JD writes -1, null or nothing where it has none."""
    if raw is None or raw == "" or isinstance(raw, bool):
        return None
    try:
        value = Decimal(repr(raw) if isinstance(raw, float) else str(raw).strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() and value > 0 else None


def china_time(raw: Any) -> datetime | None:
    """`2026-11-25 14:32:05` in Beijing as an aware time."""
    if not isinstance(raw, str):
        return None
    try:
        return datetime.fromisoformat(raw.strip()).replace(tzinfo=CHINA)
    except ValueError:
        return None


def member(row: Mapping[str, Any], name: str) -> Any:
    """A field whatever its case: JD's documents and answers disagree (stockStateDesc, StockStateDesc)."""
    if name in row:
        return row[name]
    wanted = name.lower()
    return next((value for key, value in row.items() if str(key).lower() == wanted), None)


def rows(said: Said, what: str) -> list[dict[str, Any]]:
    """The objects of a result that is a list, or (as getNewStockById answers) a text that holds one."""
    found = said.result
    if isinstance(found, str):
        try:
            found = orjson.loads(found) if found.strip() else []
        except orjson.JSONDecodeError:
            raise Broken(f"jd_vop: {what} is not JSON", code="bad_shape") from None
    if found is None:
        return []
    if not isinstance(found, list):
        raise Broken(f"jd_vop: {what} is not a list", code="bad_shape")
    return [row for row in found if isinstance(row, dict)]


def parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """`items` in pieces of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order; the first failure ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
