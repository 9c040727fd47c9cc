"""The page of `trust`: as trust.json, in the terminal, and as files.

trust.json: every number that the page shows, as plain data.

The verdict is supported, contradicted, not decided or no claim, with the reason in the same line.
Its rules are chosen by their error rates on known worlds (docs/studies/verdicts.md). Power at the estimate is no rule:
it is a function of the p value (Hoenig and Heisey 2001). What a convention says is called a benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from estimators.core.error_types import error_label
from estimators.sensitivity.sensitivity import bias_corrected, on_calendar, pesaran_cd, serial_correlation
from experiments.checks.check import LEVELS
from experiments.checks.two_stages import DISAGREE
from experiments.run.reporting import without_nan
from experiments.trust.evidence import BEYOND, LEVEL, SimulatedStudy, is_least, within_level
from experiments.trust.race import document as race_document
from experiments.trust.race import rows_of
from experiments.trust.recommend import errors_named
from experiments.trust.trust import Trust
from experiments.twins.real import Real
from experiments.twins.statistics import moran_by_period
from experiments.twins.twin import misses
from results.diagnosis.measures import Z95
from results.report.panel_pages import marked, number, trust_page
from results.store.disk import write_whole
from results.text import above, in_columns, interval, probability, share
from sim.errors import Problem, refuse, type_problems

AnswerOfVerdict = Literal["supported", "contradicted", "not decided", "no claim"]
CLAIMED = max(LEVELS)  # p value up to which an effect is one that is claimed
RARE = 0.01  # share of sound twins with as large a joint test before adoption that leaves a claim undecided
PARALLEL = ("The verdict assumes parallel trends where the data cannot speak: they hold by construction in twins, and "
            "the trends before adoption are all that tests them.")  # fmt: skip
EXOGENOUS = ("The verdict assumes that changes of the treatment have nothing to do with what else moves the outcome: "
             "it holds by construction in twins.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """The answer, its reason, and further sentences. scope: that of them which says what the answer is not about."""

    answer: AnswerOfVerdict
    reason: str
    sentences: tuple[str, ...]
    scope: str = ""

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.answer.capitalize()}: {self.reason[:1].lower()}{self.reason[1:]}"


def verdict(found: Trust) -> TrustVerdict:
    """The answer of the first rule with a reason; reasons of later rules are sentences."""
    said = [*rules(found)]
    answer, reason = said[0] if said else ("supported", _support(found))
    more = [] if answer == "no claim" else [other for _, other in said[1:]]
    assumed = EXOGENOUS if found.claim.panel.roles.continuous else PARALLEL

    # how often panels like this one get a verdict
    rates, often = found.evidence, list[str]()
    if rates.supported_without_effect is not None:
        at = f"{rates.supported_at_effect:.1%} where the effect is {found.asked:.3g}"
        sound = rates.contradicted_without_threat
        rest = "" if sound is None else f"; {sound:.1%} of claims that nothing is wrong with are contradicted"
        often = [f"On twins of your panel a claim is supported in {rates.supported_without_effect:.1%} of cases "
                 f"without an effect and in {at}{rest}."]  # fmt: skip
    scope = ""  # "use another", or "yours is not valid", beside "supported" is no contradiction
    if answer == "supported" and (race := found.race) and (race.better or not race.valid(race.own)):
        size = f"; how large it is, {race.best} tells better" if race.better else ", not how large it is"
        scope = f"Supported means that there is an effect{size}."
    first = (*_two_stages(found), *opening(found), *filter(None, [scope]))
    return TrustVerdict(answer, reason, (*first, *dict.fromkeys(more), *often, assumed), scope)


def _two_stages(found: Trust) -> list[str]:
    """That 2SLS with the spec's instruments gives another estimate, which is no rule: its error rates are not known."""
    return [check.sentence for check in found.checks if check.name == DISAGREE and check.severity]


