"""An estimator with some of its terms: its own numbers, and what the other terms lack is no failure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimators.core.estimator import Status
from estimators.linear.did import TwoWayDID
from estimators.placebo.permutation import SomeTerms, inside, outside
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.event_study import SunAbraham
from experiments.run.runner import run
from experiments.study import Study
from sim import BadInput, Panel, Streams, Wanted
from sim.presets import Paper

UNIVERSAL = CallawaySantAnna(controls="not-yet", base="universal", window=(-2, 3))


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Eight draws of the published calendar."""
    design, streams = Paper(), Streams(4, "terms")
    wanted = Wanted(frozenset(design.schema.variables), ())
    return design.settle(streams).draw(streams.tile(0, 8), wanted).panel


def test_numbers_are_those_of_the_estimator(panel: Panel) -> None:
    whole, some = UNIVERSAL(panel), SomeTerms.of(UNIVERSAL, ("overall", "event(2)"))(panel)
    assert some.terms == ("overall", "event(2)")
    for k, term in enumerate(some.terms):
        np.testing.assert_array_equal(some.estimate[:, k], whole.estimate[:, whole.terms.index(term)])
        np.testing.assert_array_equal(some.se[:, :, k], whole.se[:, :, whole.terms.index(term)])


def test_the_estimator_itself_is_inside_under_its_own_name() -> None:
    some = SomeTerms.of(replace(UNIVERSAL, label="mine"), ("overall",))
    assert some.inner == replace(UNIVERSAL, label="mine")
    assert some.name == "mine"
    assert outside(*inside(UNIVERSAL), "a test") == UNIVERSAL


def test_a_study_runs_and_comes_back_from_its_settings() -> None:
    """Its fits are sound, as those of all terms are: the reference period has no error, and is none that was lost."""
    some = SomeTerms.of(UNIVERSAL, ("event(2)",))
    study = Study("terms", Paper(), (some,), replications=64, block=64, seed=2)
    assert Study.from_settings(study.settings).estimators == (some,)
    statuses = [next(iter(run(one).blocks(0))).estimates[UNIVERSAL.name].status
                for one in (study, replace(study, estimators=(UNIVERSAL,)))]  # fmt: skip
    assert (statuses[0] == Status.OK).all()
    assert (statuses[1] == Status.OK).all()


def test_a_term_without_an_estimate_is_no_success(panel: Panel) -> None:
    """No city is seen 40 periods after adoption."""
    far = replace(UNIVERSAL, window=(0, 40))
    assert (far(panel).status == Status.OK).all()
    assert (SomeTerms.of(far, ("overall",))(panel).status == Status.OK).all()
    assert (SomeTerms.of(far, ("event(40)",))(panel).status == Status.SINGULAR).all()


def test_targets_and_variables_are_the_estimators(panel: Panel) -> None:
    some = SomeTerms.of(SunAbraham(), ("event(-2)", "event(3)"))
    assert some.layout(panel.schema).targets == {"event(3)": "event(3)"}
    assert some.variables(panel.schema) == SunAbraham().variables(panel.schema)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: SomeTerms.of(TwoWayDID(), ("dog",)), "no term 'dog'"),
        (lambda: SomeTerms("nonsense"), "nonsense"),
        (lambda: SomeTerms("did", (("colour", "red"),)), "unknown setting 'colour'"),
        (lambda: SomeTerms("some-terms"), "some terms of some terms"),
    ],
)
def test_wrong_settings_are_bad_input(made: object, words: str, panel: Panel) -> None:
    with pytest.raises(BadInput, match=words):
        made().layout(panel.schema)  # type: ignore[operator]
