"""Errors named by what the caller does with them. The web layer turns them into problem+json in one place
(hub.kernel.web); workers decide from the class alone whether to try again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One field at fault: a JSON pointer into the request and what is wrong with it."""

    pointer: str
    detail: str


@dataclass
class HubError(Exception):
    """Base of every expected error: a sentence that says what to do, and facts that a program can use."""

    detail: str
    code: str = ""
    faults: tuple[Fault, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    status = 500
    title = "Internal error"

    def __str__(self) -> str:
        return self.detail


@dataclass
class Retry(HubError):
    """Try the same call again after `after` seconds (outage, throttling, lock time-out)."""

    after: float = 1.0
    status = 503
    title = "Try again"


@dataclass
class TooMany(Retry):
    """The caller exceeded a quota; try again after `after` seconds. `headers` go out with the answer."""

    headers: dict[str, str] = field(default_factory=dict)
    status = 429
    title = "Too many requests"


@dataclass
class Rejected(HubError):
    """The request is wrong and repeating it will not help; the caller must change it."""

    status = 422
    title = "Rejected"


@dataclass
class Malformed(Rejected):
    """The bytes could not be read as what they claim to be."""

    status = 400
    title = "Malformed request"


@dataclass
class TooLarge(Rejected):
    """The input exceeds a cap on bytes, rows or depth."""

    status = 413
    title = "Too large"


@dataclass
class Misconfigured(HubError):
    """Settings or credentials are wrong; a person must mend them, repeating will not help."""

    status = 502
    title = "Misconfigured"


@dataclass
class Broken(HubError):
    """The other side answered something that its protocol does not allow."""

    status = 502
    title = "Broken answer from the other side"


@dataclass
class Conflict(HubError):
    """The state of the world contradicts the request (out of stock, price moved, key in flight)."""

    status = 409
    title = "Conflict"


@dataclass
class NotFound(HubError):
    """There is no such thing for this caller."""

    status = 404
    title = "Not found"


@dataclass
class Gone(HubError):
    """There was such a thing, and it is not kept any more; begin anew as the detail says."""

    status = 410
    title = "Gone"


@dataclass
class Unauthorized(HubError):
    """No valid credential."""

    status = 401
    title = "Unauthorized"


@dataclass
class Forbidden(HubError):
    """A valid credential without the right for this call."""

    status = 403
    title = "Forbidden"
