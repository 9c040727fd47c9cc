"""A document with records for every table, several W, transforms and error types, as `estimate` makes them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.tables.ledger import journal_tables
from results.tables.journal_table import JournalTable
from results.tables.records import BASELINE, ROBUSTNESS, SPATIAL, Document, Figure, Fit, Record

CONTROLS = ("inv", "road_pc")
LINEAR = ("iid", "hc1", "cluster:unit")
SPATIAL_ERRORS = ("information", "hessian", "cluster:unit")
YEARS = (2006, 2007)
FACTS: Mapping[str, Any] = {
    "digest": "5f3c", "units": 285, "periods": 18, "first_period": 2006, "last_period": 2023, "nobs": 5130,
    "balanced": True, "outcome": "icr", "treatment": "did", "treatment_column": "eip", "unit": "city", "period": "year",
    "controls": list(CONTROLS),
    "weights": {"knn-6": {"digest": "aa", "standardize": "row"}, "queen": {"digest": "bb", "standardize": "row"}},
}  # fmt: skip
POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # of a png
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4"/></svg>'


def record(fit: Fit, term: str, estimate: float, se: float | None, kind: str, **other: Any) -> Record:
    """A record with the normal distribution's statistic and interval; `other` replaces fields."""
    t = None if se is None or term == "sigma2" else estimate / se
    p = None if t is None else 0.001 if abs(t) > 2.58 else 0.04 if abs(t) > 1.96 else 0.08 if abs(t) > 1.645 else 0.4
    fields: dict[str, Any] = {
        "term": term, "estimate": estimate, "se": se, "se_type": kind, "statistic": t,
        "pvalue": p, "lower": None if se is None else estimate - 1.96 * se,
        "upper": None if se is None else estimate + 1.96 * se, "nobs": 5130, "units": 285, "periods": 18,
        "effects_method": "delta" if ":" in term else None,
    }  # fmt: skip
    return Record(**{**fit.identity, **fields, **other})


def records(fit: Fit, estimates: Mapping[str, float], kinds: Iterable[str] = LINEAR, **other: Any) -> list[Record]:
    """All terms under all error types; standard errors are .002 in the first type, .001 more in each other."""
    return [record(fit, term, value, 0.002 + 0.001 * number, kind, **other)
            for number, kind in enumerate(kinds) for term, value in estimates.items()]  # fmt: skip


def statistics(fit: Fit, term: str | None = None, **values: float | None) -> list[Record]:
    """Statistics of a fit."""
    return [Record(**fit.identity, term=term, name=name, estimate=value) for name, value in values.items()]


def _drawn(form: str) -> bytes:
    """The picture, or one point of it as a png."""
    return SVG.encode() if form == "svg" else base64.b64decode(POINT)


def full_document(facts: Mapping[str, Any] = FACTS) -> Document:
    """Every table."""
    parts = [
        _descriptives(),
        _baseline(),
        _checks(),
        _subsamples(),
        _mediation(),
        _autocorrelation(),
        _spatial(),
        _menu(),
    ]
    figures = (Figure("figure-2", "Moran scatter plot", "Standardised icr against its lag.", _drawn),)
    return Document(facts, tuple(r for part, _ in parts for r in part), tuple(s for _, part in parts for s in part),
                    ("A note & a <b>caution</b> for the reader: 50% of a_b.",), 0, figures)  # fmt: skip


Part = tuple[list[Record], list[Record]]


def _descriptives() -> Part:
    fit = Fit(("1", 1), "descriptive")
    values = {"mean": 0.4402, "sd": 0.1091, "min": 0.2003, "max": 0.8402, "nobs": 5130.0, "sd_between": 0.1,
              "min_between": 0.25, "max_between": 0.8, "sd_within": 0.03,
              "min_within": 0.3, "max_within": 0.6}  # fmt: skip
    return [], [item for term in ("icr", "did", *CONTROLS) for item in statistics(fit, term, **values)]


def _baseline() -> Part:
    controls = dict.fromkeys(CONTROLS, 0.0763)
    found: list[Record] = []
    said: list[Record] = []
    for names, place in BASELINE.items():
        terms = {"did": 0.0157, **(controls if "controls" in names else {}), "constant": 0.4063}
        for model in ("pooled", "random") if place[1] < 4 else ("did",):
            fit = Fit(place, model)
            found += records(fit, terms)
            said += statistics(
                fit, r2=0.9298, **{"floored:hc1": 1.0}, **({"r2_overall": 0.353} if model == "random" else {})
            )
    fit = Fit(BASELINE["controls, units, periods"], "did")
    found.append(record(fit, "did", 0.0157, None, "wild:unit", pvalue=0.02, lower=0.0012, upper=0.0301))
    return found, said


def _checks() -> Part:
    first, second = Fit(("3", 1), "did", sample="without capitals"), Fit(("3", 2), "did")
    terms = {"did": 0.0212, **dict.fromkeys(CONTROLS, 0.087)}
    found = records(first, terms, units=260) + records(second, {**terms, "low_carbon": 0.0032})
    return found, statistics(first, r2=0.9) + statistics(second, "low_carbon", correlation=0.2856)


def _subsamples() -> Part:
    found: list[Record] = []
    for number, value in enumerate(("east", "west")):
        found += records(Fit(("4", number + 1), "did", sample=f"region = {value}"), {"did": 0.0132 + 0.0015 * number})
    test = Fit(("4", 2), "interaction", sample="region")
    alone = Fit(("4", 2), "interaction", sample="province")
    found += records(test, {"did x west": 0.0015})
    said = statistics(test, wald=0.1, wald_p=0.75, permutation_p=0.8, permutation_p_mcse=0.013)
    return found, said + statistics(alone, wald=31.5, wald_p=0.00002)


