"""What printed numbers imply for one another. Every check states the arithmetic; none needs the data; then all as a
Markdown document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, pi, sqrt

from scipy.special import chdtrc, ndtri

from experiments.application.audit.printed import HALF, HALF_OF_TESTS, PrintedTables, Term

LEVELS = (0.10, 0.05, 0.01)  # one, two and three stars
OPENING = (
    "Each check compares printed numbers with what other printed numbers of the same paper imply. No data are used, "
    "and rounding is allowed for. A line that does not agree is a question to the authors, not a verdict on the "
    "finding."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison: where, what is printed, what follows from other printed numbers, and whether they agree."""

    where: str
    printed: str
    implied: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A question put to the tables, the arithmetic in a sentence, its lines, and what they come to."""

    title: str
    arithmetic: str
    lines: tuple[Line, ...]
    conclusion: str

    @property
    def missed(self) -> int:
        """Lines that do not agree."""
        return sum(not line.agrees for line in self.lines)


def audit(tables: PrintedTables) -> tuple[Check, ...]:
    """All checks, in the order of the tables."""
    checks: tuple[Callable[[PrintedTables], Check], ...] = (
        treatment_moments,
        brackets,
        stars,
        pooled_fit,
        grand_means,
        residual_spread,
        subsample_differences,
        mediation,
        one_weights_matrix,
        sigma2_errors,
        likelihood_ratios,
        policy_effects,
        errors_across_tables,
        text_claims,
    )
    return tuple(check(tables) for check in checks)


def treatment_moments(tables: PrintedTables) -> Check:
    """The dummy's sd against its mean."""
    row = tables.descriptive["eip"]
    low, high = (sqrt(p * (1 - p) * row.n / (row.n - 1)) for p in (row.mean - HALF, row.mean + HALF))
    line = Line("table 1, eip", f"sd {row.sd:.4f}", f"{low:.4f} to {high:.4f}", low - HALF <= row.sd <= high + HALF)
    count = row.mean * row.n
    return Check(
        "The treatment dummy",
        "A 0/1 variable with mean p has sd sqrt(p (1 - p) n / (n - 1)).",
        (line,),
        f"The mean of {row.mean:.4f} over {row.n:,} rows means {count:.0f} treated city-years, "
        f"give or take {HALF * row.n:.1f} for rounding.",
    )


def brackets(tables: PrintedTables) -> Check:
    """Whether the figures in brackets are standard errors or t statistics."""
    lines = []
    for table, columns in tables.regressions.items():
        terms = [term for column in columns for name, term in column.terms.items() if name != "sigma2"]
        as_errors = sum(term.stars in _possible_stars(term) for term in terms)
        as_t = sum(term.stars == _stars(term.bracket) for term in terms)
        lines.append(
            Line(f"table {table}", f"{len(terms)} coefficients with stars", f"stars agree for {as_errors} as standard "
                 f"errors, for {as_t} as t statistics", as_errors >= as_t)
        )  # fmt: skip
    return Check(
        "What the brackets hold",
        "Stars follow from |estimate / error| if brackets hold errors, from the bracket itself if they hold t.",
        tuple(lines),
        "The brackets hold standard errors, whatever the notes below the tables call them.",
    )


def stars(tables: PrintedTables) -> Check:
    """Stars that no rounding of estimate and error can explain."""
    lines = []
    for columns in tables.regressions.values():
        for column in columns:
            for name, term in column.terms.items():
                possible = _possible_stars(term)
                if name != "sigma2" and term.stars not in possible:
                    t = abs(term.estimate / term.bracket)
                    lines.append(Line(f"{column.place}, {name}", f"{term.estimate:.4f} ({term.bracket:.4f}), "
                                      f"{term.stars} stars",
                                      f"|t| = {t:.2f}: {' or '.join(map(str, possible))} stars", False))  # fmt: skip
    return Check(
        "Stars against estimate and error",
        "|t| > 1.645, 1.960, 2.576 give one, two and three stars; both figures may be off by half their last digit.",
        tuple(lines),
        f"{len(lines)} coefficients carry stars that their own figures do not give."
        if lines
        else "All stars follow from the figures.",
    )


