"""Tables of one measure over the dials of a grid, and the formats that print them."""
