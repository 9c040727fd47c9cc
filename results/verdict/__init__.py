"""Verdicts on measures, and the words for them: what a report says, whatever shows it."""
