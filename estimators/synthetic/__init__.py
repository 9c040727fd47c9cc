"""Synthetic control and its relatives: weights of units and of periods on the simplex."""
