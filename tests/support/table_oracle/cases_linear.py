"""Known numbers of tables 1 to 5 and R, and what these tables must print of them."""

from __future__ import annotations

from collections.abc import Sequence

from table_oracle.book import Book, Where
from table_oracle.sheets import Head, Line, Sheet
from table_oracle.wording import (
    ERRORS,
    LABELS,
    LINEAR,
    STARS,
    TREATMENT,
    Asked,
    above,
    below,
    four,
    kinds,
    of_term,
    pair,
    residuals,
    said,
    say_residuals,
    sizes,
    three,
    whole,
)

CONTROLS = ("rain", "soil")
DESCRIBED = ("growth", "did", "rain", "soil")
DESCRIPTIVE = Where("1", 1, "descriptive")
POOLED = tuple(Where("2", column, "pooled") for column in (1, 2, 3))
RANDOM = tuple(Where("2", column, "random") for column in (1, 2, 3))
WITHIN = tuple(Where("2", column, "did") for column in (4, 5))
NO_CAPITALS, OTHER_POLICY = Where("3", 1, "did", sample="without capitals"), Where("3", 2, "did")
EAST, WEST = (Where("4", j, "did", sample=f"region = {name}") for j, name in ((1, "east"), (2, "west")))
BIG = Where("4", 3, "did", sample="size = big")
BY_REGION, BY_PROVINCE = (Where("4", 0, "interaction", sample=name) for name in ("region", "province"))
MEDIATORS = ("fdi", "patents")
MENU = ("province-by-year effects", "2003-2007", "without east", "lagged by 1", "with low_carbon", "matched")
EDGES = {1: 0.01, 2: 0.05, 3: 0.10, 4: 0.0099, 5: 0.0499, 6: 0.0999}  # p values of table R, by column
BALANCE = Where("R", 6, "psm", sample="matched")


def descriptives(book: Book) -> None:
    for term in DESCRIBED:
        book.say(DESCRIPTIVE, term, mean=book.number(), nobs=float(book.count()))
        for part in ("", "_between", "_within") if term != "soil" else ("",):
            book.say(DESCRIPTIVE, term, **{f"{name}{part}": book.number() for name in ("sd", "min", "max")})


def print_descriptives(book: Book, asked: Asked) -> list[Sheet]:
    lines: list[Line] = []
    for term in DESCRIBED:
        value = {name: book.value(DESCRIPTIVE, name, term) for name in ("mean", "nobs")}
        for part, label in (("", LABELS[term]), ("_between", "between"), ("_within", "within")):
            shown = [four(book.value(DESCRIPTIVE, f"{name}{part}", term)) for name in ("sd", "min", "max")]
            ends = ("", "") if part else (four(value["mean"]), whole(value["nobs"]))
            if any(shown):
                lines.append((label, (ends[0], *shown, ends[1])))
    heads = tuple(("", "", label) for label in ("Mean", "SD", "Min", "Max", "N"))
    return [Sheet("Table 1. Descriptive statistics", heads, tuple(lines), ("Between: ", "Within: ", asked.data))]


def baseline(book: Book) -> None:
    for where in (*POOLED, *RANDOM, *WITHIN):
        terms = ("did", *(CONTROLS if where.column in (2, 3, 4, 5) else ()), "constant")
        book.fit(where, terms, LINEAR)
        book.say(where, r2=book.number(), r2_adjusted=book.number(), **{"clusters:unit": 31.0})
        if where.model == "random":
            book.say(where, r2_within=book.number(), r2_between=book.number(), r2_overall=book.number())
            book.say(where, sigma_u=book.number(), sigma_e=book.number(), theta=book.number())
    book.fit(WITHIN[1], ("did",), ("wild:unit",), se=None, statistic=None, p=0.0307,
             estimate=book.get(WITHIN[1], "did", "iid").estimate)  # type: ignore[union-attr]  # fmt: skip
    book.say(WITHIN[0], **{"floored:hc1": 1.0})
    say_residuals(book, WITHIN[1])


