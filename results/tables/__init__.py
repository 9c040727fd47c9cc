"""Showing estimates on a real panel: records of every number, and terminal tables."""
