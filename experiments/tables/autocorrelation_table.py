"""Table 6 and figure 2: spatial autocorrelation of the outcome, year by year, and of the two-way residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from estimators.core.estimator import holm, p_values
from estimators.spatial import lm_tests as ac
from estimators.spatial.lm_tests import EXACT_FIT, ResidualMaker, permuted_pooled_moran, pooled_moran
from experiments.panel_spec.spec import RealPanel
from experiments.panel_spec.weights import ContiguitySpec
from experiments.tables.ledger import Ledger
from results.plots.moran_map import MoranPlot, Outline, moran_figure
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    fit_columns,
    grouped,
    without_empty,
)
from results.tables.records import LEVEL, Fit, Record
from results.tables.typography import decimals, digits, moment_label, probability
from sim.arrays import Codes, Floats
from sim.errors import listed
from sim.panel import Panel
from sim.panel_files import unit_labels
from sim.streams import Streams
from sim.weights import Weights

INDICES: tuple[ac.Index, ...] = ("moran", "geary")
COLUMNS = {"moran": 1, "geary": 2, "moran-residuals": 3, "local-moran": 4}
NO_SPREAD = 1e-9  # sd of an index below which it is a constant and rounding
LOCAL_DRAWS = 19_999  # at most, unless the spec asks for more: enough for one unit of 500 to stand out alone
DETAIL = 800  # parts of the map's extent that its outlines tell apart


@dataclass(frozen=True, eq=False, slots=True)
class CrossSections:
    """The balanced part of a real panel, what is drawn for it and where its tests are kept."""

    real: RealPanel
    panel: Panel
    outcome: str
    draws: int
    ledger: Ledger

    @property
    def y(self) -> Floats:
        """The outcome, (T, N)."""
        return self.panel.variables[self.outcome][0]

    def random(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose, the same for every W."""
        return Streams(self.ledger.seed, "autocorrelation").fixed(purpose)


def add(real: RealPanel, ledger: Ledger) -> None:
    """Every year, under every W, and the residuals; the main W's local Moran and figure. Nothing without weights."""
    outcome = real.panel.roles.outcome
    if not real.panel.weights or outcome is None:
        return
    sections = CrossSections(real, real.balanced(), outcome, real.spec.inference.draws, ledger)
    panel, flat = sections.panel, ac.constant(sections.y)
    if len(panel.units) < ac.SMALLEST:
        ledger.note(f"No table 6: {len(panel.units)} units are too few for Moran's I.")
        return
    if flat.any():
        periods = listed(period for period, same in zip(panel.periods, flat, strict=True) if same)
        ledger.note(f"{outcome} is the same for all units in {periods}: Moran's I and Geary's C are not defined.")
    varying = np.flatnonzero(~flat)

    # What the numbers mean; Holm's p-values are adjusted over the periods that vary.
    draws, note = sections.draws, ledger.note
    note(
        "Table 6: z = (index - expected)/sd; a negative z of Geary's C means that neighbours are alike. "
        f"Permutation and simulation: B = {draws} draws, p = min(1, 2(1 + c)/(B + 1)) with c draws in the rarer tail. "
        "The mean of permutations is the exact one. Holm's p-values are adjusted over the periods."
    )
    note(
        "Moran's I of residuals has the moments of projected independent normal errors (projection; simulation for "
        'single periods). The row "All periods" shows the permutation of whole histories of residuals between units. '
        "This permutation allows for serial correlation, which projection does not: trust it where the two differ."
    )
    smallest = 2 / (draws + 1)
    if varying.size * smallest > LEVEL:
        note(
            f"Table 6: with {draws} draws no p-value by permutation or simulation can be below {smallest:.2g}, and "
            f"no Holm p-value over {varying.size} periods below {min(1.0, varying.size * smallest):.2g}. With draws = "
            f"{least_draws(varying.size)} or more, they can reach {LEVEL:.0%}."
        )
    if not real.panel.balanced:
        note(f"Table 6 uses the balanced part, {len(panel.units)} units x {len(panel.periods)} periods.")
    for position, (name, weights) in enumerate(panel.weights.items()):
        if ac.LinkSums.of(weights).uniform:
            ledger.note(
                f"Table 6 leaves out W {name}: this W links all units equally, so Moran's I is always -1/(N - 1)."
            )
            continue
        _residuals(sections, name, weights)
        if varying.size:
            _years(sections, varying, name, weights)
            if position == 0:
                _add_local(sections, int(varying[-1]), name, weights)


