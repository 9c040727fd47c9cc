"""Whoever clones the repository misses no test: all that need data from outside have a counterpart that does not.

Every test that asks for the fixture `shared_data`, by itself or through other fixtures, stands in COUNTERPARTS beside
a test that shows the same without it. A test whose fixture has the committed panel as another source is its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
FIXTURE = "shared_data"
COMMITTED = "committed"  # the source, among a fixture's params, that every clone has
SKIPS = {"skip", "importorskip", "xfail", "skipif"}
ITSELF = "itself"

TABLE_7 = "experiments/test_table_7.py"
COUNTERPARTS = {
    "estimators/test_lm_tests.py::test_indices_of_cigarettes": "::test_indices_and_moments_are_those_of_esda",
    "estimators/test_bacon.py::test_teen_employment": "::test_castle_doctrine_laws",
    "estimators/test_callaway_santanna.py::test_overall_effects_and_errors_are_those_of_csdid":
        "::test_influences_are_derivatives_with_respect_to_units_weights",
    "estimators/test_callaway_santanna.py::test_published_effects_of_minimum_wages":
        "::test_comparisons_are_those_of_the_twin",
    "estimators/test_lm_tests.py::test_cigarettes": "::test_dense_matrices",
    "estimators/test_matrix_completion.py::test_california": "::test_it_is_the_slow_program",
    "estimators/test_panel_ols.py::test_low_carbon_pilots_as_published": "::test_did_equals_pyfixest",
    "estimators/test_spatial_errors.py::test_cigarettes_t_values_of_the_observed_hessian":
        "::test_hessian_errors_equal_numerical_derivatives",
    "estimators/test_spatial_models.py::test_cigarettes_coefficients": f"{TABLE_7}::test_columns",
    "estimators/test_spatial_models.py::test_cigarettes_effects_and_their_errors": f"{TABLE_7}::test_columns",
    "estimators/test_spatial_models.py::test_cigarettes_goodness_of_fit":
        "estimators/test_spatial_models.py::test_goodness_of_fit_is_that_of_predictions_unit_by_unit",
    "estimators/test_spatial_models.py::test_cigarettes_likelihood_ratios":
        f"{TABLE_7}::test_likelihood_ratios_have_a_degree_of_freedom_a_regressor",
    "estimators/test_spatial_models.py::test_cigarettes_wald_tests_of_lee_yu": f"{TABLE_7}::test_wald_tests",
    "estimators/test_synthetic.py::test_california_has_the_published_estimates":
        "::test_estimates_and_jackknife_are_those_of_the_slow_program",
    "estimators/test_synthetic.py::test_california_has_the_published_placebo_errors":
        "::test_placebo_errors_are_the_spread_over_all_controls",
    "estimators/test_synthetic.py::test_california_has_the_published_weights":
        "::test_weights_and_paths_are_those_of_the_slow_program",
    "estimators/test_dummy_regressions.py::test_county_employment_has_the_published_effects":
        "::test_every_cell_is_a_difference_of_four_means",
    "experiments/test_cross_check.py::test_the_city_panel_runs_end_to_end_and_agrees_with_other_programs":
        "::test_every_table_of_the_committed_panel_agrees_with_other_programs",
    "experiments/test_init_spec.py::test_real_panels": "::test_the_committed_panel",
    "experiments/test_table_6.py::test_cigarettes": "::test_every_year_is_that_of_esda",
    "experiments/test_table_7.py::test_cities_equal_spreg_with_time_dummies": ITSELF,
    "experiments/test_table_7.py::test_likelihood_ratios_of_cigarettes":
        f"{TABLE_7}::test_likelihood_ratios_have_a_degree_of_freedom_a_regressor",
    "experiments/test_table_7.py::test_lm_tests_of_cigarettes": f"{TABLE_7}::test_lm_tests_have_one_degree_of_freedom",
    "experiments/test_table_synthetic.py::test_california_as_published": "::test_the_committed_panel",
    "experiments/test_table_staggered.py::test_published_numbers_of_the_minimum_wage_panel":
        "::test_columns_are_those_of_the_estimators_and_of_dummies",
    "experiments/test_published_simulations.py::test_published_coverage_of_the_jackknife":
        "estimators/test_synthetic.py::test_estimates_and_jackknife_are_those_of_the_slow_program",
    "experiments/test_published_simulations.py::test_published_coverage_of_samples_drawn_anew":
        "estimators/test_synthetic.py::test_bootstrap_errors_are_those_of_the_slow_program",
    "experiments/test_published_simulations.py::test_published_rows":
        "estimators/test_synthetic.py::test_estimates_and_jackknife_are_those_of_the_slow_program",
    "experiments/test_published_simulations.py::test_published_simulations_of_womens_wages":
        "::test_the_five_steps_as_a_plain_program",
    "estimators/test_spatial_panel_effects.py::test_unit_effects_on_the_cigarette_panel":
        "::test_unit_effects_equal_spreg",
    "estimators/test_spatial_panel_effects.py::test_the_lag_model_on_the_cigarette_panel":
        "::test_the_lag_model_is_spregs",
}  # fmt: skip


@cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    """All functions of a test file by name, those of classes too."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def texts(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def asks(node: ast.FunctionDef) -> set[str]:
    """Names that a test or fixture may ask for: arguments and strings."""
    return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} | texts(node)


