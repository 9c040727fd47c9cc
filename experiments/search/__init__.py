"""Searches over a dial: where a measure reaches a level."""
