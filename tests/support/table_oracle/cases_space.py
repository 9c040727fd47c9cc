"""Known numbers of tables 6 and 7 and of what the appendix makes of them, and what must be printed."""

from __future__ import annotations

from collections.abc import Sequence

from table_oracle.book import Book, Compared, Where
from table_oracle.cases_linear import CONTROLS, WITHIN
from table_oracle.sheets import Head, Line, Sheet
from table_oracle.wording import (
    ERRORS,
    LABELS,
    SPATIAL,
    STARS,
    TREATMENT,
    Asked,
    four,
    kinds,
    of_term,
    residuals,
    said,
    say_residuals,
    sizes,
    three,
)

WEIGHTS = ("ring", "queue")
YEARS = (2001, 2002, 2003)
MEASURES = {"moran": ("Moran's I", "I"), "geary": ("Geary's C", "C"),
            "moran-residuals": ("Moran's I of residuals", "I")}  # fmt: skip
SHOWN = {"moran": "randomisation", "geary": "randomisation", "moran-residuals": "permutation"}
MOMENTS = ("normality", "randomisation", "permutation")
PLACES = {"sem": 1, "sar": 2, "sdm": 3, "slx": 4, "sdem": 5, "sac": 6}
MODELS = {"direct": ("sem", "sar", "sdm"), "lee-yu": ("sar", "sdm", "sac"), None: ("slx",)}
METHODS = {
    "direct": "direct maximum likelihood",
    "lee-yu": "Lee and Yu's transformed likelihood",
    None: "least squares",
}
TRANSFORMS = (None, "direct", "lee-yu")  # in the order of tables
NAMES = {"sem": "SEM", "sar": "SAR", "sdm": "SDM", "slx": "SLX", "sdem": "SDEM", "sac": "SAC"}
ORDERED = ("did", *CONTROLS, "w_did", "w_rain", "w_soil", "rho", "lambda", "sigma2")
EFFECTS = ("direct", "indirect", "total")
UNITS = {
    "north": (1.0, 0.004),
    "south": (3.0, 0.011),
    "middle": (2.0, 0.012),
    "coast": (4.0, 0.0499),
    "hill": (1.0, 0.06),
}


def _measure(model: str, weights: str, year: int | None) -> Where:
    return Where("6", [*MEASURES].index(model) + 1, model, weights=weights, year=year)


def _kinds(model: str, year: int | None) -> tuple[str, ...]:
    if model == "moran-residuals":
        return ("projection",) if year is None else ("permutation", "simulation")
    return MOMENTS


def _years(model: str) -> tuple[int | None, ...]:
    return (*YEARS, None) if model == "moran-residuals" else YEARS


def autocorrelation(book: Book) -> None:
    for weights in WEIGHTS:
        for model in MEASURES:
            for year in _years(model):
                where = _measure(model, weights, year)
                for kind in _kinds(model, year):
                    book.fit(where, ("moran" if model != "geary" else "geary",), (kind,), p=book.share())
                    if year is not None:
                        book.say(where, kind, holm=book.share())


def _tested(book: Book, model: str, weights: str, year: int | None, kind: str) -> list[str]:
    """Estimate, sd, z, p and Holm's p."""
    where = _measure(model, weights, year)
    item = book.get(where, "geary" if model == "geary" else "moran", kind)
    if item is None:
        return [""] * 5
    return [four(item.estimate), four(item.se), three(item.statistic), four(item.p),
            four(book.value(where, "holm", kind))]  # fmt: skip


def print_autocorrelation(book: Book, asked: Asked) -> list[Sheet]:
    sheets = []
    for weights in WEIGHTS:
        heads = tuple((group, "", label) for group, sign in MEASURES.values() for label in (sign, "z", "p", "Holm p"))
        lines: list[Line] = []
        for year in (*YEARS, None):
            cells: list[str] = []
            for model in MEASURES:
                kind = "projection" if year is None else SHOWN[model]
                estimate, _, *rest = _tested(book, model, weights, year, kind)
                cells += [estimate, *rest]
            lines.append((str(year or "All periods"), tuple(cells)))
        says = (
            "z and p: Moran's I under randomisation; Geary's C under randomisation; Moran's I of residuals by "
            'permutation (single periods); Moran\'s I of residuals under projected normal errors (row "All periods").',
            asked.square_data,
        )
        sheets.append(Sheet(f"Table 6. Spatial autocorrelation of growth, W {weights}", heads, tuple(lines), says))
    return sheets


