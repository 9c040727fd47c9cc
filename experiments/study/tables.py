"""The keys of a study file."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from experiments.toml_files import Flag, Table, Whole


class StudyTables(Table):
    """A study file: the kinds of values that its keys take; [design] and [[estimators]] are read by their own kinds.

    name: names the store; without it the name of the file. question: what the study asks, in words. expected: the
    answer that theory lets expect, in words. cost: how long it takes, in words. design: the world. grid: the values of
    dials. estimators: what is held to the truth. replications: draws a cell. block: replications stored together, a
    multiple of 64. seed: of all that is drawn. worlds: in how many worlds what a cell holds fixed is drawn; without it
    the design's default. common_random_numbers: whether cells share their random variates. measures: further ones that
    reports show. claims: what the verdict judges.
    """

    partial: ClassVar[bool] = True

    name: str = "study"
    question: str = ""
    expected: str = ""
    cost: str = ""
    design: dict[str, Any] = Field(default_factory=dict, description="a table [design]")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="a table [grid] of lists")
    estimators: list[Any] = Field(default_factory=list, description="tables [[estimators]]")
    replications: Whole = 2000
    block: Whole = 2048
    seed: Whole = 1
    worlds: Whole | None = None
    common_random_numbers: Flag = False
    measures: list[str] = Field(default_factory=list, description="a list of texts such as measures.py:worst_case")
    claims: list[Any] = Field(default_factory=list, description="tables [[claims]]")
