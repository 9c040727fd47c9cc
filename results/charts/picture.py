"""A figure of matplotlib in the house style that notebooks show and that `savefig` writes."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from matplotlib.figure import Figure

from results.figures.style import house_style


class Picture(Figure):
    """A figure with a name, which makes its ids, and a text alternative."""

    def __init__(self, name: str, alt: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.alt = name, alt

    def savefig(self, fname: Any, **settings: Any) -> None:
        """Write it to a file, whose ending says the format; settings: those of matplotlib."""
        with house_style(self.name):
            super().savefig(fname, **settings)

    def _repr_html_(self) -> str:
        """An image without a background, so that it is read on light and dark pages."""
        file = io.BytesIO()
        self.savefig(file, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img style="max-width:100%" alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'
