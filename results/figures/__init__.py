"""The figures: one style, drawn by matplotlib, which is imported only when a figure is drawn."""
