"""Write the committed panel of 36 made-up cities, 2010-2018, on which every table of `estimate` can be produced.

Run: python tests/data/make_cities.py [FOLDER]. All numbers are synthetic, from one seed and plain numpy.

cities.csv            324 rows: staggered policy, a second and a third policy, controls, two mediators, three
                      indicators, three sector shares in percent, provinces, regions, capitals, coordinates
cities_with_gaps.csv  the same outcome and controls, 18 rows less and 9 cells empty
cities_w.csv          square matrix of neighbours on the grid (rook), 0/1, names in the first row and column
cities_map.geojson    a square a city that touches those of its neighbours; the last city is an island
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEED = 20100901
SIDE = 6  # of the square grid on which cities lie
N, T, FIRST = SIDE * SIDE, 9, 2010
NAMES = tuple(f"C{i:02d}" for i in range(1, N + 1))
YEARS = np.arange(FIRST, FIRST + T)
COHORTS = {2012: 6, 2014: 5, 2016: 4}  # cities by first treated year; the others never are
DIGITS = 4

RHO = 0.35  # of the outcome's spatial lag
DIRECT = {"d": 0.5, "road": 0.4, "book": -0.3, "patents": 0.4, "jobs": 0.2}
NEIGHBOURS = {"d": -0.5, "road": 0.5, "book": 0.4}  # coefficients of the regressors' spatial lags


def rook() -> Floats:
    """0/1 links of cities that share a side on the grid, (N, N)."""
    row, column = np.divmod(np.arange(N), SIDE)
    apart = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
    return (apart == 1).astype(float)


def adoption(rng: np.random.Generator, column: NDArray[np.intp]) -> NDArray[np.intp]:
    """First treated year of every city, 0 = never, (N,); cities in the east are treated more often."""
    order = np.argsort(column + rng.gumbel(size=N) * 1.5)[::-1]
    first = np.zeros(N, dtype=np.intp)
    first[order[: sum(COHORTS.values())]] = rng.permutation(np.repeat(list(COHORTS), list(COHORTS.values())))
    return first


def paths(first: NDArray[np.intp]) -> Floats:
    """0/1 treatment of cities first treated in these years, (T, N)."""
    return ((first > 0) & (YEARS[:, None] >= first)).astype(float)


def regressors(rng: np.random.Generator, did: Floats) -> dict[str, Floats]:
    """Controls and mediators, (T, N) each; the first mediator answers to the treatment, the second hardly."""

    def noise(between: float) -> Floats:
        return rng.standard_normal((T, N)) + between * rng.standard_normal(N)

    return {
        "d": did,
        "road": 3.0 + noise(0.6),
        "book": 10.0 + noise(1.0) + 0.1 * np.arange(T)[:, None],
        "patents": 2.0 + 0.8 * did + noise(0.5),
        "jobs": 1.0 + 0.1 * did + noise(0.5),
    }


def outcome(rng: np.random.Generator, x: dict[str, Floats], effects: Floats) -> Floats:
    """(T, N) of a spatial Durbin model with unit and period effects and cities of unequal spread."""
    w = rook() / rook().sum(axis=1, keepdims=True)
    signal = sum(b * x[name] for name, b in DIRECT.items())
    lagged = sum(b * x[name] @ w.T for name, b in NEIGHBOURS.items())
    noise = rng.uniform(0.4, 0.9, N) * rng.standard_normal((T, N))
    return (effects + signal + lagged + noise) @ np.linalg.inv(np.eye(N) - RHO * w).T


def indicators(rng: np.random.Generator, y: Floats) -> dict[str, Floats]:
    """Three indicators that follow the outcome, the third falling, and shares of three sectors in percent."""
    scale = (y - y.mean()) / y.std()
    found = {name: np.exp(load * scale + 0.3 * rng.standard_normal((T, N)))
             for name, load in (("income", 0.4), ("output", 0.2), ("debt", -0.3))}  # fmt: skip
    shares = rng.dirichlet((2.0, 5.0, 4.0), size=(T, N)) * 100
    return found | {f"{name}_pct": shares[:, :, i] for i, name in enumerate(("farms", "plants", "services"))}


def cities() -> pd.DataFrame:
    """The panel, a row a city and year, sorted by city and year."""
    rng = np.random.default_rng(SEED)
    row, column = np.divmod(np.arange(N), SIDE)
    first = adoption(rng, column)
    pilot, data = np.zeros(N, dtype=np.intp), np.zeros(N, dtype=np.intp)
    pilot[rng.permutation(N)[:9]] = np.repeat([2013, 2015, 2017], 3)
    data[rng.permutation(N)[:8]] = 2014
    x = regressors(rng, paths(first))
    levels = 2.0 * rng.standard_normal(N) + 0.3 * column + 0.1 * np.arange(T)[:, None]
    y = outcome(rng, x, levels + 0.3 * paths(pilot))
    of_cities = {
        "city": np.array(NAMES),
        "code": 1001 + np.arange(N),
        "province": np.array([f"P{p}" for p in row // 2 * 3 + column // 2]),
        "region": np.array(["west", "middle", "east"])[column // 2],
        "is_capital": ((row % 2 == 0) & (column % 2 == 0)).astype(int),
        "lon": (106.0 + 1.5 * column + rng.uniform(-0.3, 0.3, N)).round(3),
        "lat": (27.0 + 1.3 * row + rng.uniform(-0.3, 0.3, N)).round(3),
        "first_year": first,
    }
    over_time = {
        "y": y,
        "second": 0.5 * y + rng.standard_normal((T, N)) + rng.standard_normal(N),
        **{name: values for name, values in x.items() if name != "d"},
        "gdp": np.exp(5.0 + rng.standard_normal(N) + 0.08 * np.arange(T)[:, None] + 0.1 * rng.standard_normal((T, N))),
        **indicators(rng, y),
    }
    table = pd.DataFrame({name: np.repeat(values, T) for name, values in of_cities.items()})
    table.insert(2, "year", np.tile(YEARS, N))
    for name, start in (("d", first), ("pilot", pilot), ("data", data)):
        table[name] = paths(start).T.ravel().astype(int)
    for name, values in over_time.items():
        table[name] = values.T.ravel().round(DIGITS)
    return table


def with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Fewer columns, 18 rows left out and 9 cells of the outcome or a control empty, no city or year as a whole."""
    rng = np.random.default_rng(SEED + 1)
    part = table[["city", "province", "year", "d", "y", "road", "book", "patents"]]
    part = part.drop(index=rng.choice(len(part), 18, replace=False)).reset_index(drop=True)
    for position, row in enumerate(rng.choice(len(part), 9, replace=False)):
        part.loc[row, ("y", "road", "book")[position % 3]] = np.nan
    return part


