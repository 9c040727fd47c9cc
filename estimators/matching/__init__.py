"""Difference-in-differences on matched samples: docs/formulas/matching.md."""
