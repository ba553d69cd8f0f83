"""A job's parameters as a pydantic class: an unknown or impossible one is `InvalidParams` with a JSON pointer.

Apart from `agentkit.jobs`, because pydantic takes a while to import: import it where a job's own module is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agentkit.errors import InvalidParams

__all__ = ["Checked"]


class Checked(BaseModel):
    """A job's parameters; an unknown one is an error."""

    names_or_paths: ClassVar[tuple[str, ...]] = ()  # texts that a command line may mean as a file or a folder

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Self:
        """Return checked parameters.

        Raises:
            InvalidParams: names what is wrong by JSON pointer.
        """
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            told = "; ".join(_problem(one) for one in error.errors(include_url=False))
            raise InvalidParams(told) from error


def _problem(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors as a sentence with a JSON pointer."""
    place, message = error["loc"], str(error["msg"]).removeprefix("Value error, ")
    if not place:  # a model's own check: `name: what`
        name, _, rest = message.partition(": ")
        return f"/{name}: {rest}"
    given = f", not {error['input']!r}" if error["type"] not in {"missing", "extra_forbidden"} else ""
    told = {"missing": "is missing", "extra_forbidden": "no such parameter"}.get(error["type"], message)
    return f"/{'/'.join(map(str, place))}: {told}{given}"
