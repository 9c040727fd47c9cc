"""Plain functions as designs: what their parameters mean, what they return, and a digest of their code."""