def has_committed(node: ast.FunctionDef) -> bool:
    return any(COMMITTED in texts(decorator) for decorator in node.decorator_list)


def calls(node: ast.FunctionDef) -> set[str]:
    """Names of what it calls, and of the marks above it."""
    called = {part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
              for part in ast.walk(node) if isinstance(part, ast.Call)}  # fmt: skip
    marks = (part for mark in node.decorator_list for part in ast.walk(mark) if isinstance(part, ast.Attribute))
    return called | {part.attr for part in marks}


def needs(file: str, name: str, seen: frozenset[str] = frozenset()) -> Iterator[list[str]]:
    """Chains of fixtures of the same file, the function first, that end at FIXTURE."""
    asked_for = asks(functions(file)[name])
    if FIXTURE in asked_for:
        yield [name]
    for asked in sorted((asked_for & functions(file).keys()) - seen - {name}):
        for chain in needs(file, asked, seen | {name}):
            yield [name, *chain]


def needs_data(file: str, name: str) -> bool:
    """Whether a test or fixture cannot do without the data: no fixture on some way to them has another source."""
    return any(not any(has_committed(functions(file)[step]) for step in chain) for chain in needs(file, name))


def users() -> dict[str, bool]:
    """All tests that ask for the data in some way, and whether they cannot do without."""
    files = [path.relative_to(TESTS).as_posix() for path in sorted(TESTS.rglob("test_*.py"))
             if FIXTURE in path.read_text(encoding="utf-8")]  # fmt: skip
    return {
        f"{file}::{name}": needs_data(file, name)
        for file in files
        if file != Path(__file__).name
        for name in functions(file)
        if name.startswith("test_") and any(needs(file, name))
    }


def counterpart(test: str) -> tuple[str, str]:
    """File and name of a test's counterpart; a name alone is of the same file."""
    file, _, name = (test if COUNTERPARTS[test] == ITSELF else COUNTERPARTS[test]).partition("::")
    return file or test.partition("::")[0], name


def test_every_test_that_needs_outside_data_has_a_counterpart() -> None:
    found = set(users())
    assert len(found) > 30
    assert found - COUNTERPARTS.keys() == set(), "add a counterpart that needs no data, and name it in COUNTERPARTS"
    assert COUNTERPARTS.keys() - found == set(), "these need no data any more: take them out of COUNTERPARTS"


def test_counterparts_exist_compare_something_and_neither_need_data_nor_skip() -> None:
    for test in COUNTERPARTS:
        file, name = counterpart(test)
        assert (TESTS / file).is_file(), f"{test}: no file {file}"
        assert name in functions(file), f"{test}: {file} has no {name}"
        node = functions(file)[name]
        called = calls(node)
        assert not needs_data(file, name), f"{file}::{name} needs {FIXTURE}"
        asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
        assert asserts or any(call.startswith("assert") or call == "raises" for call in called), f"{file}::{name}"
        assert not called & SKIPS, f"{file}::{name} may skip"


def test_no_other_helper_reaches_the_data() -> None:
    """The fixture of conftest alone knows where they are, so that all who use it are seen here."""
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path not in (TESTS / "conftest.py", Path(__file__)):
            assert "PANELPROOF_DATA" not in text, path
            assert "shared/data" not in text, path
    for path in TESTS.rglob("conftest.py"):
        if path.parent != TESTS:
            assert FIXTURE not in path.read_text(encoding="utf-8"), f"{path}: fixtures there are not followed"
