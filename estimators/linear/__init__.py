"""Regressions with unit and time effects, and the errors of their coefficients: docs/formulas/linear.md."""