def pooled_fit(tables: PrintedTables) -> Check:
    """Whether column 1 of table 2 can be pooled least squares."""
    column = tables.column("2", 1)
    x, y = tables.descriptive["eip"], tables.descriptive["icr"]
    r2 = (column.terms["did"].estimate * x.sd / y.sd) ** 2
    printed = column.r2 or float("nan")
    most = y.sd * sqrt(1 - r2) / sqrt(x.n * (1 - x.mean))
    units = x.n / len(tables.years)
    error = column.terms["constant"].bracket
    return Check(
        "Whether table 2, column 1 is pooled least squares",
        "With one dummy R2 = (b sd_x / sd_y)^2, and the constant's error is s / sqrt(number of untreated rows).",
        (
            Line(f"{column.place}, R2", f"{printed:.4f}", f"{r2:.4f}", abs(r2 - printed) < 0.001),
            Line(f"{column.place}, error of the constant", f"{error:.4f}", f"{most:.4f}", abs(error - most) <= HALF),
        ),
        f"It is not. {error:.4f} x sqrt({units:.0f} cities) = {error * sqrt(units):.3f}, an sd between cities: columns "
        "1 to 3 look like random effects, and their R2 like the squared correlation that Stata calls overall R2.",
    )


def grand_means(tables: PrintedTables) -> Check:
    """Constants in Stata's form: constant + sum of b times the mean = the outcome's mean."""
    target = tables.descriptive["icr"].mean
    means = {"did": tables.descriptive["eip"].mean} | {name: row.mean for name, row in tables.descriptive.items()}
    lines = []
    for column in tables.regressions["2"]:
        slopes = {name: term for name, term in column.terms.items() if name != "constant"}
        implied = column.terms["constant"].estimate + sum(means[name] * slopes[name].estimate for name in slopes)
        slack = HALF + sum(abs(means[name]) * HALF + abs(slopes[name].estimate) * HALF for name in slopes) + HALF
        lines.append(
            Line(column.place, f"{target:.4f}", f"{implied:.4f} (+- {slack:.4f})", abs(implied - target) <= slack)
        )
    return Check(
        "Constants against the grand mean",
        "Pooled or with effects in Stata's form, constant + sum of slope x mean is the outcome's mean; not with random "
        "effects, nor with dummies whose base is left out.",
        tuple(lines),
        f"{sum(line.agrees for line in lines)} of {len(lines)} columns agree.",
    )  # fmt: skip


def residual_spread(tables: PrintedTables) -> Check:
    """The residual sd three ways."""
    y = tables.descriptive["icr"]
    both = tables.column("2", 5)
    from_r2 = y.sd * sqrt(1 - (both.r2 or float("nan")))
    lines = []
    for column in tables.regressions["7"]:
        n = y.n
        variance = exp(-2 * (column.loglik or float("nan")) / n - 1 - log(2 * pi))
        printed = column.terms["sigma2"].estimate
        lines.append(
            Line(f"{column.place}, sigma2", f"{printed:.4f}", f"at most {variance:.6f} by its log-likelihood",
                 printed - HALF <= variance)
        )  # fmt: skip
    return Check(
        "The residual's spread",
        "ln L = -n/2 (ln 2 pi + 1 + ln sigma2) + T ln|I - rho W|, and the last term is not positive.",
        tuple(lines),
        f"R2 of {both.place} gives a residual sd of {from_r2:.4f}; the log-likelihoods give "
        f"{sqrt(exp(-2 * (tables.column('7', 3).loglik or 0) / y.n - 1 - log(2 * pi))):.4f} or less.",
    )


def subsample_differences(tables: PrintedTables) -> Check:
    """Whether effects that are said to differ do."""
    columns = tables.regressions["4"]
    lines = []
    for first, second in zip(columns[::2], columns[1::2], strict=True):
        a, b = first.terms["did"], second.terms["did"]
        z = (a.estimate - b.estimate) / sqrt(a.bracket**2 + b.bracket**2)
        lines.append(
            Line(f"table 4, {first.heading} v {second.heading}", f"{a.estimate:.4f} v {b.estimate:.4f}, said to differ",
                 f"z = {z:.2f}", abs(z) > _critical(0.10))
        )  # fmt: skip
    return Check(
        "Differences between subsamples",
        "z = (b1 - b2) / sqrt(se1^2 + se2^2) for independent samples.",
        tuple(lines),
        f"{sum(line.agrees for line in lines)} of {len(lines)} differences are significant at 10%.",
    )


