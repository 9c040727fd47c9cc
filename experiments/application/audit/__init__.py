"""Arithmetic on a paper's printed numbers: what they imply for one another, whatever the data were."""
