"""Worlds: what a panel design settles once, draws in each replication, and knows to be true."""