def _years(sections: CrossSections, varying: Codes, name: str, weights: Weights) -> None:
    """Both indices of the years in which the outcome varies, under three null distributions."""
    y, sums = sections.y[varying], ac.LinkSums.of(weights)
    found, k = ac.both_indices(y, weights), ac.kurtosis(y)
    drawn = ac.permuted_indices(y, weights, sections.draws, sections.random("permutations"))
    for index, estimates, simulated in zip(INDICES, found, drawn, strict=True):
        expected, normal = ac.null_moments(index, sums)
        _, randomised = ac.null_moments(index, sums, k)
        by_draws = ac.folded_p_values(simulated, estimates)
        for se_type, variance, pvalues in (
            ("normality", np.broadcast_to(normal, k.shape), None),
            ("randomisation", randomised, None),
            ("permutation", simulated.var(axis=0), by_draws),
        ):
            fits = [Fit(("6", COLUMNS[index]), index, weights=name, year=sections.panel.periods[t]) for t in varying]
            tests = [
                _test(fit, index, se_type, float(estimates[i]), expected, float(np.sqrt(max(variance[i], 0.0))),
                        sums.n, drawn=None if pvalues is None else float(pvalues[i]))
                for i, fit in enumerate(fits)
            ]  # fmt: skip
            _keep(sections.ledger, tests)


def least_draws(tests: int) -> int:
    """Draws with which one of several tests can reach the level by itself: tests x 2/(draws + 1) <= the level."""
    return int(np.ceil(2 * tests / LEVEL)) - 1


def _residuals(sections: CrossSections, name: str, weights: Weights) -> None:
    """Moran's I of the residuals of the outcome on treatment and controls with both effects, pooled and by year."""
    panel, ledger = sections.panel, sections.ledger
    maker = ResidualMaker.of(panel, panel.roles.regressors)
    e, periods, n = maker(sections.y[None])[0], len(panel.periods), len(panel.units)
    some = np.square(e).sum(axis=1) > EXACT_FIT * np.square(sections.y).sum(axis=1)
    if maker.rank < 1 or not some.any():
        ledger.note("There is no Moran's I of residuals: the regression fits the outcome without residuals.")
        return
    fit, pooled = Fit(("6", COLUMNS["moran-residuals"]), "moran-residuals", weights=name), pooled_moran(e, weights)
    mean, variance = maker.moments(weights)
    shuffled = permuted_pooled_moran(e, weights, sections.draws, sections.random("histories"))
    by_exchange = float(ac.folded_p_values(shuffled, pooled))
    index, size = float(pooled), e.size
    _keep(ledger, [_test(fit, "moran", "projection", index, mean, float(np.sqrt(variance)), size, periods)])
    _keep(ledger, [_test(fit, "moran", "permutation", index, -1 / (n - 1), float(shuffled.std()), size, periods,
                           drawn=by_exchange)])  # fmt: skip
    simulated, single = maker.simulated(weights, sections.draws, sections.random("errors")), ac.moran(e, weights)
    pvalues = ac.folded_p_values(simulated, single)
    tests = [
        _test(replace(fit, year=panel.periods[t]), "moran", "simulation", float(single[t]),
                float(simulated[:, t].mean()), float(simulated[:, t].std()), n, drawn=float(pvalues[t]))
        for t in np.flatnonzero(some)
    ]  # fmt: skip
    _keep(ledger, tests)


def _test(
    fit: Fit, term: str, se_type: str, estimate: float, expected: float, sd: float, nobs: int, periods: int = 1, *,
    drawn: float | None = None,
) -> tuple[Record, float]:  # fmt: skip
    """An index of one cross-section, or of all, under one null distribution, and its expectation there.

    z = (estimate - expected)/sd is positive for a Moran, negative for a Geary of like neighbours; z and p are None
    where nothing varies. drawn: the p value of a simulated null distribution; else it is the normal's.
    """
    z = (estimate - expected) / sd if sd > NO_SPREAD else None
    normal = None if z is None else float(p_values(np.array(z), np.array(np.inf)))
    record = Record(
        **fit.identity, term=term, estimate=estimate, se=sd, se_type=se_type, statistic=z,
        pvalue=normal if z is None or drawn is None else drawn, nobs=nobs, units=nobs // periods, periods=periods,
    )  # fmt: skip
    return record, expected


def _keep(ledger: Ledger, tests: list[tuple[Record, float]]) -> None:
    """Keep tests of one kind, of all years, with p-values adjusted over them; a single test is not adjusted."""
    adjusted = holm(np.array([1.0 if record.pvalue is None else record.pvalue for record, _ in tests]))
    for (record, expected), together in zip(tests, adjusted, strict=True):
        ledger.records.append(record)
        ledger.value(record, "expected", expected, record.se_type)
        if record.year is not None:
            ledger.value(record, "holm", float(together), record.se_type)


