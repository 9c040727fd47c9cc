"""SPEC.toml: what a real panel is, and what is to be estimated on it."""
