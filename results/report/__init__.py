"""Showing a diagnosis: the bias table, a terminal's version of it, and a self-contained HTML report."""
