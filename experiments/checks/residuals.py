"""What the residuals of tables 2, 5 and 7 still hold: correlation in time, in space, within groups of units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from estimators.core.tile import balanced_split
from estimators.linear.did import TwoWayDID
from estimators.sensitivity import sensitivity as left
from estimators.spatial.lm_tests import folded_p_values, permuted_pooled_moran, pooled_moran
from experiments.checks.case import Case, without
from experiments.tables.ledger import FittedColumn
from results.tables.records import BASELINE, INFORMS, SILENT, WEAKENS, Check, Fit
from results.tables.typography import short_p
from sim.arrays import Floats
from sim.panel import Panel

NAME = "serial and spatial correlation"
ORDER = 45
SERIAL = 0.2  # corrected AR(1) from which errors that take periods as independent are too small
PERMUTATIONS, DRAWS = 999, 199  # of units for Moran's I and groups; of panels for CD
LEAST = 10  # clusters that errors can rest on, and units whose correlations can be averaged
LEVEL = 0.05
NEXT_TO_NOTHING = 0.005  # mean correlation within groups up to which sentences would say 0.00
FAR = 2.0  # from the mean of the draws, which take the variances of units as known and may hardly differ
WALK = 0.99  # the AR(1) with which errors near a random walk are drawn


def check(case: Case) -> Iterator[Check]:
    """AR(1) of every model's residuals, then the correlation between units of those of table 2."""
    if case.panel.roles.outcome is None or not case.panel.roles.regressors:
        return
    models, numbers = list(_models(case)), dict[str, float]()
    for label, fit, panel, e in models:
        mask = case.mask if e.shape == case.mask.shape else np.ones_like(e)  # of the panel, or of its balanced part
        mask = left.on_calendar(mask, panel.periods)
        raw = left.serial_correlation(left.on_calendar(e, panel.periods), mask)
        of_units = mask.T[:1] if panel.balanced else mask.T  # where all are alike, one stands for them
        corrected = left.bias_corrected(raw, of_units > 0)
        of_model = "" if fit.table == "2" else f":{label}"
        numbers |= {f"ar1_raw{of_model}": raw, f"ar1{of_model}": corrected}
        found: dict[str, float | None] = {"ar1_raw": raw, "ar1": corrected if np.isfinite(corrected) else None}
        if panel.balanced:
            found["pesaran_cd"] = left.pesaran_cd(e)
            if weights := panel.weights.get(fit.weights or next(iter(panel.weights), "")):
                found["residual_moran"] = float(pooled_moran(e, weights))
        case.ledger.values(fit, found)  # for the foot of the model's column

    raw, corrected, t = numbers["ar1_raw"], numbers["ar1"], len(case.panel.periods)  # of table 2
    walk = ", which cannot be told from a random walk" if corrected >= 1.0 else ""
    said = (
        f"Residuals of table 2 have AR(1) {raw:.2f} ({corrected:.2f} corrected for {t} periods{walk}): iid, HC1 and "
        "information errors are too small."
    )
    quiet = f"Residuals of table 2 have AR(1) {raw:.2f} ({corrected:.2f} corrected)."
    strong = corrected > SERIAL
    exposed = strong and any(r.se_type == "information" for r in case.ledger.records)
    severity = WEAKENS if exposed else INFORMS if strong else SILENT
    yield Check.fact("residual-ar1", severity, said, quiet, numbers)

    e = models[0][-1]  # of table 2
    if case.panel.balanced and len(case.panel.units) >= LEAST and len(e) > 2:  # of two, a variance is one square
        # Pesaran's CD among those of independent errors with the units' own variances and the same AR(1).
        cd = left.pesaran_cd(e)
        within = float(np.clip(corrected, -WALK, WALK)) if np.isfinite(corrected) else 0.0
        drawn = left.simulated_cd(left.error_deviations(e), within, len(e), DRAWS, case.random("pesaran"))
        low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2]).tolist()
        pvalue = float(folded_p_values(drawn, np.array(cd)))
        said = (
            f"Pesaran's CD of the residuals of table 2 is {cd:.1f}; independent units would give {low:.1f} to "
            f"{high:.1f}: units share shocks that period effects do not remove."
        )
        quiet = f"Pesaran's CD of the residuals of table 2 is {cd:.1f}; independent units give {low:.1f} to {high:.1f}."
        facts = {"cd": cd, "pvalue": pvalue, "lower": low, "upper": high}
        far = pvalue < LEVEL and abs(cd - float(drawn.mean())) > FAR
        yield Check.fact("pesaran-cd", INFORMS if far else SILENT, said, quiet, facts)
    for name in case.panel.weights if case.panel.balanced else ():
        for label, fit, _, own in models:
            if fit.table == "2" or (fit.model, fit.weights) == ("sdm", name):
                yield _moran(case, label, own, name, spatial=fit.model == "sdm")
    for name in case.groups:
        yield _groups(case, e, name)