def _add_local(sections: CrossSections, last: int, name: str, weights: Weights) -> None:
    """Local Moran in one period, each unit's as statistics, and the figure."""
    panel, ledger, y, year = sections.panel, sections.ledger, sections.y[last], sections.panel.periods[last]
    quadrant = ac.quadrants(y, weights)
    alone = least_draws(len(panel.units))
    draws = max(sections.draws, min(alone, LOCAL_DRAWS))
    pvalues = ac.local_p_values(y, weights, draws, sections.random("conditional permutations"))
    adjusted = ac.false_discovery_rate(pvalues)
    fit = Fit(("6", COLUMNS["local-moran"]), "local-moran", weights=name, year=year)
    for unit, *values in zip(panel.units, ac.local_moran(y, weights), quadrant, pvalues, adjusted, strict=True):
        ledger.values(fit, dict(zip(("local_i", "quadrant", "p", "fdr_p"), map(float, values), strict=True)), unit)
    if draws < alone:
        ledger.note(
            f"Local Moran: with {draws} draws no p-value is below {2 / (draws + 1):.2g}. A unit can pass a false "
            f"discovery rate of {LEVEL:.0%} only together with others; with draws = {alone}, a unit can pass alone."
        )

    index, z = ac.moran(y, weights), ac.deviations(y)
    mean, variance = ac.null_moments("moran", ac.LinkSums.of(weights), ac.kurtosis(y))
    outlines, surroundings = _outlines(sections.real, panel.units)
    names, places = ("longitude", "latitude"), None
    if set(names) <= set(panel.attributes):
        places = np.column_stack([np.asarray(panel.attributes[place], dtype=np.float64) for place in names])
    plot = MoranPlot(
        units=panel.units,
        outcome=ledger.name(sections.outcome),
        year=year,
        weights=name,
        row_stochastic=weights.row_stochastic,
        index=float(index),
        pvalue=float(p_values((index - mean) / np.sqrt(max(float(variance), NO_SPREAD**2)), np.array(np.inf))),
        z=z / z.std(),
        lag=len(y) / weights.matrix.sum() * weights.lag(z / z.std()),
        quadrant=quadrant,
        pvalues=pvalues,
        adjusted=adjusted,
        draws=draws,
        places=places,
        outlines=outlines,
        surroundings=surroundings,
    )
    ledger.draw(moran_figure, plot)