def every_moment(book: Book) -> None:
    """Table 6 has the numbers."""


def print_every_moment(book: Book, asked: Asked) -> list[Sheet]:
    sheets = []
    for model, (name, _) in MEASURES.items():
        for weights in WEIGHTS:
            found = ("permutation", "simulation", "projection") if model == "moran-residuals" else MOMENTS
            heads = tuple((kind, "", label) for kind in found for label in ("sd", "z", "p", "Holm p"))
            lines = tuple(
                (str(year or "All periods"),
                 tuple(cell for kind in found for cell in _tested(book, model, weights, year, kind)[1:]))
                for year in _years(model)
            )  # fmt: skip
            caption = f"{name}, growth, by every method, W {weights}"
            sheets.append(Sheet(caption, heads, lines, (asked.square_data,), appendix=True))
    return sheets


def _local(weights: str) -> Where:
    return Where("6", 4, "local-moran", weights=weights, year=2003)


def local_clusters(book: Book) -> None:
    for weights in WEIGHTS:
        for unit, (quadrant, fdr) in UNITS.items():
            book.say(_local(weights), unit, local_i=book.number(), quadrant=quadrant, p=book.share(), fdr_p=fdr)


def print_local_clusters(book: Book, asked: Asked) -> list[Sheet]:
    kinds_of = {"High among high": "north", "Low among low": "south", "Low among high": "middle",
                "High among low": "coast"}  # fmt: skip
    sheets = []
    for weights in WEIGHTS:
        lines: list[Line] = []
        for kind, unit in kinds_of.items():
            values = tuple(four(book.value(_local(weights), name, unit)) for name in ("local_i", "p", "fdr_p"))
            lines += [(kind, None), (unit, values)]
        heads = tuple(("", "", label) for label in ("local I", "p", "p, false discovery rate"))
        caption = f"Local Moran clusters of growth, 2003, W {weights}"
        says = ("Benjamini and Hochberg", asked.square_data)
        sheets.append(Sheet(caption, heads, tuple(lines), says, appendix=True))
    return sheets


def _spatial(model: str, transform: str | None, weights: str) -> Where:
    method = "simulation" if transform == "lee-yu" else "delta"
    return Where("7", PLACES[model], model, transform, weights=weights, method=method)


def _terms(model: str) -> tuple[str, ...]:
    base = ("did", *CONTROLS)
    lags = tuple(f"w_{name}" for name in base) if model in ("sdm", "slx", "sdem") else ()
    spatial = {"sar": ("rho",), "sdm": ("rho",), "sem": ("lambda",), "sdem": ("lambda",), "sac": ("rho", "lambda")}
    effects = () if model == "sem" else tuple(f"{effect}:{name}" for effect in EFFECTS for name in base)
    return (*base, *lags, *spatial.get(model, ()), *effects, "sigma2")


def spatial_models(book: Book) -> None:
    for weights in WEIGHTS:
        for transform in ("lee-yu", "direct", None):
            for model in MODELS[transform]:
                where = _spatial(model, transform, weights)
                book.fit(where, _terms(model), SPATIAL)
                book.say(where, loglik=book.test(), aic=-book.test(), bic=-book.test(), r2=book.number(),
                         r2_within=book.number(), r2_corr=book.number())  # fmt: skip
                book.say(where, **{f"r2_{form}_{part}": book.number() for form in ("reduced", "naive")
                                   for part in ("within", "between", "overall")})  # fmt: skip
                if (transform, model) in (("direct", "sar"), ("direct", "sdm")):
                    say_residuals(book, where)
                if model == "sdm":
                    book.say(where, **{name: book.test() for name in TESTS})
                    book.say(where, lr_sar_p=book.share(), lr_sem_p=0.00001, wald_sar_p=book.share(),
                             wald_sem_p=book.share())  # fmt: skip
        lm = Where("7", 0, "lm", weights=weights)
        for ending in ("", "_elhorst"):
            book.say(lm, **{f"{name}{ending}": book.test() for name in LM})
            book.say(lm, **{f"{name}{ending}_p": book.share() for name in LM})