def _models(case: Case) -> Iterator[tuple[str, Fit, Panel, Floats]]:
    """The two-way column of table 2, the equations of table 5 and the direct SAR and SDM of table 7: what each is
    called, its place, its panel and its residuals (T, N)."""
    fit = Fit(BASELINE["controls, units, periods"], "did")
    yield "table 2", fit, case.panel, _two_way(case, case.outcome_name, case.panel.roles.regressors)
    for one in case.ledger.fitted:
        if one.fit.table == "5" and isinstance(one.estimator, TwoWayDID):
            e = _two_way(case, *one.estimator.names(one.panel.schema))
            yield f"table 5, {one.fit.mediator}, {one.fit.model}", one.fit, one.panel, e
    for one in case.ledger.fitted:
        if one.fit.table == "7" and one.fit.transform == "direct" and one.fit.model in ("sar", "sdm"):
            yield f"table 7, {one.fit.model}, {one.fit.weights}", one.fit, one.panel, spatial_residuals(one)


def _two_way(case: Case, outcome: str, names: Sequence[str]) -> Floats:
    """Residuals of a two-way regression, (T, N), as they are in the units of the outcome, not times the root of the
    panel's weights."""
    e = without(case.within(outcome), np.stack([case.within(name) for name in names]))
    return e if case.root is None else e / np.where(case.root > 0, case.root, 1.0)


def spatial_residuals(one: FittedColumn) -> Floats:
    """Q(y - rho W y) - Q X beta - Q W X theta of a direct SAR or SDM on its own panel, (T, N)."""
    slopes = dict(zip(one.estimates.terms, one.estimates.estimate[0].tolist(), strict=True))
    weights = one.panel.weights[str(one.fit.weights)]
    outcome = one.panel.variables[str(one.panel.roles.outcome)][:1]
    e = outcome - slopes["rho"] * np.asarray(weights.lag(outcome))
    for name in one.panel.roles.regressors:
        values = one.panel.variables[name][:1]
        e = e - slopes[name] * values
        if f"w_{name}" in slopes:
            e = e - slopes[f"w_{name}"] * np.asarray(weights.lag(values))
    return balanced_split(e)[0][0]


def _moran(case: Case, model: str, e: Floats, name: str, *, spatial: bool) -> Check:
    """Moran's I of the residuals of table 2, or (spatial) of the SDM of this W, which should leave none."""
    weights = case.panel.weights[name]
    index = float(pooled_moran(e, weights))
    drawn = permuted_pooled_moran(e, weights, PERMUTATIONS, case.random(f"moran {model} {name}"))
    pvalue = float(folded_p_values(drawn, np.array(index)))
    remedy = "the model does not remove it" if spatial else f"errors clustered by {case.unit} ignore it"
    label = "the SDM of table 7" if spatial else "table 2"
    said = (
        f"Residuals of {label} correlate between neighbours (Moran's I {index:.3f}, W {name}, p {short_p(pvalue)}): "
        f"{remedy}."
    )
    quiet = f"Residuals of {label} show no correlation between neighbours (Moran's I {index:.3f}, W {name})."
    ignored = spatial or case.main_error == "cluster:unit"
    severity = SILENT if pvalue >= LEVEL else WEAKENS if ignored else INFORMS
    code = f"residual-moran:sdm:{name}" if spatial else f"residual-moran:{name}"
    return Check.fact(code, severity, said, quiet, {"moran": index, "pvalue": pvalue})


def shared(correlation: float, pvalue: float) -> bool:
    """Whether a mean correlation within groups is one to speak of: neither chance nor next to nothing."""
    return pvalue < LEVEL and correlation > NEXT_TO_NOTHING


def _groups(case: Case, e: Floats, name: str) -> Check:
    """Whether units of one group share shocks that the main errors do not allow for."""
    codes = case.groups[name]
    own = left.group_correlation(e, codes, case.mask)
    drawn = left.permuted_group_correlation(e, codes, PERMUTATIONS, case.random(f"groups {name}"), case.mask)
    pvalue = float(folded_p_values(drawn, np.array(own)))
    alike = shared(own, pvalue)
    inside = case.main_error == f"cluster:{name}"
    few = int(codes.max()) + 1
    remedy = f'set cluster = "{name}" ({few} clusters)' if few >= LEAST else f"{few} groups are too few to cluster by"
    said = (
        f"Residuals of two units of one {name} correlate {own:z.2f} on average (p {short_p(pvalue)}), which errors "
        f"clustered by {case.unit} ignore: {remedy}."
    )
    severity = (WEAKENS if few >= LEAST else INFORMS) if alike and not inside else SILENT
    quiet = f"Residuals of two units of one {name} correlate {own:z.2f} on average."
    numbers = {"correlation": own, "pvalue": pvalue, "mean_of_permutations": float(drawn.mean())}
    return Check.fact(f"residual-groups:{name}", severity, said, quiet, numbers)
