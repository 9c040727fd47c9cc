"""A panel: N units observed over T periods, one real panel or a batch of R synthetic ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Flags, Floats
from sim.errors import amount, bad, listed
from sim.schema import Roles, Schema, absent_periods, period_step

if TYPE_CHECKING:
    import pandas as pd

    from sim.weights import Weights


# What objects show of themselves in a notebook: a small table of HTML that is read on light and on dark pages.
#
# It holds no script, no colour of letters and no other file, and all that it shows is escaped.


MOST_ROWS = 20  # of a table; the rest is counted
MOST_LETTERS, MOST_SAID = 200, 800  # of a fact or a cell, and of a note
MINUS = "\N{MINUS SIGN}"
LINE = "1px solid rgba(128,128,128,.35)"
CELL = 'style="text-align:{};padding:1px 8px"'


def card(title: str, facts: Iterable[tuple[str, object]] = (), heads: Sequence[str] = (),
         rows: Iterable[Sequence[object]] = (), notes: Iterable[str] = (),
         answer: Iterable[str] = ()) -> str:  # fmt: skip
    """A title, the answer in sentences, facts (name, value; None and "" are left out), a table, and notes, as HTML.

    rows: as many values as heads; numbers stand at the right. Of many rows the first ones are shown.
    """
    parts = [f"<div><strong>{escape(title)}</strong></div>"]
    parts += [f"<div>{_text(sentence, MOST_SAID)}</div>" for sentence in answer]
    parts += [f'<div><span style="opacity:.7">{escape(name)}:</span> {_text(value)}</div>'
              for name, value in facts if value is not None and value != ""]  # fmt: skip
    if held := list(rows):
        sides = ["right" if isinstance(value, int | float) else "left" for value in held[0]]
        head = "".join(f"<th {CELL.format(side)}>{escape(name)}</th>" for side, name in zip(sides, heads, strict=True))
        lines = [f'<tr style="border-bottom:{LINE}">{head}</tr>']
        for row in held[:MOST_ROWS]:
            cells = (f"<td {CELL.format(side)}>{_text(value)}</td>" for side, value in zip(sides, row, strict=True))
            lines.append(f"<tr>{''.join(cells)}</tr>")
        parts.append(f'<table style="border-collapse:collapse;margin:.3em 0">{"".join(lines)}</table>')
        more = len(held) - MOST_ROWS
        parts += [f'<div style="opacity:.7">and {more:,} more</div>'] if more > 0 else []
    parts += [f'<div style="opacity:.8">{_text(note, MOST_SAID)}</div>' for note in notes]
    return f'<div style="font-size:90%;line-height:1.4">{"".join(parts)}</div>'


def number_text(value: object) -> str:
    """A number with four significant digits and a true minus sign, a lone dash where there is none; else the text."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        text = f"{value:.4g}" if math.isfinite(value) else "\N{EN DASH}"
        return text.replace("-", MINUS)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class Text(str):
    """Text that a notebook and a Python prompt show as it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<pre style="line-height:1.3;white-space:pre;overflow-x:auto">{escape(self)}</pre>'


def _text(value: object, most: int = MOST_LETTERS) -> str:
    text = number_text(value)
    return escape(text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}")


@dataclass(frozen=True, eq=False)
class Panel:
    """Named variables on N units x T periods; valid, or not constructed.

    `variables` and `observed` are (R, T, N), time-major with units contiguous; a leading 1 says that the array is the
    same in every replication. `attributes` are (N,). Arrays are made read-only, numbers float64. Raises BadInput for
    arrays of another shape, for what is no number, for infinite values, and for NaN where a value counts as observed.
    """

    units: tuple[str, ...]
    periods: tuple[int, ...]
    variables: Mapping[str, Floats]
    roles: Roles = field(default_factory=Roles)
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    observed: Flags | None = None
    weights: Mapping[str, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("attributes", "weights"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for axis, labels in (("units", self.units), ("periods", self.periods)):
            if len(set(labels)) != len(labels) or not labels:
                twice = [label for label in dict.fromkeys(labels) if labels.count(label) > 1]
                raise bad(f"{axis} are empty or repeat: {listed(twice)}", where=f"panel {axis}",
                          allowed="distinct labels, at least one", remedy="remove the duplicates")  # fmt: skip
        if self.observed is not None:
            object.__setattr__(self, "observed", np.asarray(self.observed, dtype=bool))
            self._check_shape("observed", self.observed)
            self.observed.flags.writeable = False
        object.__setattr__(self, "variables", MappingProxyType(self._checked(self.variables, {})))
        for name, values in self.attributes.items():
            if values.shape != (len(self.units),):
                raise bad(f"attribute {name!r} has shape {values.shape}", where="panel attributes",
                          allowed=f"({len(self.units)},)", remedy="give one value per unit")  # fmt: skip
        for name, weights in self.weights.items():
            if weights.units != self.units:
                raise bad(f"weights {name!r} are for {len(weights.units)} other units or another order",
                          where="panel weights", allowed="the panel's units in the panel's order",
                          remedy="use weights.reordered(panel.units)")  # fmt: skip

    def _check_shape(self, name: str, array: NDArray[Any]) -> None:
        if array.ndim != 3 or array.shape[1:] != (len(self.periods), len(self.units)):
            raise bad(f"{name!r} has shape {array.shape}", where="panel variables",
                      allowed=f"(R, {len(self.periods)}, {len(self.units)}): replications, periods, units",
                      remedy="transpose or complete the array")  # fmt: skip

    def _checked(self, variables: Mapping[str, Floats], others: Mapping[str, Floats]) -> dict[str, Floats]:
        """Others and variables, of which the latter are looked at; what is masked has no value."""
        together = dict(others)
        for name, given in variables.items():
            array = np.asarray(given)
            if array.dtype.kind not in "fiub":
                raise bad(f"variable {name!r} holds {array.dtype}", where="panel variables", allowed="numbers",
                          remedy="convert it to numbers")  # fmt: skip
            array = np.asarray(array, dtype=np.float64)  # differences of others wrap around, or are refused by numpy
            if np.ma.is_masked(given):
                array = np.where(np.ma.getmaskarray(given), np.nan, array)
            together[name] = array
            self._check_shape(name, array)
            finite = np.isfinite(array)
            sound = finite if finite.all() or self.observed is None else finite | ~self.observed
            if not sound.all():
                _, t, i = np.argwhere(~sound)[0]
                raise bad(f"variable {name!r} is {array[~finite][0]}",
                          where=f"unit {self.units[i]}, period {self.periods[t]}", allowed="finite numbers",
                          remedy='fill or drop the cell (missing = "drop")')  # fmt: skip
            array.flags.writeable = False
        if len({array.shape[0] for array in together.values()} - {1}) > 1:
            sizes = {name: array.shape[0] for name, array in together.items()}
            raise bad(f"numbers of replications differ: {sizes}", where="panel variables",
                      allowed="1 or R in every variable", remedy="draw all for the same replications")  # fmt: skip
        return together

    def with_variables(self, variables: Mapping[str, Floats]) -> Self:
        """The same panel with some variables added or replaced; only the new ones are checked."""
        together = self._checked(variables, self.variables)
        other = object.__new__(type(self))
        other.__dict__.update({key: self.__dict__[key] for key in self.__dataclass_fields__})
        other.__dict__["variables"] = MappingProxyType(together)
        return other

    def replication(self, index: int) -> Self:
        """One replication as a panel of its own (R = 1)."""

        def one[A: (Floats, Flags)](array: A) -> A:
            return array if array.shape[0] == 1 else array[index : index + 1]

        alone = self if self.observed is None else replace(self, variables={}, observed=one(self.observed))
        return alone.with_variables({name: one(array) for name, array in self.variables.items()})

    def with_weights(self, name: str, weights: Weights) -> Self:
        """The same panel with one more weights matrix; the first is the main one."""
        return replace(self, weights={**self.weights, name: weights})

    def __getstate__(self) -> dict[str, Any]:
        plain = {key: self.__dict__[key] for key in self.__dataclass_fields__}
        return plain | {key: dict(value) for key, value in plain.items() if isinstance(value, MappingProxyType)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            self.__dict__[key] = MappingProxyType(value) if isinstance(value, dict) else value

    @property
    def replications(self) -> int:
        """R: 1 for a real panel."""
        return max(array.shape[0] for array in self.variables.values())

    @property
    def balanced(self) -> bool:
        """Whether every unit is observed in every period."""
        return self.observed is None or bool(self.observed.all())

    @property
    def nobs(self) -> int:
        """Observed unit-periods of the first replication."""
        return len(self.units) * len(self.periods) if self.observed is None else int(self.observed[0].sum())

    @cached_property
    def schema(self) -> Schema:
        """Sizes, names and roles."""
        return Schema(
            units=len(self.units),
            periods=len(self.periods),
            variables=tuple(self.variables),
            attributes=tuple(self.attributes),
            weights=tuple(self.weights),
            roles=self.roles,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over labels, roles and every number."""
        sha = hashlib.sha256(repr((self.units, self.periods, self.roles)).encode())
        for word in ("weight", "instruments", "continuous"):  # what the roles do not show
            if value := getattr(self.roles, word):
                sha.update(f"\x1f{word} {value}".encode())
        for group in (self.variables, self.attributes):
            for name in sorted(group):
                values = group[name]
                text = values.tobytes() if values.dtype.kind in "fiub" else repr(values.tolist()).encode()
                sha.update(f"\x1f{name}{values.shape}".encode() + text)
        sha.update(b"" if self.observed is None else self.observed.tobytes())
        for name, weights in self.weights.items():
            sha.update(f"{name}{weights.digest}".encode())
        return sha.hexdigest()

    def __repr__(self) -> str:
        return (
            f"Panel({len(self.units)} units x {len(self.periods)} periods, R = {self.replications}, "
            f"{len(self.variables)} variables, sha256 {self.digest[:12]})"
        )

    def _repr_html_(self) -> str:
        return panel_card(self)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, unit: str, period: str, roles: Roles | None = None) -> Panel:
        """A real panel (R = 1) from a long table of one row a unit and period; see `sim.panel_files.read_table`."""
        from sim.panel_files import read_table  # pandas is loaded where a table is there already

        return cls(**read_table(frame, unit, period, roles or Roles()).parts)