def rules(found: Trust) -> Iterator[tuple[AnswerOfVerdict, str]]:
    """Every rule that applies, with its answer and its reason; the first one decides."""
    # no effect is significant at 10% with the printed errors, nor with the recommended ones
    p = [record.pvalue for record in (found.record, found.advised)]
    if not any(value is not None and value <= CLAIMED for value in p):
        shown = next((value for value in p if value is not None), None)
        said = "there is no p value"
        if shown is not None:
            said = f"p = {above(shown, CLAIMED, 2)} with {errors_named(found.printed)}"
        detected, largest = f"an effect of {abs(found.mde.value):.3g}", np.abs(found.main.effects).max()
        if abs(found.mde.value) > largest:
            detected = f"no effect up to {largest:.3g}, the largest that was simulated,"
        yield "no claim", (f"No effect is claimed ({said}). Your panel detects {detected} with a power of "
                           f"{found.mde.power:.0%}.")  # fmt: skip

    # other estimates that contradict the claim, those of trends first; then facts that leave nothing to rest it on
    against = [check for check in found.checks if check.answer == "contradicts"]
    for check in sorted(against, key=lambda check: (check.difference is None, check.name != "unequal-trends")):
        yield "not decided" if check.difference is None else "contradicted", check.sentence

    # trends before adoption that lean the claim's way by more than nine in ten twins, and explain it
    lean = found.evidence.lean
    if lean is not None and lean.explains:
        rest = f"{lean.estimate:.4g} ({lean.lower:.4g} to {lean.upper:.4g})"
        yield "not decided", (f"Trends before adoption lean the claim's way: as much or more in {lean.pvalue:.1%} of "
                              f"twins that have no such trend. Without it the estimate is {rest}.")  # fmt: skip

    # a joint test before adoption that is larger than on 99 of 100 sound twins
    pretrend = found.evidence.pretrend
    if pretrend is not None and pretrend <= RARE:
        yield "not decided", ("Treated and other units move apart before adoption: the joint test is as large in "
                              f"{pretrend:.1%} of twins with parallel trends.")  # fmt: skip

    # no error type of which what it needs is there
    if found.recommended in found.forbidden:
        yield "not decided", f"No error type is safe on this panel: {found.forbidden[found.recommended]}."

    # the p value with the recommended errors
    own = found.advised.pvalue
    if own is None or not own <= LEVEL:
        said = "there is no p value" if own is None else f"p = {above(own, LEVEL, 3)}"
        yield "not decided", f"With {errors_named(found.recommended)} {said}."

    # the calibrated p value of each method that has a vote, where it is clearly above 5%
    for one in found.voters:
        calibrated = found.calibrated(one)
        if not within_level(calibrated.value, calibrated.mcse):
            yield "not decided", (
                f"Twins by the method {one.method} without an effect give a test statistic as large in "
                f"{calibrated.value:.1%} of cases (Monte Carlo error {calibrated.mcse:.1%})."
            )  # fmt: skip


def _support(found: Trust) -> str:
    """Why a claim is supported."""
    p, own = found.calibrated(), found.advised.pvalue
    answers = [check.answer for check in found.checks if check.difference is not None]
    vague = answers.count("cannot tell")
    few = f"; {vague} of them cannot tell" if vague else ""
    beside = "; 2SLS with the spec's instruments, which disagrees, is not among them" if _two_stages(found) else ""
    checks = f", and none of {len(answers)} other estimates contradicts it{few}{beside}" if answers else beside
    least = f", the smallest that {p.n:,} twins can give" if is_least(p) else ""

    # estimates that differ from the claim by more than chance, and the one that takes most of it away
    differing, rows = "", [one for one in found.checks if one.difference is not None and one.answer == "differs"]
    if rows:
        claimed = found.claim.estimate
        far = max(rows, key=lambda check: -np.sign(claimed) * (check.difference or 0.0))
        left = claimed + (far.difference or 0.0)
        less = abs(left) < abs(claimed)
        most = f" ({far.alternative or far.name}: {left:.3g} instead of {claimed:.3g})" if less else ""
        said = "1 of them differs" if len(rows) == 1 else f"{len(rows)} of them differ"
        differing = f"; {said} by more than chance{most}"
    return (f"p is {own:.3g} with {errors_named(found.recommended)} and {p.value:.3g} calibrated on twins{least}"
            f"{checks}{differing}.")  # fmt: skip


