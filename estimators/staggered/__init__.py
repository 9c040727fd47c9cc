"""Staggered adoption: effects by cohort and event time, what two-way DID averages; see docs/formulas/staggered.md."""