def check_balanced(panel: Panel, asked_by: str) -> None:
    """Raise BadInput for a panel with gaps."""
    if not panel.balanced:
        count = len(panel.units) * len(panel.periods) - panel.nobs
        raise bad(f"{amount(count, 'unit-period')} {'is' if count == 1 else 'are'} missing", where=asked_by,
                  allowed="a balanced panel", remedy='set balance = "drop-units" or "drop-periods"')  # fmt: skip


def check_steps(panel: Panel, asked_by: str) -> None:
    """Raise BadInput for a panel that lacks whole periods, across which neither lags nor times since a date count."""
    if absent := absent_periods(panel.periods):
        raise bad(f"periods are not evenly spaced: those used have no {listed(absent)}", where=asked_by,
                  allowed=f"periods {period_step(panel.periods)} apart",
                  remedy="leave out the periods before or after the gap")  # fmt: skip


def long_table(panel: Panel, unit: str = "unit", period: str = "period") -> pd.DataFrame:
    """One row a unit and period that is observed, by unit and period, of a panel with R = 1.

    Raises BadInput where a variable has the name of the column of units or periods.
    """
    import pandas as pd  # loaded where a table is asked for

    n, t = len(panel.units), len(panel.periods)
    if taken := [name for name in (unit, period) if name in panel.variables]:
        raise bad(f"a variable is called {taken[0]!r}, as the column of units or periods is", where="table of a panel",
                  allowed="a name of its own for each column",
                  remedy="rename the variable, or the column: unit = ..., period = ...")  # fmt: skip
    columns: dict[str, Any] = {unit: np.tile(np.array(panel.units), t), period: np.repeat(panel.periods, n)}
    columns |= {name: np.tile(values, t) for name, values in panel.attributes.items()}
    columns |= {name: array[0].ravel() for name, array in panel.variables.items()}
    order = np.arange(n * t).reshape(t, n).T[seen_in(panel).T]
    return pd.DataFrame({name: values[order] for name, values in columns.items()})