def opening(found: Trust) -> tuple[str, ...]:
    """The claim as it is printed, the size of its test, and the error type to print."""
    record = found.record
    named = found.claim.called if found.claim.text in (record.term, found.claim.real.called) else record.term
    p = record.pvalue
    level = next((level for level in (0.01, 0.05, 0.10) if p is not None and p <= level), None)
    said = f"significant at {level:.0%}" if level else "not significant at 10%"
    value = "no p value" if p is None else f"p = {p:.3g}"
    fit = f" ({record.transform}, W {record.weights})" if record.transform and record.weights else ""  # of several

    main, elsewhere = found.main.size(found.printed), list[str]()  # sizes that differ by more than chance
    for one in found.voters:
        other = one.size(found.printed)
        if abs(other.value - main.value) > BEYOND * float(np.hypot(other.mcse, main.mcse)):
            elsewhere.append(f"in {other.value:.1%} by the method {one.method}")
    others = f" ({', '.join(elsewhere)})" if elsewhere else ""

    out = [
        f"The estimate of {named} in table {record.table}, column {record.column}{fit} is {found.claim.estimate:.4g}, "
        f"{said} with {errors_named(found.printed)} ({value}).",
        f"On twins of your panel, this 5% test rejects in {main.value:.1%} of cases where there is no effect{others}.",
    ]
    if found.recommended in found.forbidden:
        out.append(f"{found.reason[:1].upper()}{found.reason[1:]}.")
    elif found.recommended != found.printed:
        out.append(f"Print {errors_named(found.recommended)}: {found.reason}.")
    if found.race is not None and found.race.better:
        out += [found.race.reason, found.race.advice]
    elif found.race is not None and not found.race.valid(found.race.own):
        out.append(found.race.answer)
    return tuple(out)


POINTS = 61  # of the fitted power curve
RATES = ("supported_without_effect", "supported_at_effect", "contradicted_without_threat")
LIMITS = (
    "Twins show how an estimator does in the world that was fitted. Where that world is wrong, sizes and rankings can "
    "mislead (Advani, Kitagawa and Sloczynski 2019). So several methods are compared, and what twins miss is listed.",
    "The treatment of the twins is that of the panel or as good as the fitted adoption. What moves both adoption and "
    "outcome, and is in no column of the panel, is in no twin.",
    "What else begins in treated units when they adopt cannot be told from the effect: another policy, a shock to "
    "whole groups that adopt together, another way of measuring. A claim that rests on it is supported like any other.",
)  # fmt: skip
KEPT = {"covariates": "controls", "weights": "spatial weights", "calendar": "who is treated and when",
        "missing": "missing cells", "levels": "unit and period effects"}  # fmt: skip


def document(found: Trust) -> dict[str, Any]:
    """The contract's keys, then studies, limits and notes."""
    judged, evidence = verdict(found), asdict(found.evidence)
    rates = {name: evidence[name] for name in RATES}
    claim = {name: value for name, value in found.record.plain.items() if name != "name"}
    p, (lower, upper) = found.calibrated(), found.calibrated_interval
    grid = np.linspace(min(found.main.effects), max(found.main.effects), POINTS)
    alone, size = found.simulated_mde, found.main.size(found.recommended)
    power = []  # simulated, at every effect of the grid, under the recommended error type
    for cell, effect in enumerate(found.main.effects):
        rejected = found.main.measure("rejection", found.recommended, cell)
        kinds = {name: found.main.measure(name, found.recommended, cell).value for name in ("type_s", "type_m")}
        power.append({"effect": effect, "power": rejected.value, "mcse": rejected.mcse, **kinds})
    section = found.claim.real.spec.twin
    panel = found.claim.sample.panel
    there = {"calendar": "adoption" not in found.twin.design.redraw, "missing": panel.balanced,
             "weights": panel.weights, "covariates": panel.roles.controls, "levels": section}  # fmt: skip
    kept = [f"as in the panel: {KEPT[name]}" for name in (section.keep if section else KEPT) if there[name]]
    drawn = [f"drawn once a world: {words}" for words in found.main.study.held_fixed]
    plain: dict[str, Any] = {
        "claim": claim | {"text": found.claim.called, "outcome": found.claim.panel.roles.outcome},
        "verdict": {"answer": judged.answer, "reason": judged.reason, "line": judged.line,
                    "scope": judged.scope, "sentences": list(judged.sentences), "rates": rates},
        "errors": _errors(found),
        "advice": {"error": found.recommended, "reason": found.reason},
        "calibrated": {"pvalue": p.value, "mcse": p.mcse, "least": is_least(p), "lower": lower, "upper": upper,
                       "se_type": found.recommended},
        "power": power,
        "curve": [list(point) for point in zip(grid.tolist(), found.curve.at(grid).tolist(), strict=True)],
        "mde": asdict(found.mde) | {  # mcse: of the simulation alone
            "mcse": (alone.upper - alone.lower) / (2 * Z95),
            "worst": found.nearby.worst(found.recommended, size, alone),
            "worlds": len(found.nearby.others), "largest": float(np.abs(found.main.effects).max()),
        },
        "effect": {"value": found.asked, "asked": found.ask.effect is not None},
        "diagnostics": diagnostics(found),
        "placebos": list(found.placebos),
        "checks": [check.record | {"sentence": check.sentence, "severity": check.severity,
                                   "numbers": dict(check.numbers)} for check in found.checks],
        "family": {"critical": evidence["critical"], "false_alarm": evidence["familywise"]},
        "race": [] if found.race is None else rows_of(found.race),
        "instead": None if found.race is None else race_document(replace(found.race, seconds=0.0)),
        "trends": {name: evidence[name] for name in ("lean", "pretrend")},
        "fidelity": [asdict(row) for one in found.twin.all for row in one.fidelity],
        "fidelity_joint": {"pvalue": found.twin.joint},
        "held_fixed": list(dict.fromkeys([*kept, *drawn])),
        "studies": [_study(found, one) for one in found.simulated],
        "misses": [{"method": one.method, "sentences": list(misses(one.fidelity)), "joint": one.joint,
                    "inside": sum(row.inside for row in one.fidelity), "features": len(one.fidelity)}
                   for one in found.twin.all],
        "limits": list(LIMITS),
        "notes": list(dict.fromkeys(found.notes)),
    }  # fmt: skip
    cleaned: dict[str, Any] = without_nan(plain)
    return cleaned


