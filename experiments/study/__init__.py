"""Studies: what is run, with which settings, and the built-in ones."""
