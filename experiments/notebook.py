"""What studies, twins, placebo tests and trust pages show of themselves in a notebook."""

from __future__ import annotations

from typing import Any

from sim.errors import listed
from sim.panel import card, shown


class StudyCard:
    """A study as a notebook shows it: its question, what is run, and the dials of its grid."""

    __slots__ = ()

    def _repr_html_(self: Any) -> str:
        facts = [
            ("question", self.question),
            ("expected", self.expected),
            ("design", self.design.kind),
            ("cells", len(self.cells)),
            ("replications", f"{self.replications:,} a cell"),
            ("estimators", listed((estimator.name for estimator in self.estimators), 8)),
            ("worlds", self.world_count if self.world_count > 1 else None),
            ("held fixed", ", ".join(self.held_fixed)),
            ("seed", self.seed),
        ]
        rows = [(dial, listed(map(shown, values), 8)) for dial, values in self.grid]
        return card(f"Study {self.name}", facts, ("dial", "values"), rows)


def twin_card(twin: Any) -> str:
    """What was fitted, and how many features of the panel lie within those of the twins."""
    inside = sum(row.inside for row in twin.fidelity)
    facts = [
        ("method", twin.method),
        ("other methods", ", ".join(other.method for other in twin.others)),
        ("fidelity", f"{inside} of {len(twin.fidelity)} features of the panel lie within those of its twins"),
        ("outside", listed((row.feature for row in twin.fidelity if not row.inside), 8) if twin.fidelity else ""),
    ]
    rows = [(one.dial, float(one.value), one.what, float(one.raw)) for one in twin.parameters]
    heads = ("parameter", "fitted", "statistic of the panel", "its value")
    return card("Twin of a panel", facts, heads, rows, twin.notes)


class PlaceboCard:
    """A placebo test as a notebook shows it."""

    __slots__ = ()

    def _repr_html_(self: Any) -> str:
        ask = self.question
        p = f"{shown(self.permutation_p)} (Monte Carlo error {shown(self.mcse)})"
        facts = [
            ("estimate", self.estimate),
            ("standard error", f"{shown(self.se)} ({self.own_error})"),
            ("its own p value", self.pvalue),
            ("p value of the permutation" if ask.is_test else "share of placebos as large",
             p if ask.is_test else self.share_as_large),
            ("95% interval", None if self.no_interval else f"{shown(self.lower)} to {shown(self.upper)}"),
            ("scheme", ask.scheme),
            ("placebos", len(self.placebos)),
        ]  # fmt: skip
        return card(f"Placebo test of {ask.term}", facts, notes=self.notes)


class TrustCard(dict[str, Any]):
    """What trust.json holds, as a dict that a notebook shows."""

    def _repr_html_(self) -> str:
        claim, mde = self["claim"], self["mde"]
        facts = [
            ("claim", claim["text"]),
            ("power of 80% from an effect of", mde["value"]),
            ("held fixed", ", ".join(self["held_fixed"])),
        ]
        heads = ("errors", "size", "MC error", "std. error", "p")
        rows = [tuple(row[name] for name in ("se_type", "size", "mcse", "se", "pvalue")) for row in self["errors"]]
        verdict = self["verdict"]
        return card(f"{claim['outcome']}: {verdict['answer']}", facts, heads, rows,
                    answer=[verdict["reason"], *verdict["sentences"]])  # fmt: skip
