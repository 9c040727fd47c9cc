"""Studies: what to run, the runner, and the command line."""