def part(panel: Panel, units: Flags, periods: Flags) -> Panel:
    """Some units (N,) and periods (T,) of a panel, without weights."""
    seen = None if panel.observed is None else panel.observed[:, periods][:, :, units]
    return Panel(
        units=tuple(unit for unit, keep in zip(panel.units, units, strict=True) if keep),
        periods=tuple(period for period, keep in zip(panel.periods, periods, strict=True) if keep),
        variables={name: array[:, periods][:, :, units] for name, array in panel.variables.items()},
        roles=panel.roles,
        attributes={name: values[units] for name, values in panel.attributes.items()},
        observed=None if seen is None or seen.all() else seen,
    )


def seen_part(panel: Panel, seen: Flags) -> Panel:
    """Some unit-periods (T, N) of a panel, without weights; units and periods of which nothing is left go."""
    return part(replace(panel, observed=seen[None].copy(), weights={}), seen.any(axis=0), seen.any(axis=1))


def seen_in(panel: Panel) -> Flags:
    """Which unit-periods are observed, (T, N)."""
    if panel.observed is None:
        return np.ones((len(panel.periods), len(panel.units)), dtype=bool)
    return panel.observed[0]


def group_labels(values: NDArray[Any]) -> NDArray[np.str_]:
    """An attribute (N,) as text: whole numbers without a decimal point, words as they are."""
    whole = values.dtype.kind == "f" and bool((np.isfinite(values) & (values == np.floor(values))).all())
    return np.array([str(int(value) if whole else value) for value in values.tolist()], dtype=np.str_)


