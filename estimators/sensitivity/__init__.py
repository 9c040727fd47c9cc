"""How much an estimate hangs on its assumptions: unobserved confounders, single units, several tests, residuals."""
