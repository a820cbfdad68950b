"""What YAML cannot say of Kuaidi100: calls signed over the very text that is sent, answers whose code means another
thing at each address, and callbacks signed inside their own form. README.md says where each fact comes from."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

import httpx
import orjson
from pydantic import SecretStr

from connectors.answers import Answer, Refused
from connectors.base import Adapter as Base
from connectors.base import Known
from connectors.contracts import OrderUpdate, ShipmentStatus
from connectors.manifest import Manifest
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry, Unauthorized

CHINA = ZoneInfo("Asia/Shanghai")
_LONGEST_NUMBER = 32
_SHORTEST_SALT = 8


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Kuaidi100 follows the parcel. `again`: it did so already."""

    again: bool
    message: str


@dataclass(frozen=True, slots=True)
class Called:
    """A verified callback: a lasting id of what it says, and the parcel that it is about. `ended`: Kuaidi100 follows it
    no longer, because it arrived (shutdown) or because nothing was heard (abort, with `message`)."""

    external_id: str
    carrier: str
    number: str
    ended: Literal["", "shutdown", "abort"]
    message: str


class Adapter(Base):
    """One account."""

    source = "kuaidi100"  # whose payloads the callbacks are
    answer: Mapping[str, Any] = {"result": True, "returnCode": "200", "message": "成功"}  # any other: it calls again

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
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        if any(len(salt) < _SHORTEST_SALT for salt in self._salts()):
            raise Misconfigured(f"the salt must have at least {_SHORTEST_SALT} characters", code="bad_config")
        callback = self.config["callback_url"]
        if callback and not str(callback).startswith(("http://", "https://")):
            raise Misconfigured("the setting 'callback_url' must begin with http:// or https://", code="bad_config")

    async def subscribe(self, company: str, number: str, *, phone: str | None = None) -> Subscribed:
        """Have a parcel followed; `company` is Kuaidi100's name of the carrier, empty where it shall find out. Asking
        again is safe. Raises Refused (this parcel cannot be followed; `phone_needed` when it lacks a phone number),
        Misconfigured, Retry."""
        callback = self.config["callback_url"]
        if not callback:
            raise Misconfigured("the setting 'callback_url' is needed to follow parcels", code="no_callback_url")
        address = f"{str(callback).rstrip('/')}/push/carriers/kuaidi100?connection={quote(str(self.connection_id))}"
        parameters = {
            "callbackurl": address,
            "salt": self._salts()[0],
            "resultv2": self.config["resultv2"],
            "autoCom": "0" if company else "1",
            "interCom": "0",
            "phone": phone or self._phone(),
        }
        asked = {"company": company, "number": _number(number), "key": self.secret("key"), "parameters": parameters}
        answer = await self.call.ask("POST", "/poll", form={"schema": "json", "param": orjson.dumps(asked).decode()})
        code, message = self._said(answer)
        if code in ("200", "501"):  # 501: it is followed already
            return Subscribed(code == "501", message)
        raise self._meaning(code, message, company, retry=("500",))

    async def query(self, company: str, number: str, *, phone: str | None = None) -> bytes:
        """What is known of one parcel now, as Kuaidi100 answers it. Ask for a parcel at most every half hour: it is
        locked otherwise. Raises NotFound (nothing known yet), Refused (`phone_needed`), Misconfigured, Retry."""
        asked = {
            "com": company,
            "num": _number(number),
            "phone": phone or self._phone(),
            "resultv2": self.config["resultv2"],
            "show": "0",
            "order": "desc",
        }
        param = orjson.dumps(asked).decode()
        customer = str(self.config["customer"])
        sign = _md5(param + self.secret("key") + customer)
        form = {"customer": customer, "sign": sign, "param": param}
        answer = await self.call.ask("POST", "/poll/query.do", form=form)
        code, message = self._said(answer)
        if code == "200":
            return answer.body
        if code == "500":
            raise NotFound("Kuaidi100 knows nothing of this parcel yet", code="nothing_known")
        raise self._meaning(code, message, company, retry=("501", "502"), denied=("503",))

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The state of one parcel, named `carrier:number` or `carrier:number:phone` in Kuaidi100's words."""
        company, _, rest = vendor_order_no.partition(":")
        number, _, phone = rest.partition(":")
        if not number:
            return ()
        try:
            told = orjson.loads(await self.query(company, number, phone=phone or None))
        except NotFound:
            return ()
        raw = str(told.get("state", ""))
        scans = [when for scan in told.get("data") or () if (when := _time(scan)) is not None]
        if not scans:
            return ()
        return (
            OrderUpdate(
                status=self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN), raw_status=raw, at=max(scans),
                tracking_no=str(told.get("nu") or number), carrier=str(told.get("com") or company),
            ),
        )  # fmt: skip

    def called(self, headers: Mapping[str, str], body: bytes) -> Called:
        """Check a callback: the form's `sign` over its `param` and the salt. Raises NotFound when the account has no
        salt, Unauthorized when the signature does not fit."""
        salts = self._salts()
        if not salts:
            raise NotFound("there is no such push address", code="no_push")
        try:
            fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20)
        except ValueError:
            raise Unauthorized("the callback is no signed form", code="bad_signature") from None
        params = [value for name, value in fields if name == "param"]
        signs = [value for name, value in fields if name == "sign"]
        if len(params) != 1 or len(signs) != 1:
            raise Unauthorized("the callback is not signed", code="bad_signature")
        given = signs[0].upper().encode("utf-8", "replace")
        good = [hmac.compare_digest(_md5(params[0] + salt).encode(), given) for salt in salts]
        if not any(good):
            raise Unauthorized("the callback's signature is wrong", code="bad_signature")
        return _read(params[0])

    def _salts(self) -> list[str]:
        """The salts now valid, the newest first (more than one during a rotation, separated by commas)."""
        value = self.secrets.get("salt")
        return [part for part in (value.get_secret_value() if value else "").split(",") if part]

    def _phone(self) -> str:
        value = self.secrets.get("phone")
        return value.get_secret_value() if value else ""

    def _said(self, answer: Answer) -> tuple[str, str]:
        """The code and the message of an answer."""
        told = answer.json(self.manifest)
        if not isinstance(told, dict):
            raise Broken("kuaidi100 answered no JSON object", code="not_an_object")
        code = told.get("returnCode", told.get("status"))
        if not isinstance(code, str | int):
            raise Broken("kuaidi100 answered without a code", code="no_code")
        return str(code), str(told.get("message") or "")[:300]

    def _meaning(
        self, code: str, message: str, company: str, *, retry: tuple[str, ...], denied: tuple[str, ...] = ()
    ) -> Exception:
        said = f"kuaidi100 answered {code}: {message}"
        if code in retry:
            return Retry(said, code=code, after=5.0)
        if code in ("600", "601", *denied):
            return Misconfigured(said, code=code)
        if code == "408":
            detail = (
                f"{company} tells nothing without a phone number of sender or receiver: set `phone` of this account"
            )
            return Refused(f"{detail} ({said})", code="phone_needed")
        return Refused(said, code=code)


def _read(param: str) -> Called:
    mark = hashlib.sha256(param.encode("utf-8", "replace")).hexdigest()
    try:
        told = orjson.loads(param)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        told = {}
    told = told if isinstance(told, dict) else {}
    last = told.get("lastResult")
    last = last if isinstance(last, dict) else {}
    status = told.get("status")
    ended: Literal["", "shutdown", "abort"] = status if status in ("shutdown", "abort") else ""
    return Called(
        external_id=mark, carrier=str(last.get("com") or "")[:60], number=str(last.get("nu") or "")[:80],
        ended=ended, message=str(told.get("message") or "")[:300],
    )  # fmt: skip


def _number(number: str) -> str:
    stripped = number.strip()
    if not 6 <= len(stripped) <= _LONGEST_NUMBER:
        raise Refused(f"Kuaidi100 takes numbers of 6 to {_LONGEST_NUMBER} characters", code="bad_number")
    return stripped


def _time(scan: Any) -> datetime | None:
    said = (scan.get("ftime") or scan.get("time")) if isinstance(scan, dict) else None
    try:
        return datetime.strptime(str(said), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
    except ValueError:
        return None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest().upper()