def _errors(found: Trust) -> list[dict[str, Any]]:
    rows = []
    for error in found.main.errors:
        size, record = found.main.size(error), found.shown[error]
        lower, upper = found.nearby.size(error, size)
        rows.append({
            "se_type": error, "named": errors_named(error), "size": size.value, "mcse": size.mcse, "lower_size": lower,
            "upper_size": upper, "estimate": record.estimate, "se": record.se, "pvalue": record.pvalue,
            "lower": record.lower, "upper": record.upper, "allowed": error not in found.forbidden,
            "recommended": error == found.recommended, "printed": error == found.printed,
            "forbidden": found.forbidden.get(error), "coverage": found.main.measure("coverage", error).value,
        })  # fmt: skip
    return rows


def _study(found: Trust, one: SimulatedStudy) -> dict[str, Any]:
    """What one method's twins say, under the recommended error type."""
    error = found.recommended
    cell = min(range(len(one.effects)), key=lambda k: abs(one.effects[k] - found.claim.estimate))
    size, power, bias = one.size(error), one.measure("rejection", error, cell), one.measure("bias", cell=cell)
    cover, printed, p = one.measure("coverage", error, cell), one.size(found.printed), found.calibrated(one)
    return {
        "method": one.method, "votes": one.votes, "replications": one.replications, "cells": len(one.effects),
        "worlds": one.study.world_count, "size": size.value, "size_mcse": size.mcse, "printed_size": printed.value,
        "power": power.value, "power_mcse": power.mcse, "coverage": cover.value, "coverage_mcse": cover.mcse,
        "bias": bias.value, "bias_mcse": bias.mcse, "calibrated": p.value, "calibrated_mcse": p.mcse,
    }  # fmt: skip


def diagnostics(found: Trust) -> dict[str, float | None]:
    """AR(1) of the two-way residuals, raw and corrected for few periods, Moran's I (mean of periods, first W) and
    Pesaran's CD."""
    real = Real.of(found.claim.sample)
    residuals = real.parts.residuals
    periods = found.claim.sample.panel.periods
    mask = on_calendar(np.ones_like(residuals[0]), periods)
    raw = serial_correlation(on_calendar(residuals[0], periods), mask)
    corrected = bias_corrected(raw, mask[:, :1].T > 0)
    moran = None if real.weights is None else float(moran_by_period(residuals, real.weights).mean())
    return {"ar1_raw": raw, "ar1": corrected, "moran": moran, "pesaran_cd": pesaran_cd(residuals[0])}


# What `panelproof trust` prints and writes.


WIDTH, NAME = 80, 23  # columns of the tables, and of the name of a check
LEAST = 50  # columns below which nothing is made narrower
LINES = 45
STYLES = {"supported": "bold green", "not decided": "bold yellow", "contradicted": "bold red", "no claim": "bold"}
LABEL = 33  # letters of an error type
MOST = 12  # lines of checks in the terminal