TESTS = {"lr_sar": "LR against SAR, χ²", "lr_sem": "LR against SEM, χ²", "wald_sar": "Wald against SAR, χ²",
         "wald_sem": "Wald against SEM, χ²"}  # fmt: skip
LM = {"lm_lag": "LM lag", "lm_err": "LM error", "rlm_lag": "Robust LM lag", "rlm_err": "Robust LM error"}


def print_spatial_models(book: Book, asked: Asked) -> list[Sheet]:
    sheets = [_models(book, asked, weights, transform) for weights in WEIGHTS for transform in TRANSFORMS]
    return [*sheets, _lagrange(book, asked)]


def _models(book: Book, asked: Asked, weights: str, transform: str | None) -> Sheet:
    wheres = [_spatial(model, transform, weights) for model in MODELS[transform]]
    have = {term for where in wheres for term in _terms(where.model)}
    lines: list[Line] = [x for term in ORDERED if term in have for x in of_term(book, asked, wheres, term)]
    lines += sizes(book, wheres)
    for name, label in (("r2", "R²"), ("r2_within", "R² within"), ("r2_corr", "R² squared correlation")):
        lines += said(book, wheres, name, label)
    lines += residuals(book, wheres) if transform == "direct" else []
    for name, label in (("loglik", "Log-likelihood"), ("aic", "AIC"), ("bic", "BIC")):
        lines += said(book, wheres, name, label, three)
    lines += kinds(asked, wheres)
    for effect in EFFECTS:
        lines.append((f"{effect.capitalize()} effects", None))
        for term in ("did", *CONTROLS):
            lines += of_term(book, asked, wheres, f"{effect}:{term}")
    lines += _restrictions(book, wheres)
    heads = tuple(("", f"({where.column})", NAMES[where.model]) for where in wheres)
    kind = ERRORS[asked.shown(wheres[0])]
    scores = " (scores as martingale differences)" if kind == "clustered by unit" else ""
    how = "by simulation from" if transform == "lee-yu" else "by the delta method."
    likelihood = {
        "direct": ("Direct: the likelihood with dummies",),
        "lee-yu": ("Lee and Yu (2010)",),
        None: (),
    }[transform]
    says = (
        TREATMENT, f"Standard errors in brackets, {kind}{scores}; normal distribution, no small-sample factor.",
        *likelihood,
        f"Direct, indirect and total effects are means over units; their standard errors are computed {how}", STARS,
        asked.square_data,
    )  # fmt: skip
    title = f"Table 7. Spatial models of growth, W {weights}, {METHODS[transform]}"
    return Sheet(title, heads, tuple(lines), says, (kind,))


def _restrictions(book: Book, wheres: Sequence[Where]) -> list[Line]:
    sdm = [where if where.model == "sdm" else None for where in wheres]
    if not any(sdm):
        return []
    lines: list[Line] = [("Tests of the restrictions", None)]
    for name, label in TESTS.items():
        lines += said(book, sdm, name, label, three)
        lines += said(book, sdm, f"{name}_p", "", lambda p: "[p < 0.0001]" if p < 0.00005 else f"[p = {p:.4f}]")
    return lines


def _lagrange(book: Book, asked: Asked) -> Sheet:
    heads: list[Head] = []
    cells: dict[str, list[str]] = {name: [] for name in LM}
    for weights in WEIGHTS:
        lm = Where("7", 0, "lm", weights=weights)
        for ending, form in (("", "exact"), ("_elhorst", "Elhorst's form")):
            heads += [(f"W {weights}, {form}", "", "χ²(1)"), (f"W {weights}, {form}", "", "p")]
            for name, found in cells.items():
                found += [three(book.value(lm, f"{name}{ending}")), four(book.value(lm, f"{name}{ending}_p"))]
    lines = tuple((LM[name], tuple(found)) for name, found in cells.items())
    return Sheet(
        "Table 7. Lagrange multiplier tests", tuple(heads), lines, ("Elhorst's form: they are not.", asked.square_data)
    )


