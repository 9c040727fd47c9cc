"""Other programs' answers on one real panel: what tests, benchmarks and the cross-check hold our numbers to."""
