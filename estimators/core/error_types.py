"""The registry of error types: how each is written, what it needs, its factor, its label, who serves it.

An error type is text such as "iid", "cluster:province" or "conley:200". Its first word is its kind, an entry of
`KINDS`; what follows the colon is what the kind needs: groups of units, a distance. Estimators name the family that
they belong to, and `check_error_types` refuses what that family does not serve. A new error type is an entry here and
the sum that defines it (`linear.covariances` for least squares, `spatial.errors` for likelihoods).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sim.errors import bad, closest, number_in, one_of
from sim.schema import Schema

Family = Literal["regression", "least-squares", "iv", "spatial", "durbin-least-squares", "mediation", "synthetic"]
Argument = Literal["none", "group", "groups", "distance", "size"]

PLACE = ("longitude", "latitude")
SHAPES = ("uniform", "bartlett")  # of a Conley kernel
LEAST_SQUARES: tuple[Family, ...] = ("regression", "least-squares", "iv")
SPATIAL: tuple[Family, ...] = ("spatial", "durbin-least-squares")
BY_UNIT = ("bootstrap", "jackknife", "placebo")  # of synthetic estimators, which take no other group


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of standard error.

    kind: the word before the colon. meaning: one line. label: in tables, after "standard errors"; {of} is what follows
    the colon. families: who serves it. argument: what follows the colon. factor: small-sample factor and degrees of
    freedom of t in least squares. sandwich: made of scores, which spatial models split as martingale differences.
    without_se: a test, which gives a p value and an interval and has no standard error.
    """

    kind: str
    meaning: str
    label: str
    families: tuple[Family, ...]
    argument: Argument = "none"
    factor: str = ""
    sandwich: bool = False
    without_se: bool = False

    @property
    def written(self) -> str:
        """How users write it: A and B stand for unit, a column of groups or period, KM for a distance, SIZE for a
        column of numbers."""
        forms = {"none": "", "group": ":A", "groups": ":A or cluster:A+B", "distance": ":KM or conley:KM:bartlett",
                 "size": f":SIZE or {self.kind}"}  # fmt: skip
        return f"{self.kind}{forms[self.argument]}"


