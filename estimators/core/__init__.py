"""What every estimator stands on: the protocol, tiles, within transformations, least squares."""