def print_baseline(book: Book, asked: Asked) -> list[Sheet]:
    wheres = (*POOLED, *RANDOM, *WITHIN)
    names = {"pooled": "Pooled OLS", "random": "Random effects", "did": "Fixed effects"}
    heads = tuple((names[where.model], f"({where.column})", "") for where in wheres)
    lines: list[Line] = [x for term in ("did", *CONTROLS, "constant") for x in of_term(book, asked, wheres, term)]
    lines += [
        ("Controls", ("no", "yes", "yes", "no", "yes", "yes", "yes", "yes")),
        ("Unit effects", ("no", "no", "no", "random", "random", "random", "yes", "yes")),
        ("Period effects", ("no", "no", "yes", "no", "no", "yes", "no", "yes")),
        *sizes(book, wheres),
    ]
    for name, label in (
        ("r2", "R²"), ("r2_adjusted", "R² adjusted"), ("r2_within", "R² within"), ("r2_between", "R² between"),
        ("r2_overall", "R² overall"), ("sigma_u", "σ(unit)"), ("sigma_e", "σ(error)"), ("theta", "θ (mean)"),
    ):  # fmt: skip
        lines += said(book, wheres, name, label)
    lines += residuals(book, wheres) + kinds(asked, wheres)
    usual = ERRORS[asked.shown(POOLED[0])]
    says: tuple[str, ...] = (TREATMENT, f"Standard errors in brackets, {usual}: ")
    if asked.error == "wild:unit":
        says = (
            TREATMENT,
            "Pooled OLS (1) to (3), Random effects (1) to (3), Fixed effects (4): standard errors in brackets, "
            f"{usual}",
            "Fixed effects (5): brackets hold 95% intervals, not standard errors: restricted wild cluster bootstrap by",
            "Where the column's error type gives no error of a term, brackets hold the standard error clustered by "
            "unit.",
        )
    floored = ("negative eigenvalues of the covariance were set to zero for standard errors heterosk",)
    counted = () if asked.shown(POOLED[0]) != "cluster:unit" else ("Clustered by unit: G = 31.",)
    says += (floored if asked.error == "hc1" else ()) + counted
    says += ("Columns 1 to 3 are estimated twice, by pooled least squares and by random effects", STARS, asked.data)
    return [Sheet("Table 2. Regressions of growth on park", heads, tuple(lines), says, (usual,))]


def checks(book: Book) -> None:
    book.fit(NO_CAPITALS, ("did", *CONTROLS), LINEAR)
    book.fit(OTHER_POLICY, ("did", *CONTROLS, "low_carbon"), LINEAR)
    for where in (NO_CAPITALS, OTHER_POLICY):
        book.say(where, r2=book.number())
    book.say(OTHER_POLICY, "low_carbon", correlation=book.number(), correlation_within=-book.number())


def print_checks(book: Book, asked: Asked) -> list[Sheet]:
    wheres = (NO_CAPITALS, OTHER_POLICY)
    heads = (("", "(1)", "without capitals"), ("", "(2)", "with low_carbon"))
    lines = _regression(book, asked, wheres, ("did", "low_carbon", *CONTROLS))
    for name, label in (("correlation", "Correlation with DID"), ("correlation_within", "net of the effects")):
        lines.append((label, ("", four(book.value(OTHER_POLICY, name, "low_carbon")))))
    title = "Table 3. Other sample, other policy: growth on park"
    return [Sheet(title, heads, tuple(lines), *_notes(asked, wheres[0]))]


def _regression(book: Book, asked: Asked, wheres: Sequence[Where | None], terms: Sequence[str], *, menu: bool = False,
                fit: bool = True) -> list[Line]:  # fmt: skip
    """Coefficients, what else is in every column, sizes and R²; None: a column without a regression."""
    there = [where for where in wheres if where is not None]
    lines: list[Line] = []
    for term in terms:
        found = of_term(book, asked, there, term)
        lines += [(label, (*(cells or ()), *[""] * (len(wheres) - len(there)))) for label, cells in found]
    yes = tuple("" if where is None else "yes" for where in wheres)
    lines += [] if menu else [(label, yes) for label in ("Controls", "Unit effects", "Period effects")]
    return lines + sizes(book, wheres) + (said(book, wheres, "r2", "R²") if fit else [])