def square_map() -> dict[str, object]:
    """GeoJSON of unit squares on the grid; the last city is drawn too small to touch another."""
    features = []
    for i, name in enumerate(NAMES):
        row, column = divmod(i, SIDE)
        gap = 0.2 if i == N - 1 else 0.0
        low, high = (column + gap, row + gap), (column + 1 - gap, row + 1 - gap)
        ring = [low, (high[0], low[1]), high, (low[0], high[1]), low]
        corners = [[106.0 + x, 27.0 + y] for x, y in ring]
        features.append({"type": "Feature", "properties": {"city": name},
                         "geometry": {"type": "Polygon", "coordinates": [corners]}})  # fmt: skip
    return {"type": "FeatureCollection", "features": features}


def main(folder: Path) -> None:
    """Write the four files."""
    table = cities()
    table.to_csv(folder / "cities.csv", index=False, lineterminator="\n")
    with_gaps(table).to_csv(folder / "cities_with_gaps.csv", index=False, lineterminator="\n")
    matrix = pd.DataFrame(rook().astype(int), index=NAMES, columns=NAMES)
    matrix.to_csv(folder / "cities_w.csv", lineterminator="\n")
    text = json.dumps(square_map(), separators=(",", ":"))
    (folder / "cities_map.geojson").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
