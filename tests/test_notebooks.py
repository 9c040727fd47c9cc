"""What objects show in a notebook: small, escaped, without scripts or colours of their own; and the bar of a run."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
import types
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import panelproof as pp
from experiments.run.progress import Bar, Lines, Notebook, watch_of
from experiments.run.runner import Progress
from experiments.study import TrustCard
from results.plots.picture import picture
from results.verdict.answer import answer
from sim import Panel, Roles
from sim.panel import MOST_ROWS, Text, card, number_text

EVIL = '<script>alert("x")</script>&'
MOST_BYTES = 20_000


class Parts(HTMLParser):
    """Tags and the text between them; fails at a tag that is closed in the wrong order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.said = dict(attrs)
        if tag not in {"img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(html: str) -> Parts:
    """The parts of a card that is small, and read on light and dark pages."""
    assert len(html.encode()) < MOST_BYTES
    parts = Parts(html)
    assert not {"script", "style", "link", "iframe", "img"} & set(parts.tags)
    assert not re.search(r"(?<!-)\bcolor:|background|https?://|\son\w+=", html)
    return parts


def evil_panel(units: int = 4, variables: int = 1) -> Panel:
    """A panel whose every name is markup."""
    rng = np.random.default_rng(5)
    values = {EVIL: rng.standard_normal((1, 3, units)), "d": np.zeros((1, 3, units))}
    values |= {f"{EVIL}{k}": rng.standard_normal((1, 3, units)) for k in range(variables)}
    return Panel(tuple(f"{EVIL}{k}" for k in range(units)), (1, 2, 3), values, Roles(EVIL, "d"),
                 {EVIL: np.arange(units)})  # fmt: skip


def draw(rng, effect=0.5):
    did = 1.0 * np.outer(np.arange(4) >= 2, np.arange(8) < 4)
    return {"y": effect * did + rng.standard_normal((4, 8)), "did": did}


@pytest.fixture(scope="module")
def study() -> pp.Study:
    return pp.Study.from_functions(draw=draw, fit=pp.TwoWayDID(errors=("iid",)), truth="effect", name="cards",
                                   grid={"effect": [0.0, 1.0]}, replications=64, block=64,
                                   question=f"Does it find {EVIL}?")  # fmt: skip


def test_names_are_escaped_everywhere(study):
    store = pp.run(study)
    panel = evil_panel()
    fitted = pp.TwoWayDID(errors=("iid",), outcome=EVIL)
    document = pp.estimate(pp.example_panel())
    evil_document = dataclasses.replace(
        document, panel={**document.panel, "outcome": EVIL}, notes=(EVIL,),
        records=tuple(dataclasses.replace(one, term=EVIL, sample=EVIL) for one in document["2", 5].records),
    )  # fmt: skip
    trust = TrustCard(claim={"text": EVIL, "outcome": EVIL}, mde={"value": 0.1}, held_fixed=[EVIL],
                      verdict={"answer": "not decided", "reason": EVIL, "sentences": [EVIL]},
                      errors=[{"se_type": EVIL, "size": 0.05, "mcse": 0.01, "se": 1.0, "pvalue": 0.2}])  # fmt: skip
    cards = [panel, study, store, evil_document, evil_document["2", 5], trust, Text(EVIL)]
    for each in cards:
        html = each._repr_html_()
        assert "<script" not in html
        assert "&lt;script&gt;" in html, type(each)
        checked(html)
    assert EVIL in Parts(panel._repr_html_()).text
    drawn = picture("evil", EVIL, (9.0, 9.0), lambda canvas: None)._repr_html_()
    assert Parts(drawn).said["alt"] == EVIL
    assert "<script" not in drawn
    treated = np.zeros((1, 3, 4))
    treated[0, 1:, :2] = 1.0
    checked(fitted(panel.with_variables({"d": treated}))._repr_html_())


def test_a_card_shows_the_numbers(study):
    store = pp.run(study)
    diagnosis = pp.diagnose(store)
    text = checked(diagnosis._repr_html_()).text
    bias = diagnosis.frame.query("measure == 'bias' and effect == 1.0")["value"].item()
    assert number_text(float(bias)) in text
    first, *_ = answer(diagnosis).sentences
    assert text.index(first) < text.index("level of tests")
    assert "1 of 2 blocks" not in checked(store._repr_html_()).text
    assert "2 of 2 done" in checked(store._repr_html_()).text
    assert "0, 1" in checked(study._repr_html_()).text
    found = pp.TwoWayDID()(pp.example_panel().panel)
    text = checked(found._repr_html_()).text
    assert number_text(found.params["did"]) in text
    assert number_text(found.std_errors["did"]) in text
    tables = pp.estimate(pp.example_panel())
    text = checked(tables["2", 5]._repr_html_()).text
    assert number_text(tables["2", 5].params["road"]) in text
    text = checked(tables._repr_html_()).text
    assert number_text(tables["2", 4].params["did"]) in text
    panel = pp.example_panel()
    text = checked(panel._repr_html_()).text
    assert "57 units in 18 periods" in text
    assert number_text(float(panel.panel.variables["icr"].mean())) in text


def test_cards_of_twins_and_placebo_tests(study):
    twin = pp.twin(pp.example_panel())
    text = checked(twin._repr_html_()).text
    inside = sum(row.inside for row in twin.fidelity)
    assert f"{inside} of {len(twin.fidelity)} features" in text
    assert number_text(float(twin.parameters[0].value)) in text
    found = pp.placebo(pp.example_panel(), draws=99)
    text = checked(found._repr_html_()).text
    assert number_text(found.permutation_p) in text
    assert number_text(found.estimate) in text


def test_the_card_of_a_big_panel_is_small():
    big = evil_panel(units=20_000, variables=300)
    html = big._repr_html_()
    parts = checked(html)
    assert parts.tags.count("tr") == MOST_ROWS + 1
    assert "and 282 more" in parts.text
    many = Panel(("a", "b"), (1, 2), {"y": np.arange(4000.0).reshape(1000, 2, 2)}, Roles("y"))
    assert "1,000" in checked(many._repr_html_()).text
    assert "Numbers are those of the first replication." in many._repr_html_()


def test_a_card_cuts_long_texts_and_says_what_is_left_out():
    html = card("t", [("fact", "x" * 500), ("none", None), ("empty", "")], ("n", "v"),
                [(f"r{k}", float(k)) for k in range(25)], ["note"])  # fmt: skip
    text = checked(html).text
    assert "x" * 199 + "\N{HORIZONTAL ELLIPSIS}" in text
    assert "x" * 200 not in text
    assert "none" not in text
    assert "and 5 more" in text
    assert number_text(-0.00123456) == "\N{MINUS SIGN}0.001235"
    assert (number_text(float("nan")), number_text(12345), number_text(True)) == ("\N{EN DASH}", "12,345", "True")


# Progress


def test_a_notebook_draws_one_bar_anew(monkeypatch):
    pictures: list[Any] = []

    class Handle:
        def update(self, what: Any, *, raw: bool) -> None:
            assert raw
            pictures.append(what)

    def display(what: Any, *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        pictures.append(what)
        return Handle()

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with Notebook() as watch:
        for k in range(5):
            watch.step(Progress(k, 4, 64 * k, 256, 0, 0, 8 * k))
    assert 2 <= len(pictures) <= 3  # the first, the last, and what is due between
    html = pictures[-1]["text/html"]
    assert html.startswith('<progress value="256" max="256"></progress> 256 of 256 panels')
    assert "<script" not in html
    assert pictures[-1]["text/plain"].startswith("256 of 256 panels")


@pytest.mark.parametrize(("progress", "terminal", "jupyter", "wanted"), [
    (None, True, False, type(None)), (None, False, True, Notebook), (False, False, True, type(None)),
    (True, True, False, Bar), (True, False, False, Lines), (True, False, True, Notebook),
])  # fmt: skip
def test_where_progress_is_shown(progress, terminal, jupyter, wanted):
    console = Console(file=io.StringIO(), force_terminal=terminal, force_jupyter=jupyter)
    assert type(watch_of(progress, console)) is wanted


def test_a_run_says_how_far_it_is_when_asked(study, capsys):
    heard: list[Progress] = []
    kept = pp.run(study, progress=True, listen=heard.append)
    said = capsys.readouterr()
    assert said.out == ""
    assert "128 of 128 panels" in said.err
    assert heard[-1].replications == 128
    silent = pp.run(study)
    assert capsys.readouterr() == ("", "")
    assert np.array_equal(silent.to_xarray()["did/estimate"], kept.to_xarray()["did/estimate"])
