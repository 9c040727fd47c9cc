"""Staggered adoption: effects by cohort and event time, and what two-way regressions make of them."""
