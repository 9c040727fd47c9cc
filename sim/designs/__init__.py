"""Designs: worlds with known truth, one file each."""
