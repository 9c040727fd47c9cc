"""What every table of a SPEC.toml is, and the kinds of values that their keys take."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]


class Section(BaseModel):
    """A table of a SPEC.toml; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
