"""SPEC.toml: what the columns of a panel are, and what is estimated on it."""
