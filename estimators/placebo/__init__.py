"""Placebo and permutation tests: one estimator on very many treatments; see docs/formulas/placebo.md."""