def _outlines(real: RealPanel, units: tuple[str, ...]) -> tuple[tuple[Outline, ...] | None, tuple[Outline, ...]]:
    """The polygons of the units and of what surrounds them, from the map of the spec's first contiguity weights."""
    section = next((weights for weights in real.spec.weights if isinstance(weights, ContiguitySpec)), None)
    if section is None:
        return None, ()
    import geopandas

    read = geopandas.read_parquet if section.path.suffix.lower() == ".parquet" else geopandas.read_file
    table = read(section.path)
    left, low, right, high = table.total_bounds
    shapes = table.geometry.simplify(max(right - left, high - low) / DETAIL)
    rings: list[Outline] = []  # outer and inner ones of a polygon or several; none of any other shape
    for shape in shapes:
        parts = [part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon"]
        lines = [ring for part in parts for ring in (part.exterior, *part.interiors)]
        rings.append(tuple(np.asarray(line.coords)[:, :2] for line in lines))
    labels = unit_labels(table[section.unit])
    position = {label: i for i, label in enumerate(labels)}
    others = tuple(own for label, own in zip(labels, rings, strict=True) if label not in set(units) and own)
    return tuple(rings[position[unit]] for unit in units), others


# How it is arranged: the records of a document as a table.


MEASURES = {
    "moran": ("Moran's I", "I"),
    "geary": ("Geary's C", "C"),
    "moran-residuals": ("Moran's I of residuals", "I"),
}
ALL_PERIODS = "All periods"
_PREFERRED = {"moran": "randomisation", "geary": "randomisation", "moran-residuals": "permutation"}
FALSE_DISCOVERIES = 0.05
QUADRANTS = {1: "High among high", 3: "Low among low", 2: "Low among high", 4: "High among low"}  # esda's codes


def autocorrelation(setting: TableSetting) -> list[JournalTable]:
    """Table 6: a row a year; Moran's I, Geary's C, and Moran's I of the two-way residuals."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "6", MEASURES)
    return [_by_year(setting, weights, found) for (weights,), found in grouped(columns, "weights").items()]


def _by_year(setting: TableSetting, weights: str | None, columns: Sequence[FitColumn]) -> JournalTable:
    models = [model for model in MEASURES if any(column.model == model for column in columns)]
    found = {(column.model, column.year): column for column in columns}
    years = years_of(columns)
    heads: list[Heading] = []
    cells: dict[int | None, list[str]] = {year: [] for year in years}
    kinds: dict[str, None] = {}
    for model in models:
        group, sign = MEASURES[model]
        heads += [Heading(sign, "", group), Heading("z", "", group), Heading("p", "", group)]
        adjusted = any(column.by_term for column in columns if column.model == model)
        heads += [Heading("Holm p", "", group)] if adjusted else []
        for year in years:
            column = found.get((model, year))
            by_kind = {} if column is None else {record.se_type: record for record in column.records}
            preferred = (setting.asked or "", _PREFERRED[model], *by_kind)
            record = next((by_kind[kind] for kind in preferred if kind in by_kind), None)
            if record is None:
                cells[year] += ["", "", ""]
            else:
                cells[year] += [digits(record.estimate), decimals(record.statistic), probability(record.pvalue)]
                of_rows = f'row "{ALL_PERIODS}"' if year is None else "single periods"  # of what is tested in two ways
                whose = f" ({of_rows})" if model == "moran-residuals" else ""
                kinds[f"{group} {moment_label(record.se_type)}{whose}"] = None
            if adjusted:
                holm = None if column is None or record is None else column.by_term.get(("holm", record.se_type))
                cells[year].append(probability(holm))
    rows = tuple(Row(ALL_PERIODS if year is None else str(year), tuple(cells[year])) for year in years)
    notes = (f"z and p: {'; '.join(kinds)}. p is two-sided; Holm p allows for the number of periods.",
             setting.data)  # fmt: skip
    title = f"Spatial autocorrelation of {setting.outcome}, W {weights}"
    return JournalTable("6", title, tuple(heads), rows, notes)


def years_of(columns: Sequence[FitColumn]) -> list[int | None]:
    """The years of fits, in order, all of them together last."""
    return sorted({column.year for column in columns}, key=lambda year: (year is None, year or 0))


def every_moment(setting: TableSetting) -> list[JournalTable]:
    """z and p of table 6 by every method, with Holm's p values."""
    setting, tables = setting.balanced_part, []
    for model, (name, _) in MEASURES.items():
        columns = fit_columns(setting.document, "6", (model,))
        for (weights,), of_weights in grouped(columns, "weights").items():
            kinds = list(dict.fromkeys(kind for column in of_weights for kind in column.errors))
            by_year = {column.year: column for column in of_weights}
            heads = [Heading(label, "", kind) for kind in kinds for label in ("sd", "z", "p", "Holm p")]
            rows = []
            for year in years_of(of_weights):
                cells: list[str] = []
                for kind in kinds:
                    record = next((record for record in by_year[year].records if record.se_type == kind), None)
                    if record is None:
                        cells += ["", "", "", ""]
                        continue
                    holm = by_year[year].by_term.get(("holm", kind))
                    cells += [digits(record.se), decimals(record.statistic), probability(record.pvalue)]
                    cells.append(probability(holm))
                rows.append(Row(ALL_PERIODS if year is None else str(year), tuple(cells)))
            tables.append(JournalTable("A", f"{name}, {setting.outcome}, by every method, W {weights}", tuple(heads),
                                       tuple(rows), (setting.data,), appendix=True))  # fmt: skip
    return tables


def local_clusters(setting: TableSetting) -> list[JournalTable]:
    """The units whose local Moran's I is clear of chance at a false discovery rate of 5%."""
    setting, tables = setting.balanced_part, []
    for column in fit_columns(setting.document, "6", ("local-moran",)):
        units = dict.fromkeys(unit for _, unit in column.by_term)
        clear = [unit for unit in units if column.by_term.get(("fdr_p", unit), 1.0) <= FALSE_DISCOVERIES]
        rows: list[Row] = []
        for code, kind in QUADRANTS.items():
            members = [unit for unit in clear if column.by_term.get(("quadrant", unit)) == code]
            rows.append(Row(kind, kind="head"))
            for unit in members:
                value, p, adjusted = (column.by_term.get((name, unit)) for name in ("local_i", "p", "fdr_p"))
                rows.append(Row(unit, (digits(value), probability(p), probability(adjusted))))
        heads = tuple(Heading(label) for label in ("local I", "p", "p, false discovery rate"))
        note = (
            "Units with a p value below 0.05 after Benjamini and Hochberg's adjustment; p by conditional permutation."
        )
        title = f"Local Moran clusters of {setting.outcome}, {column.year}, W {column.weights}"
        tables.append(JournalTable("A", title, heads, without_empty(rows), (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


TABLES = ("6",)
LAYOUTS = {6: autocorrelation, 104: every_moment, 105: local_clusters}
