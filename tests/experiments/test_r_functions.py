"""Estimators that are functions in R: the numbers of lm, all forms of an answer, and crashes that stay R's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import refuses

import panelproof as pp
from cluster import open_executor
from estimators import Status
from experiments.r_functions import RFailed, r_estimator
from sim import Panel, Streams
from sim.schema import Roles

CODE = """
own <- function(df) {
  m <- lm(y ~ d + x + factor(unit) + factor(period), data = df)
  s <- coef(summary(m))["d", ]
  list(d = c(s[["Estimate"]], s[["Std. Error"]], m$df.residual))
}
fitted <- function(df) lm(y ~ d + x, data = df)
alone <- function(df) mean(df$y[df$d == 1]) - mean(df$y[df$d == 0])
vector <- function(df) c(mean(df$y), sd(df$y) / sqrt(nrow(df)))
table <- function(df) data.frame(term = c("a", "b"), estimate = c(1, 2), se = c(.5, .25))
named = function(df) c(low = min(df$y), high = max(df$y))
none <- function(df) NULL
drawn <- function(df) runif(1)
raising <- function(df) if (df$y[1] > 0) stop("y is above 0") else 1
crash <- function(df) { if (runif(1) < .03 || df$y[1] > 90) tools::pskill(Sys.getpid(), 9); mean(df$y) }
chance <- function(df) { if (runif(1) < .03) tools::pskill(Sys.getpid(), 9); mean(df$icr) }
slow <- function(df) { Sys.sleep(60); 1 }
swapped <- function(df) list(m = c(dof = 7, se = 0.5, estimate = 1))
spelled <- function(df) c(se = 0.5, estimate = 1)
row <- function(df) list(m = coef(summary(lm(y ~ d, data = df)))["d", ])
nameless <- function(df) list(1, 2)
robust <- function(df) list(m = c(Value = 1, "Std. Error" = 0.5, "t value" = 2))
other <- function(df) list(m = c(estimate = 1, se = 0.5, df = 7))
placed <- function(df) list(m = c(0.5, estimate = c(m = 1)))
nested <- function(df) list(m = list(se = 0.5, estimate = c(m = 1), dof = c(n = 7)))
estimatr <- function(df) data.frame(term = "m", estimate = 1, std.error = 0.5, df = 7)
most <- function(df) if (max(df$y) > 90) NULL else 1
fewer <- function(df) if (max(df$y) > 90) list(m = 1) else list(m = 1, n = 2)
logit <- function(df) glm(d ~ y, family = binomial, data = df)
gaussian <- function(df) glm(y ~ d, data = df)
some <- function(df) if (max(df$y) > 90) c(1, 0.5) else c(1, 0.5, 7)
columns <- function(df) as.numeric(all(c("city", "year", "y", "d", "g") %in% names(df)))
"""


def has_nanoarrow() -> bool:
    import subprocess

    if shutil.which("Rscript") is None:
        return False
    asked = ["Rscript", "--vanilla", "-e", 'quit(status = !requireNamespace("nanoarrow", quietly = TRUE))']
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


needs_r = pytest.mark.skipif(not has_nanoarrow(), reason="no R with its package nanoarrow here")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("r") / "fit.R"
    path.write_text(CODE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(4)
    d = np.zeros((1, 6, 12))
    d[:, 3:, :5] = 1.0
    variables = {"y": d + rng.normal(size=(3, 6, 12)), "d": d, "x": rng.normal(size=(1, 6, 12))}
    groups = np.array([f"g{i % 3}" for i in range(12)], dtype=object)
    return Panel(tuple(f"u{i:02d}" for i in range(12)), tuple(range(2000, 2006)), variables, Roles("y", "d", ("x",)),
                 {"g": groups})  # fmt: skip


@needs_r
def test_lm_in_r_is_the_two_way_regression(script: Path, panel: Panel) -> None:
    found = r_estimator(script, "own", terms=["d"])(panel)
    ours = pp.TwoWayDID(errors=("iid",), terms=("d",))(panel)
    np.testing.assert_allclose(found.estimate, ours.estimate, rtol=1e-9)
    np.testing.assert_allclose(found.se, ours.se, rtol=1e-9)
    np.testing.assert_array_equal(found.dof, ours.dof)


@needs_r
def test_every_form_of_an_answer_is_read(script: Path, panel: Panel) -> None:
    y, d = panel.variables["y"], panel.variables["d"][0]
    alone = r_estimator(script, "alone", terms=["d"], errors=[])(panel)
    np.testing.assert_allclose(alone.estimate[:, 0], y[:, d == 1].mean(axis=1) - y[:, d == 0].mean(axis=1))
    vector = r_estimator(script, "vector", terms="m")(panel)
    np.testing.assert_allclose(vector.se[:, 0, 0], y.reshape(3, -1).std(axis=1, ddof=1) / np.sqrt(72))
    assert np.isinf(vector.dof).all()
    (tidy := script.with_name("tidy.R")).write_text(CODE.replace("se = c(.5", "std.error = c(.5"))  # as broom has it
    for file in (script, tidy):
        table = r_estimator(file, "table").tried_on(panel, panel.schema)
        assert (table.terms, table(panel).se[2, 0].tolist()) == (("a", "b"), [0.5, 0.25])
    named = r_estimator(script, "named", terms=["low", "high"], errors=[])(panel)
    np.testing.assert_allclose(named.estimate, np.column_stack([y.min(axis=(1, 2)), y.max(axis=(1, 2))]))
    fitted = r_estimator(script, "fitted").tried_on(panel, panel.schema)
    assert fitted.terms == ("(Intercept)", "d", "x")
    assert set(fitted(panel).dof.ravel()) == {69.0}
    none = r_estimator(script, "none", terms=["d"])(panel)
    assert (none.status == Status.NOT_CONVERGED).all()
    columns = r_estimator(script, "columns", terms=["there"], errors=[], unit="city", period="year")(panel)
    assert columns.estimate.ravel().tolist() == [1.0] * 3


@needs_r
@pytest.mark.parametrize(("code", "answer"), [
    ("rm(list = ls())\nfit <- function(df) 1", 1.0),
    ("setwd(tempdir())\nfit <- function(df) { setwd('/'); 2 }", 2.0),
    ("fit <- function(df) sum(fitted(lm(y ~ d, df)) - df$y) + 3", 3.0),
    ("rows <- function(x) x + 1\nparts <- 3\nfit <- function(df) rows(parts)", 4.0),
    ("fit <- function(df) NA", np.nan),
    ("fit <- function(df) data.frame(term = 'd', estimate = 1:2)", "the term d stands twice"),
])  # fmt: skip
def test_what_a_script_does_beside_its_function(code: str, answer: float | str, panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "fit.R").write_text(code, encoding="utf-8")
    fit = r_estimator(tmp_path / "fit.R", terms=["d"], errors=[])
    if isinstance(answer, str):
        with pytest.raises(RFailed, match=answer):
            fit(panel)
    else:
        np.testing.assert_allclose(fit(panel).estimate, answer, atol=1e-9)


@needs_r
def test_numbers_with_names_are_read_by_them(script: Path, panel: Panel) -> None:
    for function, dof in (("swapped", 7.0), ("spelled", np.inf), ("nested", 7.0), ("estimatr", 7.0)):
        found = r_estimator(script, function, terms=["m"])(panel)
        assert (found.estimate[0, 0], found.se[0, 0, 0], found.dof[0, 0, 0]) == (1.0, 0.5, dof)


@needs_r
def test_no_answer_in_r_is_the_same_beside_other_panels_and_alone(script: Path, panel: Panel) -> None:
    lifted = panel.with_variables({"y": panel.variables["y"] + np.array([0.0, 100.0, 0.0])[:, None, None]})
    fit = r_estimator(script, "most", terms=["m"])
    whole, alone = fit(lifted), fit(lifted.replication(1))
    assert whole.status.tolist() == [Status.OK, Status.NOT_CONVERGED, Status.OK]
    for name in ("estimate", "se", "dof", "status"):
        np.testing.assert_array_equal(getattr(whole, name)[1], getattr(alone, name)[0])
    with pytest.raises(RFailed, match="returned not all of m, n for some panels"):
        r_estimator(script, "fewer", terms=["m", "n"], errors=[])(lifted)


@needs_r
@pytest.mark.parametrize(
    ("function", "said"),
    [("row", "4 numbers for a term, and no c"), ("nameless", "a list without the names of terms"),
     ("robust", "a number called t value, and no c"), ("other", "a number called df"), ("placed", "called , and")]
)  # fmt: skip
def test_answers_of_another_form_in_r_are_refused(script: Path, panel: Panel, function: str, said: str) -> None:
    with pytest.raises(RFailed, match=said):
        r_estimator(script, function, terms=["m"])(panel)


@needs_r
def test_a_fit_in_r_has_t_where_its_summary_has_it_else_the_normal_law(script: Path, panel: Panel) -> None:
    for function, dof in (("logit", np.inf), ("gaussian", 70.0)):
        found = r_estimator(script, function).tried_on(panel, panel.schema)(panel)
        assert set(found.dof.ravel()) == {dof}
    lifted = panel.variables["y"] + np.array([0.0, 100.0, 0.0])[:, None, None]
    some = r_estimator(script, "some", terms=["m"])(panel.with_variables({"y": lifted}))
    assert some.dof.ravel().tolist() == [7.0, np.inf, 7.0]


@needs_r
def test_draws_in_r_hang_on_the_replication_alone(script: Path, panel: Panel) -> None:
    fit = r_estimator(script, "drawn", terms=["u"], errors=[])
    whole = fit(panel, Streams(7)).estimate[:, 0]
    assert len(set(whole)) == 3
    second = fit(panel.replication(1), Streams(7).tile(1, 2)).estimate[:, 0]
    assert second.tolist() == [whole[1]]


@needs_r
def test_an_error_and_the_end_of_r_say_what_happened_and_leave_no_file(
    script: Path, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    up = panel.with_variables({"y": panel.variables["y"] + 100.0})
    with pytest.raises(RFailed, match=r"raising in R, panel 0 of 3: y is above 0"):
        r_estimator(script, "raising", terms=["m"], errors=[])(up)
    with pytest.raises(RFailed, match="R ended with -9 in crash"):
        r_estimator(script, "crash", terms=["m"], errors=[])(up)
    with pytest.raises(RFailed, match="took more than 1 s"):
        r_estimator(script, "slow", terms=["m"], errors=[], seconds=1.0)(up)
    assert not [*tmp_path.iterdir()]


@needs_r
@pytest.mark.long
def test_a_study_on_two_workers_survives_crashes_of_r(script: Path) -> None:
    """One panel in 33 ends R, by a draw in R; those panels alone have no answer."""
    fits = (r_estimator(script, "chance", terms=["m"], errors=[]), pp.TwoWayDID(errors=("iid",)))
    study = pp.Study("crashes", pp.Paper(), fits, replications=128, block=64, worlds=1)
    pool = open_executor("local", 2)
    try:
        store = pp.run(study, executor=pool)
    finally:
        pool.close()
    blocks = list(store.blocks(0))
    status = np.concatenate([block.estimates["chance"].status for block in blocks])
    means = np.concatenate([block.estimates["chance"].estimate[:, 0] for block in blocks])
    assert (np.concatenate([block.estimates["did"].status for block in blocks]) == Status.OK).all()
    assert set(np.unique(status)) == {Status.OK, Status.ERROR}
    assert 1 <= (status == Status.ERROR).sum() <= 10
    assert np.isfinite(means[status == Status.OK]).all()
    said = [text for block in blocks for text in block.tracebacks.values()]
    assert any("R ended with -9" in text for text in said)


def test_the_code_is_part_of_the_study(script: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.R"
    other.write_text(CODE.replace("mean(df$y)", "median(df$y)"), encoding="utf-8")
    studies = [pp.Study("r", pp.Paper(), (r_estimator(path, "alone", terms=["d"]),), replications=64, block=64)
               for path in (script, other)]  # fmt: skip
    assert studies[0].fingerprint != studies[1].fingerprint
    again = pp.Study.from_settings(studies[0].settings)
    assert again.fingerprint == studies[0].fingerprint
    assert studies[0].own_estimators


@pp.estimator(terms=["did"], errors=[])
def means(icr, did):
    return icr[did == 1].mean() - icr[did == 0].mean()


@needs_r
def test_a_study_file_holds_the_code_of_a_function_in_r(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes" / "other_estimators.md").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    study = pp.Study.from_toml(tmp_path / "study.toml")
    (block,) = pp.run(study.resized(replications=64)).blocks(0)
    ours = replace(study, estimators=(means(),))
    (other,) = pp.run(ours).blocks(0)
    np.testing.assert_allclose(block.estimates["means"].estimate, other.estimates["means"].estimate, rtol=1e-12)


@pytest.mark.parametrize(("file", "function", "said"), [
    ("fit.R", "fit", "defines no function 'fit'"),
    ("none.R", "fit", "no such file"),
])  # fmt: skip
def test_a_file_without_the_function_is_refused(script: Path, file: str, function: str, said: str) -> None:
    refuses(said, lambda: r_estimator(script.parent / file, function))


def test_of_many_words_of_r_the_last_ones_are_said(
    script: Path, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Rscript").write_text(f"#!/bin/sh\necho '{300 * 'x'} the end' >&2\nexit 1\n")
    (tmp_path / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RFailed, match=r"R ended with 1 in alone: x+ the end$"):
        r_estimator(script, "alone", terms=["d"], errors=[])(panel)


def test_without_r_the_remedy_is_said(script: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    refuses("there is no Rscript", lambda: r_estimator(script, "alone", terms=["d"], errors=[])(panel))