# What a panel shows of itself in a notebook.


def panel_card(panel: Any, facts: Sequence[tuple[str, object]] = (), notes: Sequence[str] = ()) -> str:
    """Sizes, roles and variables of a panel as HTML; of several replications the numbers are those of the first."""
    one, roles = panel.replication(0), panel.roles
    seen, many = seen_in(one), panel.replications > 1
    of: dict[str | None, str] = {roles.weight: "weight", roles.outcome: "outcome", roles.treatment: "treatment"}
    for names, role in ((roles.controls, "control"), (roles.mediators, "mediator"), (roles.instruments, "instrument")):
        of.update((name, role) for name in names)
    rows: list[tuple[object, ...]] = []
    for name, array in one.variables.items():
        x = array[0][seen]
        spread = float(x.std(ddof=1) * (np.ptp(x) > 0)) if x.size > 1 else np.nan  # else a constant has its rounding
        rows.append((name, of.get(name, ""), float(x.mean()), spread, float(x.min()), float(x.max())))
    own: list[tuple[str, object]] = [
        ("periods", f"{panel.periods[0]} to {panel.periods[-1]}"),
        ("units", listed(panel.units, 4)),
        ("rows", one.nobs),
        ("replications", panel.replications if many else None),
        ("outcome", roles.outcome),
        ("treatment", roles.treatment),
        ("weighted by", roles.weight),
        ("weights", listed(panel.weights)),
        ("attributes", listed(panel.attributes)),
    ]
    head = ("variable", "role", "mean", "s.d.", "least", "most")
    said = ["Numbers are those of the first replication."] if many else []
    title = f"Panel of {len(panel.units):,} units in {len(panel.periods):,} periods"
    return card(title, (*own, *facts), head, rows, (*said, *notes))
