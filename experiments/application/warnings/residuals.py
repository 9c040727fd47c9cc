"""What the residuals of tables 2, 5 and 7 still hold: correlation in time, in space, within groups of units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.within import balanced_split
from estimators.linear.did import TwoWayDID
from estimators.sensitivity import residual_dependence as left
from estimators.spatial.residual_moran import permuted_pooled_moran, pooled_moran
from experiments.application.tables.ledger import Fitted
from experiments.application.warnings.case import Case, without
from results.tables.records import Fit
from results.tables.typography import model_label, short_p
from results.tables.warning import INFORMS, SILENT, WEAKENS, PanelWarning
from sim.arrays import Floats

ORDER = 45
SERIAL = 0.2  # corrected AR(1) from which errors that take periods as independent are too small
DRAWS = 199
LEAST = 10  # clusters that errors can rest on
LEVEL = 0.05
WALK = 0.99  # the AR(1) with which errors near a random walk are drawn


def check(case: Case) -> Iterator[PanelWarning]:
    """AR(1) of every model's residuals, then the spatial correlation of those of table 2."""
    if case.panel.roles.outcome is None or not case.panel.roles.regressors:
        return
    e = _residuals(case)
    serial = _serial(case, e)
    yield serial
    if case.panel.balanced:
        yield _cd(case, e, serial.numbers["ar1"] or 0.0)
    for name in case.panel.weights if case.panel.balanced else ():
        yield from _moran(case, e, name)
    for name in case.groups:
        yield _groups(case, e, name)


def _residuals(case: Case) -> Floats:
    """Of the two-way column of table 2, (T, N)."""
    own = [case.treatment] if case.panel.roles.treatment else []
    return without(case.outcome, np.stack([*own, *case.controls]))


def _serial(case: Case, e: Floats) -> PanelWarning:
    seen = np.unique(case.mask.T > 0, axis=0)
    raw = left.serial_correlation(e, case.mask)
    corrected = left.bias_corrected(raw, seen)
    numbers: dict[str, float | None] = {"ar1_raw": raw, "ar1": corrected}
    for label, other in _others(case):
        own = left.serial_correlation(other, case.mask if other.shape == case.mask.shape else None)
        numbers |= {f"ar1_raw:{label}": own, f"ar1:{label}": left.bias_corrected(own, seen)}
    t = len(case.panel.periods)
    walk = ", which cannot be told from a random walk" if corrected >= 1.0 else ""
    said = (
        f"Residuals of table 2 have AR(1) {raw:.2f} ({corrected:.2f} corrected for {t} periods{walk}): iid, HC1 and "
        "information errors are too small."
    )
    strong = corrected > SERIAL
    exposed = strong and any(r.se_type == "information" for r in case.ledger.records)
    quiet = f"Residuals of table 2 have AR(1) {raw:.2f} ({corrected:.2f} corrected)."
    severity = WEAKENS if exposed else INFORMS if strong else SILENT
    return PanelWarning.of("residual-ar1", severity, said, quiet, numbers)


def _others(case: Case) -> Iterator[tuple[str, Floats]]:
    """Residuals of the equations of table 5 and of the direct models of table 7, by a name."""
    for one in case.fitted("5"):
        if isinstance(one.estimator, TwoWayDID):
            outcome, names = one.estimator.names(one.panel.schema)
            x = np.stack([case.within(name) for name in names])
            yield f"table 5, {one.fit.mediator}, {one.fit.model}", without(case.within(outcome), x)
    for one in case.fitted("7"):
        if one.fit.transform == "direct" and one.fit.model in ("sar", "sdm"):
            yield f"table 7, {one.fit.model}, {one.fit.weights}", spatial_residuals(one)


def spatial_residuals(one: Fitted) -> Floats:
    """Q(y - rho W y) - Q X beta - Q W X theta of a direct SAR or SDM on its own panel, (T, N)."""
    slopes = dict(zip(one.estimates.terms, one.estimates.estimate[0].tolist(), strict=True))
    weights = one.panel.weights[str(one.fit.weights)]
    variables = one.panel.variables

    def lagged(name: str) -> Floats:
        return np.asarray(weights.lag(variables[name][:1]))

    outcome = str(one.panel.roles.outcome)
    e = variables[outcome][:1] - slopes["rho"] * lagged(outcome)
    for name in one.panel.roles.regressors:
        e = e - slopes[name] * variables[name][:1]
        if f"w_{name}" in slopes:
            e = e - slopes[f"w_{name}"] * lagged(name)
    return balanced_split(e)[0][0]


