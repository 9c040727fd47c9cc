"""Printed tables made up so that every check of the audit has an answer worked out by hand; none are a paper's.

1,000 rows, 250 units in 4 years. The outcome has mean 0.5 and sd 0.1, the treatment mean 0.2 and sd 0.4.
"""

from __future__ import annotations

from typing import Any

Numbers = tuple[float, float, int]  # estimate, bracket, stars


def column(r2: float, loglik: float | None = None, **terms: Numbers) -> dict[str, Any]:
    """A printed column."""
    named = {name: dict(zip(("estimate", "se", "stars"), numbers, strict=True)) for name, numbers in terms.items()}
    return {"terms": named, "r2": r2} | ({} if loglik is None else {"loglik": loglik})


def printed_tables() -> dict[str, Any]:
    """The JSON of `panelproof audit`, with faults that tests/results/test_audit.py names."""
    moments = {"n": 1000, "min": 0.0, "max": 1.0}
    sound = {"did": (0.02, 0.01, 2), "inv": (0.05, 0.01, 3), "constant": (0.486, 0.01, 3)}
    starred = {**sound, "did": (0.02, 0.01, 3)}
    other = {**sound, "did": (0.04, 0.01, 3)}
    spatial = {"did": (0.02, 0.01, 2), "inv": (0.05, 0.01, 3)}
    return {
        "1": {
            "eip": {**moments, "mean": 0.2, "sd": 0.4002},
            "icr": {**moments, "mean": 0.5, "sd": 0.1},
            "inv": {**moments, "mean": 0.2, "sd": 0.1},
            "gpat": {**moments, "mean": 1.0, "sd": 0.1},
        },
        "2": {
            "1 none": column(0.0064, did=(0.02, 0.01, 2), constant=(0.496, 0.01, 3)),
            "2": column(0.5, **sound),
            "3": column(0.5, **starred),
            "4": column(0.5, **{**sound, "constant": (0.45, 0.01, 3)}),
            "5 both": column(0.75, **sound),
        },
        "3": {"1 some": column(0.5, **sound)},
        "4": {"1 east": column(0.5, **sound), "2 west": column(0.5, **other)},
        "5": {
            "1 gpat": column(0.5, did=(0.1, 0.01, 3), inv=(0.05, 0.01, 3), constant=(0.5, 0.01, 3)),
            "2 icr": column(0.5, **{**sound, "did": (0.015, 0.01, 0)}, gpat=(0.2, 0.01, 3)),
        },
        "6": {
            year: {"moran_i": 0.2, "moran_z": z, "geary_c": 0.8, "geary_z": -z}
            for year, z in {"2010": 4.2, "2011": 4.2, "2012": 4.2, "2013": 5.0}.items()
        },
        "7": {
            "1 SEM": column(0.5, 1390.0, **spatial, **{"lambda": (0.2, 0.05, 3)}, sigma2=(0.0036, 0.0002, 3)),
            "2 SAR": column(0.5, 1391.0, **spatial, rho=(0.2, 0.05, 3), sigma2=(0.0036, 0.0002, 3)),
            "3 SDM": column(0.5, 1395.0, **spatial, w_did=(0.01, 0.01, 0), w_inv=(0.02, 0.01, 2), rho=(0.2, 0.05, 3),
                            sigma2=(0.0036, 0.0004, 3)),
        },
    }  # fmt: skip
