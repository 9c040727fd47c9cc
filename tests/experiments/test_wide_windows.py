"""Event times that a calendar does not have are missing from an answer and are no failure of the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimators import CallawaySantAnna, Status
from estimators.core.estimator import Estimates, Estimator, find_estimator
from experiments.plugin_contracts import lacking
from experiments.run.runner import run
from experiments.settings import build
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from sim import BadInput
from sim.world.panel_design import PanelDesign

WINDOWED = ("callaway-santanna", "event-study", "sun-abraham", "imputation", "two-stage", "stacked")
FIRST, LAST = -3, 2  # event times of units that adopt in the fourth of six periods


def design(**settings: Any) -> PanelDesign:
    parts = {"adoption": {"kind": "random", "share": 0.4, "date": 2004}, "effect": {"size": 1.0}}
    return build(PanelDesign, {"units": 40, "periods": 6, **parts, **settings}, "[design]")


def fitted(estimator: Estimator, *, one: PanelDesign | None = None) -> tuple[Estimates, Any]:
    result = run(Study("windows", one or design(), (estimator,), replications=64, block=64, worlds=2))
    return next(iter(result.blocks(0))).estimates[estimator.name], result


@pytest.mark.parametrize("kind", WINDOWED)
def test_a_window_wider_than_the_panel_tells_the_event_times_that_there_are(kind: str) -> None:
    """And the numbers of these are those of a window that fits, but for the event study's and the stacks' own bins."""
    settings: dict[str, Any] = {"complete": False} if kind == "stacked" else {}
    wide, result = fitted(find_estimator(kind)(window=(-9, 9), **settings))
    assert (wide.status == Status.OK).all()
    told = {term for term, values in zip(wide.terms, wide.estimate.T, strict=True) if np.isfinite(values).all()}
    untold = {term for term, values in zip(wide.terms, wide.estimate.T, strict=True) if np.isnan(values).all()}
    assert told | untold == set(wide.terms)
    assert {f"event({k})" for k in range(LAST + 1)} <= told
    assert {f"event({k})" for k in (*range(-9, FIRST), *range(LAST + 1, 10))} <= untold
    assert "overall" in told
    frame = diagnose(result).frame
    late = frame[frame["term"] == f"event({LAST + 1})"]
    assert not late["value"].notna().any() or (late.loc[late["value"].notna(), "n"] == 0).all()
    assert frame[(frame["term"] == "event(1)") & (frame["measure"] == "bias")]["n"].tolist()[0] == 64
    fits, _ = fitted(find_estimator(kind)(window=(FIRST, LAST), **settings))
    for k in (0, LAST):
        at, own = (x.terms.index(f"event({k})") for x in (wide, fits))
        np.testing.assert_allclose(wide.estimate[:, at], fits.estimate[:, own], rtol=1e-9)


@pytest.mark.parametrize(("window", "size"), [((-5, 5), 11), ((0, 5), 7), ((-6, 0), 7)])
def test_stacks_of_whole_windows_wider_than_the_panel_are_refused_before_a_study(
    window: tuple[int, int], size: int
) -> None:
    estimator = find_estimator("stacked")(window=window)
    with pytest.raises(BadInput, match=rf"over the window .*: {size} event times in 6 periods"):
        Study("windows", design(), (estimator,))
    replace(estimator, complete=False).layout(design().schema)
    replace(estimator, window=(-3, 2)).layout(design().schema)


def test_a_missing_estimate_of_another_kind_is_still_a_failure() -> None:
    """Of an overall average, of any term by an infinite number, and where there is no number at all."""
    estimator = CallawaySantAnna(window=(-1, 1))
    whole = estimator(design().draw(_streams()).panel)
    layout = estimator.layout(design().schema)
    assert not lacking(whole, layout, with_errors=True)

    def with_value(term: str, value: float) -> Estimates:
        estimate = whole.estimate.copy()
        estimate[:, whole.terms.index(term)] = value
        return replace(whole, estimate=estimate)

    assert lacking(with_value("overall", np.nan), layout, with_errors=False)
    assert lacking(with_value("event(1)", np.inf), layout, with_errors=False)
    assert not lacking(with_value("event(1)", np.nan), layout, with_errors=False)
    nothing = replace(whole, estimate=np.full_like(whole.estimate, np.nan))
    assert lacking(nothing, layout, with_errors=False)
    late = ("event(0)", "event(1)")
    assert lacking(nothing.only(late), layout.only(late, "a test"), with_errors=False)
    no_error = replace(whole, se=np.full_like(whole.se, np.nan))
    assert lacking(no_error, layout, with_errors=True)


def _streams() -> Any:
    from sim import Streams

    return Streams(3)


def test_cohorts_and_years_that_a_calendar_lacks_are_missing_too() -> None:
    found, _ = fitted(CallawaySantAnna(window=(0, 0), cohorts=(2004, 2005), years=(2002, 2004)))
    assert (found.status == Status.OK).all()
    missing = {term for term, values in zip(found.terms, found.estimate.T, strict=True) if np.isnan(values).all()}
    assert missing == {"cohort(2005)", "calendar(2002)", "att(2005,2002)", "att(2005,2004)"}


def test_a_cohort_of_one_unit_has_an_effect_without_an_error_and_is_no_failure() -> None:
    one = design(adoption={"kind": "calendar", "dates": [[2004, 1], [2005, 12]]})
    found, _ = fitted(CallawaySantAnna(window=(0, 1), cohorts=(2004, 2005)), one=one)
    assert (found.status == Status.OK).all()
    at, other = (found.terms.index(f"cohort({g})") for g in (2004, 2005))
    assert np.isfinite(found.estimate[:, [at, other]]).all()
    assert np.isnan(found.se[:, 0, at]).all()
    assert np.isfinite(found.se[:, 0, other]).all()


def test_terms_that_are_chosen_keep_what_may_be_missing() -> None:
    layout = CallawaySantAnna(window=(0, 1)).layout(design().schema)
    assert layout.perhaps == ("event(0)", "event(1)")
    assert layout.only(("event(1)", "overall"), "a test").perhaps == ("event(1)",)
