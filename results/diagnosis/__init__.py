"""Judging a study: measures with Monte Carlo errors, as pure reductions of its records."""

from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import Diagnosis, diagnose

__all__ = ["Diagnosis", "contrast", "diagnose"]
