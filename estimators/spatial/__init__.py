"""Spatial panel models by maximum likelihood, and tests of spatial autocorrelation: docs/formulas/spatial.md."""