def mediation(tables: PrintedTables) -> Check:
    """a x b against c - c'."""
    total = tables.column("2", 5).terms["did"]
    lines, shares = [], []
    columns = tables.regressions["5"]
    for first, second in zip(columns[::2], columns[1::2], strict=True):
        name = next(term for term in second.terms if term not in first.terms)
        a, b = first.terms["did"], second.terms[name]
        indirect = a.estimate * b.estimate
        gap = total.estimate - second.terms["did"].estimate
        slack = 2 * HALF + HALF * (abs(a.estimate) + abs(b.estimate))
        error = sqrt((a.estimate * b.bracket) ** 2 + (b.estimate * a.bracket) ** 2)
        lines.append(
            Line(f"table 5, {name}", f"c - c' = {gap:.4f}", f"a b = {indirect:.5f} (Sobel error {error:.5f})",
                 abs(indirect - gap) <= slack)
        )  # fmt: skip
        shares.append(f"{name} {indirect / total.estimate:.1%}")
    return Check(
        "Indirect effects",
        "In linear models on one sample a x b = c - c' exactly.",
        tuple(lines),
        f"Shares of the total effect that are mediated: {', '.join(shares)}. The paper prints no interval for them.",
    )


def one_weights_matrix(tables: PrintedTables) -> Check:
    """The sd that I and z imply must be that of one W."""
    n = tables.descriptive["icr"].n / len(tables.years)
    expected = -1 / (n - 1)
    spreads = {year: (row.moran - expected) / row.moran_z for year, row in tables.years.items()}
    centre = sorted(spreads.values())[len(spreads) // 2]
    lines = tuple(
        Line(f"table 6, {year}", f"I = {row.moran:.3f}, z = {row.moran_z:.3f}", f"sd {spreads[year]:.4f}",
             abs(spreads[year] - centre) <= HALF_OF_TESTS / abs(row.moran_z) + 0.01 * centre)
        for year, row in tables.years.items()
    )  # fmt: skip
    apart = [year for year, line in zip(spreads, lines, strict=True) if not line.agrees]
    rest = [spread for year, spread in spreads.items() if year not in apart]
    found = f"The implied sd is {min(rest):.4f} to {max(rest):.4f}"
    return Check(
        "One W in all years",
        "sd = (I + 1/(N - 1)) / z depends on W and, a little, on the outcome's kurtosis.",
        lines,
        f"{found} but {', '.join(f'{spreads[year]:.4f} in {year}' for year in apart)}: the same W in the other years, "
        "as dense as contiguity or some six nearest neighbours."
        if apart
        else f"{found}: one W, as dense as contiguity or some six nearest neighbours.",
    )


def sigma2_errors(tables: PrintedTables) -> Check:
    """sigma2's standard error is sigma2 sqrt(2/n), or a little more."""
    n = tables.descriptive["icr"].n
    lines = []
    for column in tables.regressions["7"]:
        term = column.terms["sigma2"]
        implied = (term.estimate + HALF) * sqrt(2 / n)
        lines.append(
            Line(f"{column.place}, sigma2", f"error {term.bracket:.4f}", f"at most {implied:.6f} with normal errors",
                 abs(term.bracket - implied) <= HALF)
        )  # fmt: skip
    kurtosis = 1 + n * (HALF / (tables.column("7", 3).terms["sigma2"].estimate + HALF)) ** 2
    return Check(
        "The error of sigma2",
        "With normal errors var(sigma2) = 2 sigma2^2 / n, up to the share that rho takes.",
        tuple(lines),
        "A printed .0001 where rounding gives .0000 may be the smallest figure that is shown, or heavy tails: they "
        f"would need a kurtosis of {kurtosis:.1f} or more.",
    )


def likelihood_ratios(tables: PrintedTables) -> Check:
    """LR of the SDM against SAR and SEM."""
    sem, sar, sdm = (tables.column("7", number) for number in (1, 2, 3))
    degrees = sum(name.startswith("w_") for name in sdm.terms)
    lines = []
    for other in (sem, sar):
        statistic = 2 * ((sdm.loglik or float("nan")) - (other.loglik or float("nan")))
        p = float(chdtrc(degrees, statistic))
        lines.append(
            Line(f"table 7, {sdm.heading} v {other.heading}", "the SDM is chosen",
                 f"LR = {statistic:.2f}, df {degrees}, p = {p:.1e}", p < LEVELS[-1])
        )  # fmt: skip
    return Check(
        "Likelihood ratios",
        "LR = 2 (ln L of the SDM - ln L of the other), if all three use one likelihood.",
        tuple(lines),
        "The choice of the SDM follows from the printed likelihoods.",
    )


def policy_effects(tables: PrintedTables) -> Check:
    """The SDM's total effect, which the paper omits, against the DID coefficient."""
    sdm = tables.column("7", 3).terms
    did = tables.column("2", 5).terms["did"].estimate
    total = (sdm["did"].estimate + sdm["w_did"].estimate) / (1 - sdm["rho"].estimate)
    return Check(
        "Total effect of the Durbin model",
        "With rows of W that sum to one the average total effect is (b + theta) / (1 - rho).",
        (Line("table 7, SDM", "no effects", f"total effect {total:.4f}", True),),
        f"If the SDM holds, parks raise the index by {total:.4f} where a city and all its neighbours are treated, "
        f"{total / did:.1f} times the DID coefficient, which compares treated with partly treated cities.",
    )


def text_claims(tables: PrintedTables) -> Check:
    """Numbers in the text against the tables."""
    did = [column.terms["did"].estimate for column in tables.regressions["2"]]
    sdm = tables.column("7", 3).terms
    pairs = (
        ("abstract, smallest effect", 0.0156, min(did)),
        ("abstract, largest effect", 0.0275, max(did)),
        ("text on the SDM, did", 0.0127, sdm["did"].estimate),
        ("text on the SDM, w_did", 0.0129, sdm["w_did"].estimate),
    )
    lines = tuple(Line(where, f"{said:.4f}", f"{shown:.4f}", abs(said - shown) <= HALF) for where, said, shown in pairs)
    return Check(
        "The text against the tables",
        "The abstract gives effects of 1.56% to 2.75%, the text on the Durbin model two coefficients.",
        lines,
        f"{sum(not line.agrees for line in lines)} of {len(lines)} numbers in the text are not those of the tables.",
    )


def errors_across_tables(tables: PrintedTables) -> Check:
    """Standard errors of one coefficient in table 2 and table 7."""
    ols, ml = tables.column("2", 5).terms, tables.column("7", 2).terms
    lines = tuple(
        Line(name, f"table 2: {ols[name].bracket:.4f}", f"table 7, SAR: {ml[name].bracket:.4f}, "
             f"{ols[name].bracket / ml[name].bracket - 1:+.0%}",
             abs(ols[name].bracket - ml[name].bracket) <= 2 * HALF)
        for name in ols
        if name in ml
    )  # fmt: skip
    return Check(
        "Errors of table 2 against table 7",
        "With little spatial dependence both models' homoskedastic errors should be close.",
        lines,
        "Larger errors of controls in table 2 fit robust errors there and information-matrix errors in table 7; "
        "neither looks clustered.",
    )


def to_markdown(checks: Sequence[Check], source: str) -> str:
    """Title, summary table, then one section a check."""
    lines = ["# What the paper's printed numbers say about one another", "", OPENING, "",
             f"Written by `panelproof audit {source}`.", "",
             "| check | lines | do not agree |", "|---|---:|---:|"]  # fmt: skip
    lines += [f"| {check.title} | {len(check.lines)} | {check.missed} |" for check in checks]
    for check in checks:
        lines += ["", f"## {check.title}", "", check.arithmetic, ""]
        if check.lines:
            lines += ["| where | printed | implied | |", "|---|---|---|---|"]
            lines += [
                f"| {_cell(line.where)} | {_cell(line.printed)} | {_cell(line.implied)} | "
                f"{'agrees' if line.agrees else '**does not agree**'} |"
                for line in check.lines
            ]
            lines.append("")
        lines.append(check.conclusion)
    return "\n".join(lines) + "\n"


def _critical(level: float) -> float:
    return float(ndtri(1 - level / 2))


def _stars(t: float) -> int:
    return sum(abs(t) > _critical(level) for level in LEVELS)


def _possible_stars(term: Term) -> tuple[int, ...]:
    """Numbers of stars that the figures can stand for, given their rounding."""
    most = (abs(term.estimate) + HALF) / max(term.bracket - HALF, 1e-12)
    least = max(abs(term.estimate) - HALF, 0.0) / (term.bracket + HALF)
    return tuple(range(_stars(least), _stars(most) + 1))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
