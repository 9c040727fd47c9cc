"""The tables [[estimators]] of a study: estimators of their kinds, one for each choice in a list."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from estimators.core.estimator import Estimator, estimators, find_estimator
from estimators.placebo.permutation import PermutationTest
from experiments.settings import build
from sim.errors import BadInput, Problem, bad, gathering, naming, one_of


def read_estimators(settings: Mapping[str, Any], where: str) -> list[Estimator]:
    """The estimators of a study's settings; raises BadInput with everything that is wrong."""
    tables = settings.get("estimators")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise bad("no estimators", where=where, allowed="one or more tables [[estimators]]",
                  remedy=f"add [[estimators]] kind = one of {one_of(estimators())}")  # fmt: skip
    found: list[Estimator] = []
    problems: list[Problem] = []
    for number, table in enumerate(tables, 1):
        place = f"{where} [[estimators]] {number}"
        with gathering(problems):
            if "kind" not in table:
                raise bad("kind is missing", where=place, allowed=f"kind = one of {one_of(estimators())}",
                          remedy='add kind = "did", or another')  # fmt: skip
            cls = find_estimator(str(table["kind"]), place)
            options = {key: value for key, value in table.items() if key != "kind"}
            made = [build(cls, choice, place) for choice in expanded(cls, options)]
            for estimator in made:
                _check_tested(estimator, place)
            found += made
    if problems:
        raise BadInput(*problems)
    return found


def _check_tested(estimator: Estimator, where: str) -> None:
    """Raise BadInput, in the words of all settings, for what a permutation test says of the estimator it tests."""
    if not isinstance(estimator, PermutationTest):
        return
    cls = find_estimator(estimator.estimator, f"{where} (permutation), estimator")
    build(cls, dict(estimator.settings), f"{where} (permutation), settings of {estimator.estimator}")
    with naming(f"{where} (permutation)"):
        estimator.inner  # noqa: B018  (it raises for what cannot be tested)


def _takes_a_list(hint: Any) -> bool:
    """Whether a setting of this type is itself a list: a tuple, or a choice that one may be."""
    return get_origin(hint) is tuple or any(_takes_a_list(part) for part in get_args(hint))


def expanded(cls: type, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One set of settings for each choice in a list, where the setting itself is not a list."""
    hints = get_type_hints(cls)
    lists = {
        key: value
        for key, value in options.items()
        if isinstance(value, list) and key in hints and not _takes_a_list(hints[key])
    }
    combinations = itertools.product(*lists.values())
    return [{**options, **dict(zip(lists, choice, strict=True))} for choice in combinations]
