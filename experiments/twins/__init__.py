"""Twins: `panel` designs fitted to a real panel, and reports of how like it they are."""