def predictions(book: Book) -> None:
    """Table 7 has the numbers."""


def print_predictions(book: Book, asked: Asked) -> list[Sheet]:
    sheets = []
    for weights in WEIGHTS:
        wheres = [_spatial(model, transform, weights) for transform in (None, "direct", "lee-yu")
                  for model in MODELS[transform]]  # fmt: skip
        groups = {None: "", "direct": METHODS["direct"], "lee-yu": METHODS["lee-yu"]}
        heads = tuple((groups[where.transform], f"({where.column})", NAMES[where.model]) for where in wheres)
        lines = [line for form, label in (("reduced", "Reduced form"), ("naive", "Naive"))
                 for part in ("within", "between", "overall")
                 for line in said(book, wheres, f"r2_{form}_{part}", f"{label}, {part}")]  # fmt: skip
        title = f"Predictions of growth by the spatial models, W {weights}"
        says = ("Squared correlations", asked.square_data)
        sheets.append(Sheet(title, heads, tuple(lines), says, appendix=True))
    return sheets


def every_error(book: Book) -> None:
    """Tables 2 and 7 have the numbers."""


def print_every_error(book: Book, asked: Asked) -> list[Sheet]:
    start = "The same coefficient under every standard error"
    heads = tuple(("", "", label) for label in ("SE", "t or z", "p", "95% from", "to"))
    shown: list[tuple[str, str, list[tuple[Where, str]]]] = [
        ("two-way fixed effects", asked.data, [(WITHIN[1], "did")])
    ]
    for transform in ("direct", "lee-yu", None):
        for weights in WEIGHTS:
            found = [(_spatial(model, transform, weights), term) for model in MODELS[transform]
                     for term in _headline_terms(model)]  # fmt: skip
            shown.append((f"spatial models, W {weights}, {METHODS[transform]}", asked.square_data, found))
    return [
        Sheet(f"{start}: {where}", heads, tuple(line for fit, term in found for line in _under_errors(book, fit, term)),
              (data,), appendix=True)
        for where, data, found in shown
    ]  # fmt: skip


def _headline_terms(model: str) -> tuple[str, ...]:
    lag = ("w_did",) if model in ("sdm", "slx", "sdem") else ()
    return ("did", *lag, *{"sem": (), "slx": ("total:did",)}.get(model, ("direct:did", "indirect:did", "total:did")))


def _under_errors(book: Book, where: Where, term: str) -> list[Line]:
    items = [item for item in book.known if (item.where, item.term) == (where, term)]
    effect, _, name = term.partition(":")
    words = f"{effect} effect of {LABELS[name]}" if name else LABELS[term]
    model = "Fixed effects" if where.model == "did" else NAMES[where.model]
    simulated = ", effects by simulation" if name and where.method == "simulation" else ""
    lines: list[Line] = [(f"{model}: {words} {four(items[0].estimate)}", None)]
    for item in items:
        cells = (four(item.se), three(item.statistic), four(item.p), four(item.lower), four(item.upper))
        lines.append((f"{ERRORS[item.error]}{simulated}", cells))
    return lines


def agreement(book: Book) -> None:
    book.compared += [
        Compared("2", "linearmodels", "coefficients", 41, 1.1e-10),
        Compared("2", "linearmodels", "errors", 1042, 2.3e-9),
        Compared("7", "spreg", "coefficients", 43, 4.5e-7), Compared("6", "esda", "no permutations", 0, 0.0),
    ]  # fmt: skip


def print_agreement(book: Book, asked: Asked) -> list[Sheet]:
    lines: tuple[Line, ...] = (
        ("Table 2", None), ("linearmodels: coefficients", ("41", "1.1e-10")),
        ("linearmodels: errors", ("1,042", "2.3e-09")),
        ("Table 7", None), ("spreg: coefficients", ("43", "4.5e-07")),
    )  # fmt: skip
    heads = (("", "", "numbers"), ("", "", "largest difference"))
    says = ("Largest relative difference", "Table 6, esda: no permutations.")
    return [Sheet("Agreement with other programs", heads, lines, says)]
