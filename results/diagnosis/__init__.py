"""Judging a study: measures with Monte Carlo errors, as pure reductions of its records."""