KINDS: dict[str, ErrorKind] = {
    item.kind: item
    for item in (
        ErrorKind(
            "iid", "independent errors with one variance", "homoskedastic", LEAST_SQUARES,
            factor="e'e/(n - k), all effects counted in k; t with n - k degrees of freedom",
        ),
        ErrorKind(
            "hc1", "independent errors with unequal variances (White 1980)", "heteroskedasticity-robust (HC1)",
            (*LEAST_SQUARES, "durbin-least-squares"),
            factor="factor n/(n - k), all effects counted in k; t with n - k degrees of freedom",
        ),
        ErrorKind(
            "cluster", "errors correlated within groups; A+B: within A or within B (Cameron, Gelbach and Miller 2011)",
            "clustered by {of}", (*LEAST_SQUARES, *SPATIAL), "groups",
            "factor G/(G - 1) × (n - 1)/(n - k), {counted}; t with G - 1 degrees of freedom", sandwich=True,
        ),
        ErrorKind(
            "driscoll-kraay", "errors correlated between units and over near periods (Driscoll and Kraay 1998)",
            "Driscoll-Kraay", (*LEAST_SQUARES, *SPATIAL),
            factor="Bartlett weights up to lag floor(4 (T/100)^(2/9)), factor T/(T - 1) × (n - 1)/(n - k); t with "
            "T - 1 degrees of freedom", sandwich=True,
        ),
        ErrorKind(
            "conley", "errors correlated between units nearer than a distance in km (Conley 1999)", "Conley, {of} km",
            (*LEAST_SQUARES, *SPATIAL), "distance",
            "factor n/(n - k), all effects counted in k; t with n - k degrees of freedom", sandwich=True,
        ),
        ErrorKind(
            "cv3", "cluster jackknife: each cluster left out in turn (CV3; MacKinnon, Nielsen and Webb 2023)",
            "clustered by {of}, by the cluster jackknife (CV3)", ("regression",), "group",
            "factor (G - 1)/G on squared changes of the estimate; t with G - 1 degrees of freedom",
        ),
        ErrorKind(
            "cr2", "bias-reduced clusters for few of them (CR2; Bell and McCaffrey 2002, Imbens and Kolesar 2016)",
            "clustered by {of}, bias-reduced (CR2)", ("regression",), "group",
            "no factor; t with the degrees of freedom of Imbens and Kolesar (2016), those of a variance of independent "
            "errors",
        ),
        ErrorKind(
            "wild", "restricted wild cluster bootstrap: a p value and an interval (Cameron, Gelbach and Miller 2008)",
            "wild cluster bootstrap by {of}", ("regression",), "group", without_se=True,
        ),
        ErrorKind(
            "conley-taber", "few treated units: the treatment's p value and interval from residuals of units that are "
            "never treated (Conley and Taber 2011)",
            "placebos of never treated units (Conley and Taber)", ("regression",), without_se=True,
        ),
        ErrorKind(
            "ferman-pinto", "the same, rescaled by a variance that depends on the numbers of cells and on SIZE, a "
            "column such as the population (Ferman and Pinto 2019)",
            "rescaled placebos of never treated units (Ferman and Pinto{of})", ("regression",), "size", without_se=True,
        ),
        ErrorKind(
            "anderson-rubin", "with instruments: the endogenous regressor's p value and set of values that are not "
            "rejected, right however weak instruments are (Anderson and Rubin 1949)",
            "Anderson-Rubin set", ("iv",), without_se=True,
        ),
        ErrorKind("information", "inverse of the expected information", "from the information matrix", SPATIAL),
        ErrorKind("hessian", "inverse of the observed Hessian", "from the observed Hessian", SPATIAL),
        ErrorKind(
            "qmle", "sandwich for independent errors that are not normal",
            "of the quasi-likelihood, robust to non-normal errors", SPATIAL,
        ),
        ErrorKind(
            "delta", "delta method of both equations' clustered covariances", "by the delta method", ("mediation",)
        ),
        ErrorKind("sobel", "Sobel's formula, which treats the two equations as independent", "by Sobel's "
                                                                                             "formula", ("mediation",)),
        ErrorKind(
            "monte-carlo", "draws from the coefficients' normal distribution",
            "by Monte Carlo from the coefficients' normal distribution", ("mediation",),
        ),
        ErrorKind(
            "bootstrap", "estimated on resampled groups of units; of synthetic estimators, of units",
            "by bootstrap of {of}", ("mediation", "synthetic"), "group",
        ),
        ErrorKind(
            "jackknife", "each unit left out in turn (Arkhangelsky and others 2021)",
            "by the jackknife over {of}", ("synthetic",), "group",
        ),
        ErrorKind(
            "placebo", "never treated units at random in the place of the treated (Arkhangelsky and others 2021)",
            "by placebos of never treated {of}", ("synthetic",), "group",
        ),
        ErrorKind(
            "simulation", "draws from the estimates' normal distribution (setting `simulate`)",
            "by simulation from the estimates' normal distribution", (),
        ),
    )
}  # fmt: skip


def kind_of(error: str) -> str:
    """The word before the colon."""
    return error.partition(":")[0]


def groups_of(error: str, attributes: Sequence[str]) -> tuple[str, ...]:
    """What a clustered or bootstrap error type names; none for another type. An attribute's own name may hold a +."""
    kind, _, text = error.partition(":")
    entry = KINDS.get(kind)
    if entry is None or entry.argument not in ("group", "groups"):
        return ()
    return (text,) if text in attributes or entry.argument == "group" else tuple(text.split("+"))


def size_of(error: str) -> str:
    """The attribute that says how large units are, such as "population" in ferman-pinto:population; "" without one."""
    kind, _, text = error.partition(":")
    entry = KINDS.get(kind)
    return text if entry is not None and entry.argument == "size" else ""


def columns_of(error: str, attributes: Sequence[str]) -> tuple[str, ...]:
    """Everything that an error type names: groups, unit and period among them, and sizes."""
    return (*groups_of(error, attributes), *filter(None, [size_of(error)]))


def without_se(error: str) -> bool:
    """Whether an error type is a test: a p value and an interval without a standard error."""
    entry = KINDS.get(kind_of(error))
    return entry is not None and entry.without_se


def distance_of(error: str) -> tuple[float, str] | None:
    """Cutoff in km and kernel of "conley:KM" or "conley:KM:KERNEL"; None when it is neither."""
    distance, _, shape = error.partition(":")[2].partition(":")
    cutoff, shape = number_in(distance), shape or "uniform"
    return (cutoff, shape) if 0 <= cutoff < float("inf") and shape in SHAPES else None


