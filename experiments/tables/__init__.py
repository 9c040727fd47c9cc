"""The tables of the paper: what each estimates on a real panel."""
