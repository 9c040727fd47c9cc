"""What stands in an SVG: its words, what is said of single artists, and where their markers are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(item.itertext()).strip() for item in ET.fromstring(svg).iter(f"{SVG}text")]


def said(svg: str) -> dict[str, str]:
    """What is said of artists, by their id."""
    found, prefix = {}, (ET.fromstring(svg).get("aria-labelledby") or "").partition("-t ")[0]
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None:
            found[group.get("id", "").removeprefix(f"{prefix}-")] = title.text or ""
    return found


def places(svg: str, gid: str) -> np.ndarray:
    """Where the markers of an artist are, (M, 2), in points from the left and from above."""
    (group,) = (group for group in ET.fromstring(svg).iter(f"{SVG}g") if (group.get("id") or "").endswith(f"-{gid}"))
    return np.array([[float(use.get(side, "nan")) for side in "xy"] for use in group.iter(f"{SVG}use")])


def path(svg: str, gid: str) -> np.ndarray:
    """The corners of an artist's line, (M, 2), in points from the left and from above."""
    (group,) = (group for group in ET.fromstring(svg).iter(f"{SVG}g") if (group.get("id") or "").endswith(f"-{gid}"))
    (line,) = (each.get("d", "") for each in group.findall(f"{SVG}path"))
    return np.array([[float(value) for value in pair.split()] for pair in line.replace("M", "L").split("L")[1:]])