def _mediation() -> Part:
    found: list[Record] = []
    said: list[Record] = []
    for number, name in enumerate(("gpat", "ent")):
        first, second = ("5", 2 * number + 1), ("5", 2 * number + 2)
        found += records(Fit(first, "mediator", mediator=name), {"did": 0.0925, **dict.fromkeys(CONTROLS, 0.3)})
        found += records(Fit(second, "outcome", mediator=name), {"did": 0.0152, name: 0.0072, CONTROLS[0]: 0.07})
        fit = Fit(second, "mediation", mediator=name)
        found += records(fit, {"nie": 0.000666, "nde": 0.0152, "total": 0.01587, "proportion": 0.042},
                         ("delta", "sobel", "monte-carlo", "bootstrap:unit"))  # fmt: skip
        said += statistics(fit, rho_at_zero=0.07, r2_product_at_zero=0.005)
        said += statistics(fit, "rho = -0.5", nie_at_rho=0.001, nie_at_rho_lower=-0.002, nie_at_rho_upper=0.004)
    return found, said


def _autocorrelation() -> Part:
    found: list[Record] = []
    said: list[Record] = []
    for weights in ("knn-6", "queen"):
        for year in YEARS:
            for column, model, value in ((1, "moran", 0.432), (2, "geary", 0.522)):
                fit = Fit(("6", column), model, weights=weights, year=year)
                for kind in ("normality", "randomisation", "permutation"):
                    found.append(record(fit, model, value, 0.0324, kind, statistic=13.318, pvalue=1e-9))
                    said += statistics(fit, kind, holm=0.0002)
        local = Fit(("6", 4), "local-moran", weights=weights, year=2007)
        for unit, code, p in (("Beijing", 1.0, 0.001), ("Sanya", 3.0, 0.04), ("nowhere", 2.0, 0.6)):
            said += statistics(local, unit, local_i=1.5, quadrant=code, p=p / 2, fdr_p=p)
        pooled = Fit(("6", 3), "moran-residuals", weights=weights)
        found.append(record(pooled, "moran", 0.05, 0.01, "projection"))
    return found, said


def _spatial() -> Part:
    found: list[Record] = []
    said: list[Record] = []
    base = {"did": 0.0128, **dict.fromkeys(CONTROLS, 0.0774)}
    lags = {f"w_{name}": 0.0124 for name in base}
    effects = {f"{kind}:{name}": 0.0131 for kind in ("direct", "indirect", "total") for name in base}
    terms = {
        "sem": base | {"lambda": 0.1657}, "sar": base | {"rho": 0.168} | effects,
        "sdm": base | lags | {"rho": 0.1492} | effects, "slx": base | lags | effects,
        "sdem": base | lags | {"lambda": 0.1} | effects, "sac": base | {"rho": 0.1, "lambda": 0.1} | effects,
    }  # fmt: skip
    for weights in ("knn-6", "queen"):
        for transform in ("direct", "lee-yu"):
            for model, found_terms in terms.items():
                fit = Fit(SPATIAL[model], model, transform, weights=weights)
                found += records(fit, found_terms | {"sigma2": 0.0009}, SPATIAL_ERRORS)
                said += statistics(fit, loglik=10954.386, aic=-21880.1, bic=-21800.2, r2=0.93, r2_naive_overall=0.133)
                if model == "sdm":
                    said += statistics(fit, wald_sar=55.1, wald_sar_p=1e-9, lr_sar=66.6, lr_sar_p=0.0123)
        fit = Fit(("7", 0), "lm", weights=weights)
        said += statistics(fit, lm_lag=60.33, lm_lag_p=1e-9, lm_err=72.92, lm_err_p=1e-9, rlm_lag=1.11, rlm_lag_p=0.29,
                           rlm_err=13.7, rlm_err_p=0.0002, lm_lag_elhorst=46.9, lm_lag_elhorst_p=1e-9)  # fmt: skip
    return found, said


def _menu() -> Part:
    words = (
        "province-by-year effects", "unit-specific linear trends", "outcome winsorised at 1% and 99%", "2010-2020",
        "without east", "lagged by 1", "with low_carbon", "matched, nearest neighbour", "icr2 as outcome",
    )  # fmt: skip
    found = [item for number, word in enumerate(words, start=1)
             for item in records(Fit((ROBUSTNESS, number), "did", sample=word), {"did": 0.0121})]  # fmt: skip
    balance = Fit((ROBUSTNESS, 8), "psm", sample="matched, nearest neighbour")
    return found, [item for term in CONTROLS
                   for item in statistics(balance, term, logit_se=1.0, bias_after=3.0, bias_before=40.0)]  # fmt: skip


def only(name: str, errors: str | None = None, document: Document | None = None) -> JournalTable:
    """The first table of a number, which a letter follows where several share it."""
    tables = journal_tables(document or full_document(), errors)
    return next(table for table in tables if number_of(table) == name)


def number_of(table: JournalTable) -> str:
    """A table's name without the letter that tells it from others of its number."""
    return table.name.rstrip("abcdefghijklmnopqrstuvwxyz")


def cells(table: JournalTable, label: str, below: int = 0) -> tuple[str, ...]:
    """Cells of the row of a label, or of a row below it."""
    return table.rows[[row.label for row in table.rows].index(label) + below].cells
