"""Bundles for a journal's archive: what a result was made of, and a command that makes it again and compares."""