def write_trust(held: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write trust.json and trust.html; raises BadInput for what `trust` did not return, and for no folder."""
    lacks = isinstance(held, Mapping) and "verdict" not in held
    problem = Problem("the answer has no verdict", "write_trust", "what trust returned", "correct it")
    refuse([*type_problems(held, Mapping, "the answer", where="write_trust", allowed=problem.allowed),
            *([problem] if lacks else []),
            *type_problems(folder, (str, Path), "folder", where="write_trust", allowed="a path")])  # fmt: skip
    return write_whole(Path(folder), {
        "trust.json": json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "trust.html": trust_page(held),
    })  # fmt: skip


def print_trust(held: Mapping[str, Any], console: Console) -> None:
    """The page in the terminal, at most 45 lines: the verdict, what to print, power, checks."""
    width = max(console.width, LEAST)
    said = in_columns(held["verdict"]["line"], width, rest="", at_hyphens=True)
    for line in said:
        console.print(Text(line, style=STYLES[held["verdict"]["answer"]]), soft_wrap=True)
    sentences = [line for sentence in held["verdict"]["sentences"] for line in _wrapped(sentence, width)]

    mde = held["mde"]
    at = ", ".join(f"{share(row['power'])} at {words}" for words, row in marked(held))
    beyond = f", beyond {number(mde['largest'])}, the largest simulated" if abs(mde["value"]) > mde["largest"] else ""
    power = (f"Power {share(mde['power'])} at {number(mde['value'])} ({number(mde['lower'])} to "
             f"{number(mde['upper'])}){beyond}; {at}")  # fmt: skip
    above = [*sentences, *_error_lines(held, width), *_wrapped(power, width, "")]

    below, room = list[str](), LINES - len(said)
    for row in held["studies"]:
        vote = "" if row["votes"] else " (no vote)"
        line = f"{row['method']}{vote}: {row['replications']:,} replications a cell, size {share(row['size'])}, "
        below += _wrapped(f"{line}calibrated p {probability(row['calibrated'])}", width, "")
    lines = [*above, *_checks(held, width, room - len(above) - len(below)), *below]
    if len(lines) > room:
        lines = [*lines[: room - 1], "More: trust.html and trust.json."]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _wrapped(text: str, width: int, first: str = "- ") -> list[str]:
    return in_columns(text, width, first, at_hyphens=True)


def _error_lines(held: Mapping[str, Any], width: int) -> Iterator[str]:
    room = LABEL - max(WIDTH - width, 0)
    yield f"{'standard errors':<{room + 3}}{'size':>7}{'95% interval':>16}{'s.e.':>10}{'p':>9}"
    for row in held["errors"]:
        mark = " -" if not row["allowed"] else " *" if row["recommended"] else ""
        ends = interval(row["lower_size"], row["upper_size"], share)
        label = error_label(row["se_type"])
        label = label if cell_len(label) <= room else row["se_type"]  # as --errors takes it
        label = label if cell_len(label) <= room else f"{set_cell_size(label, room - 2)}.."
        yield (f"{set_cell_size(label + mark, room + 3)}{share(row['size']):>7}{ends:>16}"
               f"{number(row['se']):>10}{probability(row['pvalue']):>9}")  # fmt: skip
    tests = "".join(f", by permutation ({one['scheme']}) {probability(one['pvalue'])}" for one in held["placebos"])
    yield from _wrapped(f"* to print, - not to be printed here. p calibrated on the twins "
                        f"{probability(held['calibrated']['pvalue'])}{tests}", width, "")  # fmt: skip


def _checks(held: Mapping[str, Any], width: int, room: int) -> Iterator[str]:
    """Checks that re-estimate, the most serious first and one at least, whole, in so many lines of the terminal; no
    intervals where it is narrow."""
    if held["verdict"]["answer"] == "no claim":
        return
    rows = [row for row in held["checks"] if row["difference"] is not None]
    if rows:
        yield _check_line("change of the effect", "needed", "found", "95% jointly", "answer", width)
    lines = []
    for row in rows:  # what is left of a long name stands below its numbers
        first, *more = in_columns(row["alternative"] or row["name"], NAME, at_hyphens=True)
        needs, difference = number(row["needed"]), number(row["difference"])
        ends = interval(row["lower"], row["upper"], number)
        lines.append([_check_line(first, needs, difference, ends, row["answer"], width), *more])
    most = max(min(MOST, room - 2), 1)  # beside the head and the count of the rest
    shown = next((k for k in range(1, len(lines)) if sum(map(len, lines[: k + 1])) > most), len(lines))
    yield from (line for part in lines[:shown] for line in part)
    if shown < len(rows):
        yield f"{len(rows) - shown} more in trust.html"


def _check_line(name: str, needs: str, found: str, ends: str, answer: str, width: int) -> str:
    jointly = f" {ends:>21}" if width >= WIDTH else ""
    return f"{name}{' ' * (NAME - cell_len(name))} {needs:>8} {found:>9}{jointly}  {answer}"