def read_error(error: str, attributes: Sequence[str]) -> tuple[ErrorKind, tuple[str, ...]] | None:
    """The kind of an error type on a panel with these attributes and the groups that it names; None when it does not
    exist there.

    Coordinates are no groups: every unit has its own. Two-way clusters are of two groups; periods are groups of
    `cluster` alone.
    """
    kind, groups = KINDS.get(kind_of(error)), groups_of(error, attributes)
    if kind is None:
        return None
    if kind.argument == "none":
        exists = error == kind.kind
    elif kind.argument == "distance":
        exists = distance_of(error) is not None
    elif kind.argument == "size":
        exists = error == kind.kind or size_of(error) in set(attributes) - set(PLACE)
    else:
        allowed = {"unit", *attributes, *(("period",) if kind.argument == "groups" else ())} - set(PLACE)
        exists = 0 < len(set(groups)) == len(groups) <= 2 and set(groups) <= allowed
    return (kind, groups) if exists else None


def may_be_floored(error: str, attributes: Sequence[str]) -> bool:
    """Whether the matrix of an error type can have negative eigenvalues, which are set to zero."""
    found = read_error(error, attributes)
    return found is not None and (found[0].kind == "conley" or len(found[1]) > 1)


def served(error: str, attributes: Sequence[str], family: Family) -> bool:
    """Whether a family serves an error type. Spatial models have no two-way clusters and none of periods."""
    found = read_error(error, attributes)
    if found is None or family not in found[0].families:
        return False
    groups = found[1]
    if family == "synthetic":
        return groups == ("unit",)
    return family not in SPATIAL or (len(groups) < 2 and "period" not in groups)


def forms(family: Family, attributes: Sequence[str]) -> list[str]:
    """The error types that a family serves, as users write them."""
    written = []
    groups = ["unit"] if family == "synthetic" else [name for name in ("unit", *attributes) if name not in PLACE]
    for kind in (item for item in KINDS.values() if family in item.families):
        if kind.argument == "none":
            written.append(kind.kind)
        elif kind.argument == "distance":
            written += [f"{kind.kind}:KM", f"{kind.kind}:KM:bartlett"]
        elif kind.argument == "size":
            written += [kind.kind, *(f"{kind.kind}:{name}" for name in groups if name != "unit")]
        else:
            written += [f"{kind.kind}:{name}" for name in groups]
            written += ["cluster:period", "cluster:A+B"] * (kind.argument == "groups" and family not in SPATIAL)
    return written


def check_error_types(errors: Sequence[str], schema: Schema, asked_by: str, family: Family) -> None:
    """Raise BadInput for error types that a family does not serve, that repeat, or need what the panel lacks."""
    if not errors or len(set(errors)) < len(errors):
        own = {"mediation": "delta", "spatial": "information", "synthetic": "jackknife:unit"}
        usual = own.get(family, "cluster:unit")
        raise bad(f"errors = {list(errors)}", where=asked_by, allowed="one or more distinct error types",
                  remedy=f'set errors = ["{usual}"]')  # fmt: skip
    for error in errors:
        if not served(error, schema.attributes, family):
            known = forms(family, schema.attributes)
            raise bad(f"unknown error type {error!r}", where=f"{asked_by} errors",
                      allowed=one_of(known, error, "`panelproof kinds`"),
                      remedy=closest(error, known, "choose among them"))  # fmt: skip
        if kind_of(error) == "conley" and not set(PLACE) <= set(schema.attributes):
            raise bad(f"{error} without coordinates", where=f"{asked_by} errors", allowed="a panel with longitude and "
                      "latitude", remedy="name their columns, or choose another error type")  # fmt: skip


def factor_text(error: str, counted: str = "effects nested in clusters not counted in k") -> str:
    """The small-sample factor of an error type in least squares and the distribution of t, as a table's note has it."""
    entry, two = KINDS.get(kind_of(error)), "+" in error
    if entry is None or not entry.factor:
        return ""
    if kind_of(error) == "cluster" and two:
        counted = f"the smaller G, {counted}"
    said = entry.factor.format(counted=counted).replace("(n - k), the smaller", "(n - k) with the smaller")
    return f"{' (Cameron, Gelbach and Miller, 2011)' * two}: {said}"


def error_label(error: str) -> str:
    """An error type in words, to stand after "standard errors"."""
    kind, _, text = error.partition(":")
    entry = KINDS.get(kind)
    if entry is None:
        return error
    if kind in BY_UNIT and text == "unit":
        text = "units"
    if entry.argument == "size" and text:
        text = f", by {text}"
    if entry.argument == "distance":
        text, _, shape = text.partition(":")
        return entry.label.format(of=text) + ", Bartlett weights" * (shape == "bartlett")
    return entry.label.format(of=text.replace("+", " and ") if kind == "cluster" else text)
