"""Spatial weights: what they hold, how they are built, and the spatial filter that they define."""

from sim.weights.weights import SPARSE_BELOW, Standardize, Weights

__all__ = ["SPARSE_BELOW", "Standardize", "Weights"]
