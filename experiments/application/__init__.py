"""Estimates on a real panel: its spec, tables, reference programs, files."""
