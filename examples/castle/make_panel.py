"""Write the castle-doctrine panel of 48 states, their map and the spec into a folder.

Cheng and Hoekstra (2013, Journal of Human Resources 48:821-854), as the `causaldata` package holds it; the map is
libpysal's. Run: python examples/castle/make_panel.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import geopandas
import libpysal
import pandas
from causaldata import castle

REGIONS = {1: "northeast", 2: "midwest", 3: "south", 4: "west"}
COLUMNS = ["l_homicide", "l_larceny", "l_motor", "l_police", "unemployrt", "poverty", "l_income", "l_prisoner"]


def main(folder: Path) -> None:
    """Write castle.csv, states.geojson and SPEC.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    states = geopandas.read_file(libpysal.examples.get_path("us48.shp"))[["STATE_NAME", "geometry"]]
    states = states.rename(columns={"STATE_NAME": "state"}).sort_values("state").set_crs("EPSG:4326")
    states.to_file(folder / "states.geojson", driver="GeoJSON")
    points = states.geometry.representative_point()
    places = pandas.DataFrame({"state": states["state"], "lon": points.x, "lat": points.y})
    panel = castle.load_pandas().data
    panel["state"] = panel["sid"].map(_names(states["state"].tolist()))
    panel["year"] = panel["year"].astype(int)
    panel["law"] = panel["post"].astype(int)
    panel["population"] = panel["popwt"]
    panel["region"] = _regions(panel)
    panel = panel.merge(places, on="state")
    columns = ["state", "year", "region", "lon", "lat", "law", "population", *COLUMNS]
    panel[columns].sort_values(["state", "year"]).to_csv(folder / "castle.csv", index=False)
    shutil.copy(Path(__file__).with_name("SPEC.toml"), folder / "SPEC.toml")
    print(f"wrote {folder / 'castle.csv'}, {folder / 'states.geojson'} and {folder / 'SPEC.toml'}")


def _names(contiguous: list[str]) -> dict[int, str]:
    """Number -> name: the data number 50 states and the District of Columbia by the alphabet, from 1."""
    every = sorted([*contiguous, "Alaska", "Hawaii", "District of Columbia"])
    return dict(enumerate(every, start=1))


def _regions(panel: pandas.DataFrame) -> pandas.Series:
    """Census region from the dummies of region by year."""
    dummies = {code: [f"r{year}{code}" for year in range(2000, 2011)] for code in REGIONS}
    member = pandas.DataFrame({REGIONS[code]: panel[names].sum(axis=1) for code, names in dummies.items()})
    return member.idxmax(axis=1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python make_panel.py FOLDER")
    main(Path(sys.argv[1]))
