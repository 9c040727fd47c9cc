"""Difference-in-differences on matched samples."""