def _cd(case: Case, e: Floats, a: float) -> PanelWarning:
    """Pesaran's CD among those of independent errors with the units' own variances and the same AR(1)."""
    cd, t = left.pesaran_cd(e), len(e)
    within = float(np.clip(a, -WALK, WALK)) if np.isfinite(a) else 0.0
    drawn = left.simulated_cd(left.error_deviations(e), within, t, DRAWS, case.random("pesaran"))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2]).tolist()
    pvalue = _folded(cd, drawn)
    said = (
        f"Pesaran's CD of the residuals of table 2 is {cd:.1f}; independent units would give {low:.1f} to {high:.1f}: "
        "units share shocks that period effects do not remove."
    )
    quiet = f"Pesaran's CD of the residuals of table 2 is {cd:.1f}; independent units give {low:.1f} to {high:.1f}."
    numbers = {"cd": cd, "pvalue": pvalue, "lower": low, "upper": high}
    return PanelWarning.of("pesaran-cd", INFORMS if pvalue < LEVEL else SILENT, said, quiet, numbers)


def _folded(value: float, drawn: Floats) -> float:
    """Two-sided p value, the value one draw among equals."""
    above, below = float((drawn >= value).sum()), float((drawn <= value).sum())
    return min(1.0, 2.0 * (1.0 + min(above, below)) / (1.0 + len(drawn)))


def _moran(case: Case, e: Floats, name: str) -> Iterator[PanelWarning]:
    """Moran's I of the residuals of table 2 and of the spatial models of this W, which should leave none."""
    models: list[tuple[str, Fit | None, Floats]] = [("table 2", None, e)]
    models += [(f"table 7, {model_label(one.fit.model)}", one.fit, spatial_residuals(one)) for one in case.fitted("7")
               if (one.fit.transform, one.fit.model, one.fit.weights) == ("direct", "sdm", name)]  # fmt: skip
    for label, fit, residuals in models:
        weights = case.panel.weights[name]
        index = float(pooled_moran(residuals, weights))
        drawn = permuted_pooled_moran(residuals, weights, DRAWS, case.random(f"moran {name} {label}"))
        pvalue = _folded(index, drawn)
        far = pvalue < LEVEL
        remedy = f"errors clustered by {case.unit} ignore it" if fit is None else "the model does not remove it"
        said = f"Residuals of {label} correlate between neighbours (Moran's I {index:.3f}, W {name}, p " \
               f"{short_p(pvalue)}): {remedy}."  # fmt: skip
        quiet = f"Residuals of {label} are not correlated between neighbours (Moran's I = {index:.3f}, W {name})."
        clustered = fit is None and case.main_error == "cluster:unit"
        severity = (WEAKENS if clustered or fit is not None else INFORMS) if far else SILENT
        code = f"residual-moran:{name}" if fit is None else f"residual-moran:{fit.model}:{name}"
        yield PanelWarning.of(code, severity, said, quiet, {"moran": index, "pvalue": pvalue})


def _groups(case: Case, e: Floats, name: str) -> PanelWarning:
    """Whether units of one group share shocks that the main errors do not allow for."""
    codes = case.groups[name]
    own = left.group_correlation(e, codes)
    drawn = left.permuted_group_correlation(e, codes, DRAWS, case.random(f"groups {name}"))
    pvalue = _folded(own, drawn)
    alike = pvalue < LEVEL and own > 0
    inside = case.main_error == f"cluster:{name}"
    few = int(codes.max()) + 1
    remedy = f'set cluster = "{name}" ({few} clusters)' if few >= LEAST else f"{few} groups are too few to cluster by"
    said = (
        f"Residuals of two units of one {name} correlate {own:.2f} on average (p {short_p(pvalue)}), which errors "
        f"clustered by {case.unit} ignore: {remedy}."
    )
    severity = (WEAKENS if few >= LEAST else INFORMS) if alike and not inside else SILENT
    quiet = f"Residuals of two units of one {name} correlate {own:.2f} on average."
    numbers = {"correlation": own, "pvalue": pvalue, "mean_of_permutations": float(drawn.mean())}
    return PanelWarning.of(f"residual-groups:{name}", severity, said, quiet, numbers)
