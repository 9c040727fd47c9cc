"""A document with records for every table, whose numbers each occur once: an exchange of two would be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results.tables.records import Agreement, Document, Fit, Record

STAR_CLASSES = ((1, 99), (101, 499), (501, 999), (1001, 1499))  # p values in 1/10,000: ***, **, *, none
FACTS: dict[str, Any] = {
    "digest": "ab12", "units": 31, "periods": 9, "first_period": 2001, "last_period": 2009, "nobs": 279,
    "balanced": True, "synthetic": False, "outcome": "growth", "treatment": "did", "treatment_column": "park",
    "unit": "county", "period": "year", "controls": ["rain", "soil"],
    "weights": {"ring": {"digest": "aa", "standardize": "row"}, "queue": {"digest": "bb", "standardize": "row"}},
}  # fmt: skip
PART = {"units": 29, "periods": 7, "first_period": 2003, "last_period": 2009, "nobs": 203}
UNBALANCED = {**FACTS, "balanced": False, "synthetic": True, "balanced_part": PART}
ASKED: dict[str, tuple[str | None, Mapping[str, Any]]] = {  # error type asked for, facts of the panel
    "usual": (None, FACTS), "iid": ("iid", FACTS), "hc1": ("hc1", FACTS), "hessian": ("hessian", FACTS),
    "clustered": ("cluster:unit", FACTS), "wild": ("wild:unit", FACTS), "unbalanced": (None, UNBALANCED),
}  # fmt: skip
LINEAR = ("iid", "hc1", "cluster:unit")
LIKELIHOOD = ("information", "hessian", "cluster:unit")
CONTROLS = ("rain", "soil")
EFFECTS = ("direct", "indirect", "total")
RESIDUALS = ("ar1_raw", "ar1", "pesaran_cd", "residual_moran")
WEIGHTS = ("ring", "queue")


@dataclass
class Book:
    """Records and statistics in the order in which they were added."""

    records: list[Record] = field(default_factory=list)
    statistics: list[Record] = field(default_factory=list)
    _drawn: dict[str, int] = field(default_factory=dict)
    _unused: list[Iterator[int]] = field(default_factory=lambda: [iter(()) for _ in STAR_CLASSES])

    def _next(self, kind: str) -> int:
        self._drawn[kind] = self._drawn.get(kind, 0) + 1
        return self._drawn[kind]

    def number(self) -> float:
        """A number with four decimals between .1 and 10."""
        return (1001 + self._next("number") * 7919 % 98993) / 10_000

    def hundred(self) -> float:
        """A number with four decimals above 100, where no other is."""
        return (1_000_003 + 7 * self._next("hundred")) / 10_000

    def count(self) -> float:
        """A whole number above 1,000."""
        return 1000.0 + self._next("count")

    def test(self) -> float:
        """A test statistic with three decimals."""
        return (1001 + self._next("test") * 797 % 98993) / 1000

    def share(self) -> float:
        """A p value above .15."""
        return (1501 + self._next("share") * 101 % 8387) / 10_000

    def p_value(self, stars: int) -> float:
        """A p value that gives so many stars; from 0 stars on it is below .15."""
        at = 3 - stars
        value = next(self._unused[at], None)
        if value is None:
            low, high = STAR_CLASSES[at]
            self._unused[at] = iter(range(high, low - 1, -1))
            value = next(self._unused[at])
        return value / 10_000

    def fit(self, fit: Fit, terms: Iterable[str], errors: Iterable[str], method: str = "delta", **fixed: Any) -> None:
        """Add every term under every error type; `fixed` replaces values. Error types of a term differ in stars."""
        size = {name: int(self.count()) for name in ("nobs", "units", "periods")}
        found: dict[str, float] = {}
        for e, error in enumerate(errors):
            for k, term in enumerate(terms):
                estimate = found.setdefault(term, self.number() * (-1.0 if k % 3 == 2 else 1.0))
                values: dict[str, Any] = {
                    "estimate": estimate, "se": self.number(), "statistic": self.test(),
                    "pvalue": self.p_value((e + k + fit.column) % 4), "lower": -self.number(), "upper": self.number(),
                    "effects_method": method if term.split(":")[0] in EFFECTS else None,
                }  # fmt: skip
                self.records.append(Record(**fit.identity, term=term, se_type=error, **{**values, **size, **fixed}))

    def say(self, fit: Fit, /, term: str | None = None, **values: float | None) -> None:
        """Add statistics of a fit, or of a term of it."""
        self.statistics += [Record(**fit.identity, term=term, name=name, estimate=x) for name, x in values.items()]

    def numbers(self, *names: str) -> dict[str, float]:
        return {name: self.number() for name in names}


def _tables_1_to_4(book: Book) -> None:
    for term in ("growth", "did", *CONTROLS):
        fit = Fit(("1", 1), "descriptive")
        book.say(fit, term, mean=book.number(), nobs=book.count())
        for part in ("", "_between", "_within") if term != "soil" else ("",):
            book.say(fit, term, **book.numbers(*(f"{name}{part}" for name in ("sd", "min", "max"))))
    within = [Fit(("2", column), "did") for column in (4, 5)]
    for fit in (*(Fit(("2", column), model) for model in ("pooled", "random") for column in (1, 2, 3)), *within):
        book.fit(fit, ("did", *(CONTROLS if fit.column in (2, 3, 4, 5) else ()), "constant"), LINEAR)
        book.say(fit, r2=book.number(), r2_adjusted=book.number(), **{"clusters:unit": 31.0})
        if fit.model == "random":
            book.say(fit, **book.numbers("r2_within", "r2_between", "r2_overall", "sigma_u", "sigma_e", "theta"))
    own = next(record.estimate for record in book.records if record.place == ("2", 5) and record.term == "did")
    book.fit(within[1], ("did",), ("wild:unit",), se=None, statistic=None, pvalue=0.0307, estimate=own)
    book.say(within[0], **{"floored:hc1": 1.0})
    book.say(within[1], **{name: book.hundred() for name in RESIDUALS})
    capitals, policy = Fit(("3", 1), "did", sample="without capitals"), Fit(("3", 2), "did")
    book.fit(capitals, ("did", *CONTROLS), LINEAR)
    book.fit(policy, ("did", *CONTROLS, "low_carbon"), LINEAR)
    for fit in (capitals, policy):
        book.say(fit, r2=book.number())
    book.say(policy, "low_carbon", correlation=book.number(), correlation_within=-book.number())
    for column, sample in enumerate(("region = east", "region = west", "size = big"), start=1):
        fit = Fit(("4", column), "did", sample=sample)
        book.fit(fit, ("did", "rain"), LINEAR)
        book.say(fit, r2=book.number())
    region, province = (Fit(("4", 0), "interaction", sample=name) for name in ("region", "province"))
    book.fit(region, ("did x west",), LINEAR)
    book.say(region, wald=book.test(), wald_p=book.share(), permutation_p=book.share(),
             permutation_p_mcse=book.number())  # fmt: skip
    book.fit(province, ("did x north",), LINEAR)
    book.say(province, wald=book.test(), wald_p=0.00002)


def _table_5(book: Book) -> None:
    for column, name in ((1, "fdi"), (3, "patents")):
        first, second, through = (
            Fit(("5", column), "mediator", mediator=name), Fit(("5", column + 1), "outcome", mediator=name),
            Fit(("5", column + 1), "mediation", mediator=name),
        )  # fmt: skip
        book.fit(first, ("did", *CONTROLS), LINEAR)
        book.fit(second, ("did", name, *CONTROLS), LINEAR)
        book.fit(through, ("nie", "nde", "total", "proportion"), ("delta", "sobel", "monte-carlo", "bootstrap:unit"))
        for fit in (first, second):
            book.say(fit, r2=book.number())
            book.say(fit, **{name: book.hundred() for name in RESIDUALS})
        book.say(through, **book.numbers("rho_at_zero", "r2_product_at_zero"))
        for rho in ("rho = -0.5", "rho = 0", "rho = 0.5"):
            book.say(through, rho, **book.numbers("nie_at_rho", "nie_at_rho_lower", "nie_at_rho_upper"))


def _table_6(book: Book) -> None:
    moments = ("normality", "randomisation", "permutation")
    for weights in WEIGHTS:
        for column, model in enumerate(("moran", "geary", "moran-residuals"), start=1):
            residuals = model == "moran-residuals"
            for year in (2001, 2002, 2003, *([None] if residuals else [])):
                fit = Fit(("6", column), model, weights=weights, year=year)
                kinds = moments if not residuals else ("projection",) if year is None else ("permutation", "simulation")
                for kind in kinds:
                    book.fit(fit, ("geary" if model == "geary" else "moran",), (kind,), pvalue=book.share())
                    if year is not None:
                        book.say(fit, kind, holm=book.share())


def _table_7(book: Book) -> None:
    base, lags = ("did", *CONTROLS), ("w_did", "w_rain", "w_soil")
    columns = {"sem": 1, "sar": 2, "sdm": 3, "slx": 4, "sdem": 5, "sac": 6}
    fitted = {"lee-yu": ("sar", "sdm", "sac"), "direct": ("sem", "sar", "sdm"), None: ("slx",)}
    spatial = {"sar": ("rho",), "sdm": ("rho",), "sem": ("lambda",), "sac": ("rho", "lambda")}
    for weights in WEIGHTS:
        for transform, model in ((transform, model) for transform, models in fitted.items() for model in models):
            fit = Fit(("7", columns[model]), model, transform, weights=weights)
            effects = () if model == "sem" else tuple(f"{effect}:{name}" for effect in EFFECTS for name in base)
            terms = (*base, *(lags if model in ("sdm", "slx") else ()), *spatial.get(model, ()), *effects, "sigma2")
            book.fit(fit, terms, LIKELIHOOD, "simulation" if transform == "lee-yu" else "delta")
            book.say(fit, loglik=book.test(), aic=-book.test(), bic=-book.test(), r2=book.number(),
                     r2_within=book.number(), r2_corr=book.number())  # fmt: skip
            book.say(fit, **book.numbers(*(f"r2_{form}_{part}" for form in ("reduced", "naive")
                                           for part in ("within", "between", "overall"))))  # fmt: skip
            if transform == "direct" and model != "sem":
                book.say(fit, **{name: book.hundred() for name in RESIDUALS})
            if model == "sdm":
                book.say(fit, **{name: book.test() for name in ("lr_sar", "lr_sem", "wald_sar", "wald_sem")})
                book.say(fit, lr_sar_p=book.share(), lr_sem_p=0.00001, wald_sar_p=book.share(),
                         wald_sem_p=book.share())  # fmt: skip
        for ending in ("", "_elhorst"):
            tests = [f"{name}{ending}" for name in ("lm_lag", "lm_err", "rlm_lag", "rlm_err")]
            book.say(Fit(("7", 0), "lm", weights=weights), **{name: book.test() for name in tests})
            book.say(Fit(("7", 0), "lm", weights=weights), **{f"{name}_p": book.share() for name in tests})


def _tables_s(book: Book) -> None:
    averages = ("overall", "overall:event", "overall:cohort", "overall:calendar")
    models = ("did", "event-study", "callaway-santanna", "callaway-santanna", "imputation", "two-stage", "sun-abraham",
              "stacked")  # fmt: skip
    for column, model in enumerate(models, start=1):
        fit = Fit(("S", column), model, {3: "never", 4: "not-yet, dr"}.get(column))
        events = (-2, -1, 0, 1) if model in ("imputation", "two-stage") else (-2, 0, 1)
        terms = ("did",) if model == "did" else (*averages, *(f"event({event})" for event in events))
        book.fit(fit, terms, LINEAR)
        book.say(fit, treated_units=book.count(), cohorts=book.count())
        if model != "did":
            book.say(fit, pretrend_p=book.share(), pretrend_hotelling_p=book.share(), uniform=book.number())
        if fit.transform is not None:
            book.say(fit, cells=book.count(), left_out=book.count())
    bacon = Fit(("S2", 1), "goodman-bacon")
    for kind in ("treated v never", "earlier v later", "later v earlier"):
        book.say(bacon, kind, weight=book.number(), mean=-book.number(), comparisons=book.count())
    book.say(bacon, twfe=book.number())
    for column, transform in ((2, None), (3, "controls")):
        names = ("coefficient", "cells", "negative_share", "negative_sum", "sensitivity", "reversal")[: 8 - column]
        values = {name: book.count() if name == "cells" else book.number() for name in names}
        book.say(Fit(("S2", column), "dcdh-weights", transform), **values)
    switch, roth = Fit(("S2", 4), "dcdh"), Fit(("S2", 5), "roth")
    book.fit(switch, ("event(0)", "placebo"), LINEAR)
    book.say(switch, switchers=book.count())
    for power in ("0.5", "0.8"):
        book.say(roth, power, **book.numbers("slope", "bias_untested", "bias_passed", "bayes_factor",
                                             "likelihood_ratio"))  # fmt: skip
    book.say(roth, size=book.number(), mean_effect=book.number(), before=3.0, after=5.0)
    for column, effect in ((1, "event(0)"), (2, "mean of event(0) to event(1)")):
        original = {"original_lower": -book.number(), "original_upper": book.number()}
        for restriction, scale in (("relative magnitudes", 1.0), ("smoothness", 0.5)):
            fit = Fit(("S3", column), "honest", restriction, effect)
            book.say(fit, **original, breakdown=scale * book.number(), scale=scale)
            for m in ("0", "0.5", "1"):
                known = (column, restriction, m) != (2, "smoothness", "1")
                book.say(fit, m, lower=-book.number() if known else None, upper=book.number() if known else None)
    after = ("att", "spill:treated", "spill:untreated", "did_bias")
    near, rings = Fit(("S4", 1), "spatial-did", weights="ring"), Fit(("S4", 2), "rings")
    book.fit(near, ("did", "w_did", *after), LINEAR)
    book.fit(rings, ("did", "untreated:0-100", "treated:0-100", *after), LINEAR)
    for fit in (near, rings):
        book.say(fit, unexposed=book.number(), **{"vif:did": book.number()})


def _table_c(book: Book) -> None:
    units = {"north": 0.4321, "south": 0.2109, "middle": 0.1234, "coast": 0.0876, "hill": 0.0543, "dale": 0.0321,
             "moor": 0.0217, "fen": 0.0165, "isle": 0.0112, "cape": 0.0081, "bay": 0.0021}  # fmt: skip
    periods = {"2001": 0.0127, "2002": 0.2874, "2003": 0.6999}
    for column, model in enumerate(("synthetic-did", "synthetic-control", "equally-weighted-did"), start=1):
        fit = Fit(("C", column), model)
        book.fit(fit, ("did",), ("jackknife:unit",))
        none = {"effective_periods": 0.0} if model == "synthetic-control" else {}
        book.say(
            fit, **book.numbers("pre_rmse"), effective_units=book.test(), **({"effective_periods": book.test()} | none)
        )
        book.say(fit, treated_units=book.count(), control_units=book.count(), treated_cells=book.count())
        for date in ("2004", "2006"):
            book.say(fit, date, effect=book.number(), units=float({"2004": 1, "2006": 13}[date]), cells=book.count())
        for position, (unit, weight) in enumerate(units.items()):
            turned = list(units.values())[(position + 3) % len(units)]
            own = {"synthetic-did": weight, "synthetic-control": turned}.get(model, 1 / 13)
            book.say(fit, unit, unit_weight=own)
        book.say(fit, "loch", unit_weight=0.0004 if column < 3 else 1 / 13)
        book.say(fit, "glen", unit_weight=0.0003 if column < 3 else 1 / 13)
        for period, weight in periods.items():
            own = {"synthetic-did": weight, "synthetic-control": 0.0}.get(model, 1 / 3)
            book.say(fit, period, period_weight=own)


def _table_r(book: Book) -> None:
    menu = ("province-by-year effects", "2003-2007", "without east", "lagged by 1", "with low_carbon", "matched")
    edges = (0.01, 0.05, 0.10, 0.0099, 0.0499, 0.0999)  # p values by column
    for column, (words, p) in enumerate(zip(menu, edges, strict=True), start=1):
        fit = Fit(("R", column), "did", sample=words)
        book.fit(fit, ("did", *(("low_carbon",) if column == 5 else ())), LINEAR, pvalue=p)
        book.say(fit, r2=book.number())
    book.say(fit, treated_matched=book.count(), controls_matched=book.count())
    balance = replace(fit, model="psm")
    book.say(balance, pseudo_r2=book.number())
    for term in CONTROLS:
        book.say(balance, term, **book.numbers("logit_se", "mean_treated_before", "bias_before", "mean_treated_after",
                                               "bias_after"))  # fmt: skip


def _local_clusters(book: Book) -> None:
    units = {"north": (1.0, 0.004), "south": (3.0, 0.011), "middle": (2.0, 0.012), "coast": (4.0, 0.0499),
             "hill": (1.0, 0.06)}  # quadrant, p by the false discovery rate  # fmt: skip
    for weights in WEIGHTS:
        for unit, (quadrant, fdr) in units.items():
            book.say(Fit(("6", 4), "local-moran", weights=weights, year=2003), unit, local_i=book.number(),
                     quadrant=quadrant, p=book.share(), fdr_p=fdr)  # fmt: skip


def _tables_i(book: Book) -> None:
    stages = {"ols": ("did", *CONTROLS), "iv": ("did", *CONTROLS), "first-stage": ("coast", *CONTROLS),
              "reduced-form": ("coast", *CONTROLS)}  # fmt: skip
    for column, (model, terms) in enumerate(stages.items(), start=1):
        fit = Fit(("I", column), model)
        book.fit(fit, terms, LINEAR)
        if model == "iv":
            strength = ("first_stage_f", "kp_f", "effective_f", "effective_f_critical")
            book.say(fit, **{name: book.test() for name in strength})
            book.say(fit, **{name: book.share() for name in ("ar_p", "hansen_p", "sargan_p", "endogeneity_p")})
            book.say(fit, ar_shape=1.0, ar_lower=-book.number(), ar_upper=book.number())
    for column, model in enumerate(("mediation", "instrumented-mediation"), start=1):
        fit = Fit(("I2", column), model, mediator="fdi")
        book.fit(fit, ("a", "b", "nie", "nde", "total", "proportion"), ("delta",))
        if column == 2:
            book.say(fit, kp_f=book.test())


def _tables_m_and_d(book: Book) -> None:
    for column, name in enumerate(("income", "altitude"), start=1):
        fit = Fit(("M", column), "moderation", sample=f"by {name}")
        own = (name,) if name == "income" else ()
        book.fit(fit, ("did", f"did x {name}", *own, "rain", "did at p10", "did at p50", "did at p90"), LINEAR)
        book.say(fit, r2=book.number())
        book.say(fit, name, **book.numbers("moderator_mean", "moderator_p10", "moderator_p50", "moderator_p90"))
    fit = Fit(("D", 1), "triple-difference", sample="polluting = 1 less 0")
    book.fit(fit, ("did", "did x 1", "rain", "did in 1"), LINEAR)
    book.say(fit, r2=book.number())


def _table_t(book: Book) -> None:
    for column, (kind, text) in enumerate({"combination": "did - rain = 0.5", "joint": "did = 0, rain = 0",
                                           "equivalence": "-9 < did < 9"}.items(), start=1):  # fmt: skip
        none = {"estimate": None, "se": None, "lower": None, "upper": None} if kind == "joint" else {}
        book.fit(Fit(("T", column), kind, sample="2.5"), (text,), ("cluster:unit",), **none)


def _table_k(book: Book) -> None:
    for column, km in enumerate((150, 300), start=1):
        fit = Fit(("K", column), "sdm", "lee-yu", weights=f"band-{km}")
        effects = tuple(f"{effect}:did" for effect in EFFECTS)
        book.fit(fit, ("did", "w_did", "rho", *effects), LIKELIHOOD)
        book.say(fit, neighbours=book.test(), loglik=book.test(), aic=-book.test())


def _controlled_bacon(book: Book) -> None:
    controlled = Fit(("S2", 1), "goodman-bacon", "controls")
    for kind in ("treated v never", "two dates", "one cohort"):
        book.say(controlled, kind, weight=book.number(), mean=book.number(), comparisons=book.count())
    book.say(controlled, twfe=book.number())


def known_document(facts: Mapping[str, Any] = FACTS, notes: tuple[str, ...] = ()) -> Document:
    """Known numbers of every table, on a panel with these facts."""
    book = Book()
    for fill in (_tables_1_to_4, _table_5, _table_6, _table_7, _tables_s, _table_r, _local_clusters, _table_c,
                 _tables_i, _tables_m_and_d, _table_t, _table_k, _controlled_bacon):  # fmt: skip
        fill(book)
    agreements = (Agreement("2", "linearmodels", "coefficients", 41, 1.1e-10),
                  Agreement("2", "linearmodels", "errors", 1042, 2.3e-9),
                  Agreement("7", "spreg", "coefficients", 43, 4.5e-7),
                  Agreement("6", "esda", "no permutations", 0, 0.0))  # fmt: skip
    return Document(facts, tuple(book.records), tuple(book.statistics), notes, cross_check=agreements)
