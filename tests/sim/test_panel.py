"""Panels: valid or not constructed, read-only, and told apart by a digest."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from references.small_panels import names, small_panel, small_weights
from sim import BadInput, Panel, Roles


def test_sizes_and_roles() -> None:
    panel = small_panel(24, 7, replications=3)
    assert (panel.replications, panel.nobs, panel.balanced) == (3, 168, True)
    assert panel.roles.regressors == ("did", "inv", "road")
    schema = panel.schema
    assert (schema.units, schema.periods, schema.weights) == (24, 7, ("knn",))
    assert schema.require("inv", "test") == "inv"
    with pytest.raises(BadInput, match="did you mean 'road'"):
        schema.require("roda", "test")


def test_a_mask_counts_observed_cells() -> None:
    panel = small_panel(24, 7, missing=11)
    assert (panel.nobs, panel.balanced) == (157, False)


def test_observed_cells_are_those_of_the_first_replication() -> None:
    seen = np.ones((3, 7, 24), dtype=bool)
    seen[0, 2, 5:8] = seen[1, 0, 0] = False
    assert replace(small_panel(24, 7, replications=3), observed=seen).nobs == 165


def test_a_card_shows_the_spread_over_n_less_one() -> None:
    panel = Panel(("a", "b"), (1, 2), {"y": np.array([[[1.0, 2.0], [3.0, 4.0]]])})
    assert ">1.291<" in panel._repr_html_()  # the root of 5/3


def test_arrays_are_read_only() -> None:
    panel = small_panel()
    with pytest.raises(ValueError, match="read-only"):
        panel.variables["y"][0, 0, 0] = 1.0
    with pytest.raises(TypeError):
        panel.variables["y"] = np.zeros(1)  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        panel.units = ()  # type: ignore[misc]


def test_one_replication_is_a_panel_of_its_own() -> None:
    panel = small_panel(replications=4)
    one = panel.replication(2)
    assert one.replications == 1
    np.testing.assert_array_equal(one.variables["y"][0], panel.variables["y"][2])
    assert one.variables["did"] is panel.variables["did"]
    assert one.weights is panel.weights


def test_variables_are_added_without_touching_the_rest() -> None:
    panel = small_panel()
    more = panel.with_variables({"z": np.zeros((1, 6, 30))})
    assert "z" in more.schema.variables
    assert "z" not in panel.schema.variables
    assert more.digest != panel.digest
    assert more.schema.roles == panel.schema.roles


def test_weights_are_added_in_order() -> None:
    panel = small_panel().with_weights("again", small_weights(30, "contiguity"))
    assert tuple(panel.weights) == ("knn", "again")


OTHER_ROLES: list[dict[str, Any]] = [
    {"weight": "inv"}, {"instruments": ("inv",)}, {"instruments": ("road",)}, {"continuous": True},
]  # that a Roles does not show  # fmt: skip


def test_digest_covers_labels_roles_numbers_mask_and_weights() -> None:
    panel = small_panel()
    y = np.array(panel.variables["y"])
    y[0, 3, 3] = np.nextafter(y[0, 3, 3], 9.0)
    mask = np.ones((1, 6, 30), dtype=bool)
    mask[0, 2, 2] = False
    others = [
        replace(panel, periods=tuple(range(2002, 2008))),
        replace(panel, roles=Roles("y", "did", ("inv",))),
        *(replace(panel, roles=replace(panel.roles, **role)) for role in OTHER_ROLES),
        replace(panel, attributes={"province": np.array(["x"] * 30)}),
        replace(panel, weights={}),
        replace(panel, observed=mask),
        panel.with_variables({"y": y}),
    ]
    digests = {panel.digest, *(other.digest for other in others)}
    assert len(digests) == 7 + len(OTHER_ROLES)
    assert small_panel().digest == panel.digest == pickle.loads(pickle.dumps(panel)).digest
    assert panel.digest[:12] in repr(panel)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"x": np.zeros((2, 3))}, r"'x' has shape \(2, 3\)"),
        ({"x": np.zeros((1, 3, 2))}, r"allowed: \(R, 2, 3\)"),
        ({"x": np.full((1, 2, 3), np.inf)}, "'x' is inf"),
        ({"x": np.array([[[0.0, 0, 0], [0, np.nan, 0]]])}, "unit b, period 2002; variable 'x' is nan"),
        ({"x": np.zeros((2, 2, 3)), "z": np.zeros((3, 2, 3))}, "numbers of replications differ"),
    ],
)
def test_faulty_variables_are_refused(variables: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Panel(("a", "b", "c"), (2001, 2002), variables)


@pytest.mark.parametrize("axis", ["units", "periods"])
def test_repeated_labels_are_refused(axis: str) -> None:
    labels = {"units": ("a", "b", "a"), "periods": (2001, 2002)}
    if axis == "periods":
        labels = {"units": ("a", "b", "c"), "periods": (2001, 2001)}
    with pytest.raises(BadInput, match=f"{axis} are empty or repeat"):
        Panel(**labels, variables={})  # type: ignore[arg-type]


def test_nan_is_allowed_where_nothing_is_observed() -> None:
    x = np.zeros((1, 2, 3))
    x[0, 1, 2] = np.nan
    panel = Panel(("a", "b", "c"), (2001, 2002), {"x": x}, observed=np.isfinite(x))
    assert panel.nobs == 5


def test_attributes_have_one_value_a_unit() -> None:
    with pytest.raises(BadInput, match="attribute 'region' has shape"):
        Panel(("a", "b"), (1, 2), {}, attributes={"region": np.array(["e"])})


def test_weights_must_be_for_the_panels_units_in_order() -> None:
    panel = small_panel()
    shuffled = panel.weights["knn"].reordered(tuple(reversed(names(30))))
    with pytest.raises(BadInput, match="another order"):
        panel.with_weights("shuffled", shuffled)
