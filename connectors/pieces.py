"""The smallest pieces of a manifest: names, paths, constants, and references to settings and secrets."""

from __future__ import annotations

from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")]


def compiles(path: Any) -> Any:
    """`path` when it is a JMESPath; raises ValueError."""
    if isinstance(path, str):
        try:
            jmespath.compile(path)
        except JMESPathError as error:
            raise ValueError(f"{path!r} is not a JMESPath: {str(error).splitlines()[0]}") from None
    return path


PathExpr = Annotated[str, StringConstraints(min_length=1, max_length=500), BeforeValidator(compiles)]
Constant = str | int | bool | None


class Part(BaseModel):
    """Base of every part of a manifest: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FromConfig(Part):
    """A value taken from the connection's settings."""

    config: Name


class SecretRef(Part):
    """A credential taken from the connection's secrets."""

    secret: Name


Param = Constant | FromConfig
