"""Placebo and permutation tests of a real panel."""
