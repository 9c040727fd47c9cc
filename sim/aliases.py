"""What users call a kind elsewhere: names of other programs' commands and of our classes, for suggestions alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

ALIASES = {
    "twfe": "did",
    "reghdfe": "did",
    "xtreg": "did",
    "feols": "did",
    "fixest": "did",
    "areg": "did",
    "diff-in-diff": "did",
    "difference-in-differences": "did",
    "regress": "did",
    "ols": "did",
    "spautolm": "spatial",
    "xsmle": "spatial",
    "splm": "spatial",
    "spml": "spatial",
    "spxtregress": "spatial",
    "sdpdmod": "spatial",
    "spreg": "spatial",
    "sar": "spatial",
    "sem": "spatial",
    "sdm": "spatial",
    "slx": "spatial",
    "sdem": "spatial",
    "sac": "spatial",
    "durbin": "spatial",
    "csdid": "callaway-santanna",
    "att-gt": "callaway-santanna",
    "callaway": "callaway-santanna",
    "did-imputation": "imputation",
    "borusyak": "imputation",
    "bjs": "imputation",
    "did2s": "two-stage",
    "gardner": "two-stage",
    "sunab": "sun-abraham",
    "eventstudyinteract": "sun-abraham",
    "eventstudy": "event-study",
    "eventdd": "event-study",
    "did-multiplegt": "dcdh",
    "did-multiplegt-dyn": "dcdh",
    "did-m": "dcdh",
    "switchers-did": "dcdh",
    "chaisemartin": "dcdh",
    "stackedev": "stacked",
    "psmatch2": "psm-did",
    "psm": "psm-did",
    "xtreg-re": "random",
    "re": "random",
    "ritest": "permutation",
    "randomization-inference": "permutation",
    "medeff": "mediation",
    "sobel": "mediation",
    "sgmediation": "mediation",
    "residual-moran": "moran",
    "lagrange-multiplier": "lm",
    "equal-effects": "interaction",
    "spillover-did": "spatial-did",
}


def suggestion(name: str, kinds: Mapping[str, str]) -> str:
    """A remedy for an unknown kind: the kind whose class or alias this is, or the one with the nearest name.

    kinds: kind -> name of its class, "" for what is no class.
    """
    classes = {_plain(cls): kind for kind, cls in kinds.items() if cls}
    aliases = {_plain(alias): kind for alias, kind in ALIASES.items() if kind in kinds}
    known = aliases | classes | {_plain(kind): kind for kind in kinds}
    near = difflib.get_close_matches(_plain(name), known, n=1)
    return f"did you mean {known[near[0]]!r}?" if near else "correct the name"


def _plain(name: str) -> str:
    """Without case, and without what joins words."""
    return re.sub(r"[-_ .]", "", name).lower()
