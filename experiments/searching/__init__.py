"""Searches: the value of a dial at which a measure with Monte Carlo error crosses a level."""
