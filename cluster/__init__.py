"""Machines: where tasks run; knows nothing of the science."""