def _notes(asked: Asked, where: Where, *more: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kind = ERRORS[asked.shown(where)]
    return (TREATMENT, f"Standard errors in brackets, {kind}: ", *more, STARS, asked.data), (kind,)


def subsamples(book: Book) -> None:
    for where in (EAST, WEST, BIG):
        book.fit(where, ("did", "rain"), LINEAR)
        book.say(where, r2=book.number())
    book.fit(BY_REGION, ("did x west",), LINEAR)
    book.say(BY_REGION, wald=book.test(), wald_p=book.share(), permutation_p=book.share(),
             permutation_p_mcse=book.number())  # fmt: skip
    book.fit(BY_PROVINCE, ("did x north",), LINEAR)
    book.say(BY_PROVINCE, wald=book.test(), wald_p=0.00002)


def print_subsamples(book: Book, asked: Asked) -> list[Sheet]:
    heads = (("region", "(1)", "east"), ("region", "(2)", "west"), ("size", "(3)", "big"),
             ("province", "", "test alone"))  # fmt: skip
    lines = _regression(book, asked, (EAST, WEST, BIG, None), ("did", "rain"))
    lines += [("Test of equal effects", None)]
    lines += pair("Difference to the first", [None, book.get(BY_REGION, "did x west", asked.shown(BY_REGION)), None,
                                              None])  # fmt: skip
    region = {name: book.value(BY_REGION, name) for name in ("wald", "wald_p", "permutation_p", "permutation_p_mcse")}
    lines += [
        ("Wald χ²", (three(region["wald"]), "", "", three(book.value(BY_PROVINCE, "wald")))),
        ("p (F)", (four(region["wald_p"]), "", "", "<0.0001")),
        ("p by permutation", (four(region["permutation_p"]), "", "", "")),
        ("its Monte Carlo error", (four(region["permutation_p_mcse"]), "", "", "")),
    ]
    more = "The test of equal effects is that of the fully interacted regression"
    return [Sheet("Table 4. Subsamples: growth on park", heads, tuple(lines), *_notes(asked, EAST, more))]


def _paths(position: int) -> tuple[Where, Where, Where]:
    """The mediator's equation, the outcome's, and the effects through the mediator."""
    name, first = MEDIATORS[position], 2 * position + 1
    return (Where("5", first, "mediator", mediator=name), Where("5", first + 1, "outcome", mediator=name),
            Where("5", first + 1, "mediation", mediator=name))  # fmt: skip


METHODS = {"delta": "delta method", "sobel": "Sobel", "monte-carlo": "Monte Carlo",
           "bootstrap:unit": "unit bootstrap"}  # fmt: skip
THROUGH = {"nie": "Indirect effect (a × b)", "nde": "Direct effect", "total": "Total effect",
           "proportion": "Share of the total"}  # fmt: skip
RHOS = ("rho = -0.5", "rho = 0", "rho = 0.5")


def mediation(book: Book) -> None:
    for position, name in enumerate(MEDIATORS):
        first, second, through = _paths(position)
        book.fit(first, ("did", *CONTROLS), LINEAR)
        book.fit(second, ("did", name, *CONTROLS), LINEAR)
        book.fit(through, tuple(THROUGH), tuple(METHODS))
        for where in (first, second):
            book.say(where, r2=book.number())
            say_residuals(book, where)
        book.say(through, rho_at_zero=book.number(), r2_product_at_zero=book.number())
        for rho in RHOS:
            book.say(through, rho, **{f"nie_at_rho{end}": book.number() for end in ("", "_lower", "_upper")})


def print_mediation(book: Book, asked: Asked) -> list[Sheet]:
    wheres = tuple(where for position in (0, 1) for where in _paths(position)[:2])
    heads: tuple[Head, ...] = (("Mediator fdi", "(1)", "fdi"), ("Mediator fdi", "(2)", "growth"),
                               ("Mediator patents", "(3)", "patents"),
                               ("Mediator patents", "(4)", "growth"))  # fmt: skip
    lines = _regression(book, asked, wheres, ("did", *MEDIATORS, *CONTROLS)) + residuals(book, wheres)
    lines.append(("Effects through the mediator", None))
    if asked.shown(wheres[0]) != "cluster:unit":
        lines.append(("Standard errors", ("", "cluster:unit", "", "cluster:unit")))
    paths = (None, _paths(0)[2], None, _paths(1)[2])
    for term, label in THROUGH.items():
        lines += _effect(book, paths, term, label)
    lines += said(book, paths, "rho_at_zero", "ρ at which a × b is 0")
    lines += said(book, paths, "r2_product_at_zero", "R² product at which a × b is 0")
    more = "Effects through the mediator: clustered by unit; each method's standard error in brackets"
    return [Sheet("Table 5. Mediation: growth on park", heads, tuple(lines), *_notes(asked, wheres[0], more))]


def _effect(book: Book, paths: Sequence[Where | None], term: str, label: str) -> list[Line]:
    items = {kind: [None if path is None else book.get(path, term, kind) for path in paths] for kind in METHODS}
    first = tuple(above(item) for item in items["delta"])
    lines: list[Line] = [(label, tuple(cell.rstrip("*") for cell in first) if term == "proportion" else first)]
    for kind in METHODS if term in ("nie", "proportion") else ("delta",):
        lines.append((METHODS[kind], tuple(below(item) for item in items[kind])))
        lines.append(("", tuple("" if x is None else f"[{x.lower:.4f}, {x.upper:.4f}]" for x in items[kind])))
    return lines


def confounded(book: Book) -> None:
    """Table 5 has the numbers."""


def print_confounded(book: Book, asked: Asked) -> list[Sheet]:
    heads = tuple(("", "", label) for label in ("Indirect effect", "95% from", "to"))
    sheets = []
    for position, name in enumerate(MEDIATORS):
        through = _paths(position)[2]
        lines = tuple(
            (rho.replace("rho", "ρ"), tuple(four(book.value(through, f"nie_at_rho{end}", rho))
                                            for end in ("", "_lower", "_upper"))) for rho in RHOS
        )  # fmt: skip
        title = f"Indirect effect through {name} by the correlation ρ of the two equations' errors"
        sheets.append(Sheet(title, heads, lines, ("ρ = 0 is the assumption of table 5", asked.data), appendix=True))
    return sheets


def robustness(book: Book) -> None:
    for column, words in enumerate(MENU, start=1):
        where = Where("R", column, "did", sample=words)
        book.fit(where, ("did", *(("low_carbon",) if column == 5 else ())), LINEAR, p=EDGES[column])
        book.say(where, r2=book.number())
    matched = Where("R", 6, "did", sample="matched")
    book.say(matched, treated_matched=float(book.count()), controls_matched=float(book.count()))
    book.say(BALANCE, pseudo_r2=book.number())
    for term in CONTROLS:
        book.say(BALANCE, term, **{name: book.number() for name in (
            "logit_se", "mean_treated_before", "bias_before", "mean_treated_after", "bias_after")})  # fmt: skip


def print_robustness(book: Book, asked: Asked) -> list[Sheet]:
    wheres = tuple(Where("R", column, "did", sample=words) for column, words in enumerate(MENU, start=1))
    heads = tuple(("", f"({column})", words) for column, words in enumerate(MENU, start=1))
    lines = _regression(book, asked, wheres, ("did", "low_carbon"), menu=True, fit=False)
    stars = [(cell[len(cell.rstrip("*")) :]) for cell in lines[0][1] or ()]
    assert stars == ["**", "*", "", "***", "**", "*"]  # p below, not at, .01, .05 and .10
    lines += said(book, wheres, "treated_matched", "Treated, matched", whole)
    lines += said(book, wheres, "controls_matched", "Controls, matched", whole) + said(book, wheres, "r2", "R²")
    title = "Table R. Robustness checks, one per column: growth on park"
    more = "Every column has unit and period effects and the controls"
    return [Sheet(title, heads, tuple(lines), *_notes(asked, wheres[0], more))]


def balance(book: Book) -> None:
    """Table R has the numbers."""


def print_balance(book: Book, asked: Asked) -> list[Sheet]:
    before, after = "Before matching", "After matching"
    heads = ((before, "", "mean treated"), (before, "", "bias"), (after, "", "mean treated"), (after, "", "bias"),
             ("Logit of treatment", "", "logit se"))  # fmt: skip
    names = ("mean_treated_before", "bias_before", "mean_treated_after", "bias_after", "logit_se")
    lines = tuple((LABELS[term], tuple(four(book.value(BALANCE, name, term)) for name in names)) for term in CONTROLS)
    counts = f"pseudo r2 {book.value(BALANCE, 'pseudo_r2'):,.6g}."
    return [Sheet("Balance of covariates: matched", heads, lines, (counts, asked.data), appendix=True)]
