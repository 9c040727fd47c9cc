"""Add longitude, latitude and whether a city is its province's capital to a city panel, by administrative code.

Run: python examples/city-panel/add_coordinates.py PANEL.csv PREFECTURES.csv OUT.csv
PANEL has city_code, PREFECTURES adcode, lon_centroid and lat_centroid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas

from sim.world.context import cities


def main(panel: Path, prefectures: Path, out: Path) -> None:
    """Write the joined panel; cities without coordinates are named and left out."""
    table = pandas.read_csv(panel)
    places = pandas.read_csv(prefectures)[["adcode", "lon_centroid", "lat_centroid"]]
    places = places.rename(columns={"adcode": "city_code", "lon_centroid": "lon", "lat_centroid": "lat"})
    joined = table.merge(places, on="city_code", how="left")
    lost = joined.loc[joined["lon"].isna(), "city"].unique()
    if lost.size:
        print(f"without coordinates, left out: {', '.join(lost)}")
    known = cities()
    capitals = {int(code) for code, capital in zip(known.adcode, known.capital, strict=True) if capital}
    joined["is_capital"] = joined["city_code"].isin(capitals).astype(int)
    joined.dropna(subset=["lon"]).to_csv(out, index=False)
    print(f"wrote {out}: {joined['city_code'].nunique() - lost.size} cities")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python add_coordinates.py PANEL.csv PREFECTURES.csv OUT.csv")
    main(*map(Path, sys.argv[1:]))
