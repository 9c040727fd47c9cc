"""The layout of tables: which numbers stand where, with which errors, under which notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from documents import CONTROLS, FACTS, behind, cells, full_document, number_of, only, records, statistics

import experiments.tables
from experiments.tables.ledger import journal_tables, layouts, table_modules
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.records import BASELINE, ROBUSTNESS, SPATIAL, Agreement, Document, Fit
from results.tables.typography import (
    error_label,
    error_note,
    figures,
    probability,
    short_p,
    split_stars,
    term_label,
    with_minus,
)
from sim.errors import BadInput


def test_every_table_in_the_order_of_the_paper() -> None:
    tables = journal_tables(full_document())
    names = [table.name for table in tables]
    assert list(dict.fromkeys(map(number_of, tables)))[:8] == ["1", "2", "3", "4", "5", "6", "7", "R"]
    assert names[:5] == ["1", "2", "3", "4", "5"]
    assert names[5:12] == ["6a", "6b", "7a", "7b", "7c", "7d", "7e"]
    assert len(set(names)) == len(names)
    behind = [table.name for table in tables if table.appendix]
    assert behind == [f"A{number}" for number in range(1, len(behind) + 1)]
    assert names[-len(behind) :] == behind
    for table in tables:
        assert table.rows
        for row in table.rows:
            assert row.kind == "head" or len(row.cells) == len(table.columns), (table.caption, row)


def test_table_1_has_the_parts_between_and_within() -> None:
    table = only("1")
    assert [row.label for row in table.rows[:3]] == ["icr", "  between", "  within"]
    assert cells(table, "icr") == ("0.4402", "0.1091", "0.2003", "0.8402", "5,130")
    assert cells(table, "icr", 1) == ("", "0.1000", "0.2500", "0.8000", "")
    assert "eip" in [row.label for row in table.rows]


def test_table_2_prints_pooled_and_random_side_by_side_and_says_which() -> None:
    table = only("2")
    assert table.groups == (("Pooled OLS", 3), ("Random effects", 3), ("Fixed effects", 2))
    assert [column.number for column in table.columns] == ["(1)", "(2)", "(3)", "(1)", "(2)", "(3)", "(4)", "(5)"]
    assert cells(table, "eip")[7] == "0.0157***"
    assert cells(table, "eip", 1)[7] == "(0.0040)"  # clustered, the third error type
    assert cells(table, "inv")[0] == ""
    assert cells(table, "Unit effects") == ("no", "no", "no", "random", "random", "random", "yes", "yes")
    assert cells(table, "Period effects") == ("no", "no", "yes", "no", "no", "yes", "no", "yes")
    assert cells(table, "R² overall")[3:6] == ("0.3530",) * 3
    assert any("pooled least squares and by random effects" in note for note in table.notes)
    assert any("clustered by unit: factor G/(G - 1)" in note for note in table.notes)


def test_the_errors_asked_for_are_shown_and_named() -> None:
    table = only("2", "hc1")
    assert cells(table, "eip", 1)[7] == "(0.0030)"
    assert any("HC1" in note for note in table.notes)
    assert not any("clustered" in note for note in table.notes if not note.startswith("The stars of "))
    spatial = only("7", "hessian")
    assert cells(spatial, "eip", 1)[0] == "(0.0030)"
    assert any("observed Hessian" in note for note in spatial.notes)
    assert any("clustered" in note for note in only("2", "hessian").notes)


def test_errors_that_only_some_columns_have_are_named_column_by_column() -> None:
    table = only("2", "wild:unit")
    assert cells(table, "Standard errors")[6:] == ("cluster:unit", "wild:unit")
    assert cells(table, "eip", 1)[7] == "[0.0012, 0.0301]"
    assert cells(table, "eip")[7] == "0.0157**"
    assert cells(table, "inv", 1)[7] == "(0.0040)"  # of which the bootstrap says nothing
    assert any("not standard errors" in note for note in table.notes)


def test_an_error_type_that_no_fit_has_is_refused() -> None:
    with pytest.raises(BadInput, match=r"hc9.*cluster:unit"):
        journal_tables(full_document(), "hc9")


def test_table_3_names_the_sample_and_the_other_policy() -> None:
    table = only("3")
    assert [column.label for column in table.columns] == ["without capitals", "with low_carbon"]
    assert cells(table, "Units (city)") == ("260", "285")
    assert cells(table, "low_carbon")[0] == ""
    assert cells(table, "Correlation with eip") == ("", "0.2856")


def test_table_4_has_the_test_of_equal_effects_under_its_columns() -> None:
    table = only("4")
    assert [(column.group, column.label) for column in table.columns] == [
        ("region", "east"), ("region", "west"), ("province", "test alone"),
    ]  # fmt: skip
    assert cells(table, "Difference to the first") == ("", "0.0015", "")
    assert cells(table, "Difference to the first", 1) == ("", "(0.0040)", "")
    assert cells(table, "Wald χ²") == ("0.100", "", "31.500")
    assert cells(table, "p (F)") == ("0.7500", "", "<0.0001")
    assert cells(table, "p by permutation", 1) == ("0.0130", "", "")


def test_table_5_has_the_indirect_effect_with_every_interval() -> None:
    table = only("5")
    assert table.groups == (("Mediator gpat", 2), ("Mediator ent", 2))
    assert [column.label for column in table.columns] == ["gpat", "icr", "ent", "icr"]
    indirect = [row.label for row in table.rows].index("Indirect effect (a × b)")
    assert table.rows[indirect].cells == ("", "0.00067", "", "0.00067")
    methods = [row.label.strip() for row in table.rows[indirect + 1 : indirect + 9]]
    assert methods == ["delta method", "", "Sobel", "", "Monte Carlo", "", "unit bootstrap", ""]
    assert table.rows[indirect + 2].cells[1] == "[-0.0033, 0.0046]"
    assert cells(table, "Share of the total")[1] == "0.0420"
    assert cells(table, "ρ at which a × b is 0")[3] == "0.0700"


def test_table_5_says_what_errors_the_effects_have_where_others_stand_above() -> None:
    said = "Effects through the mediator: clustered by unit; each method's standard error"
    for asked in (None, "cluster:unit"):
        table = only("5", asked)
        assert "Standard errors" not in [row.label for row in table.rows]
        assert any(note.startswith(said) for note in table.notes)
    table = only("5", "iid")
    labels = [row.label for row in table.rows]
    assert labels.index("Standard errors") == labels.index("Effects through the mediator") + 1
    assert cells(table, "Standard errors") == ("", "cluster:unit", "", "cluster:unit")
    assert any("homoskedastic" in note for note in table.notes)
    assert any(note.startswith(said) for note in table.notes)


def test_table_5_names_the_bootstrap_by_its_cluster() -> None:
    document = full_document()
    renamed = [replace(record, se_type=record.se_type.replace(":unit", ":province")) for record in document.records]
    table = only("5", document=replace(document, records=tuple(renamed)))
    assert "  province bootstrap" in [row.label for row in table.rows]
    assert any("Effects through the mediator: clustered by province; " in note for note in table.notes)


def test_table_6_has_a_row_a_year_and_a_table_a_w() -> None:
    tables = [table for table in journal_tables(full_document()) if number_of(table) == "6"]
    assert ["knn-6" in tables[0].title, "queen" in tables[1].title] == [True, True]
    assert [row.label for row in tables[0].rows] == ["2006", "2007", "All periods"]
    assert tables[0].rows[0].cells[:4] == ("0.4320", "13.318", "<0.0001", "0.0002")
    assert tables[0].rows[2].cells == ("",) * 8 + ("0.0500", "5.000", "0.0010")
    assert "Moran's I of residuals under projected normal errors" in tables[0].notes[0]


def test_table_7_direct_before_lee_yu_for_every_w() -> None:
    tables = [table for table in journal_tables(full_document()) if number_of(table) == "7"]
    order = [("knn-6", "direct"), ("knn-6", "Lee and Yu"), ("queen", "direct"), ("queen", "Lee and Yu")]
    assert [all(word in table.title for word in words) for table, words in zip(tables, order, strict=False)] == [
        True
    ] * 4
    table = tables[0]
    assert [column.label for column in table.columns] == ["SEM", "SAR", "SDM", "SLX", "SDEM", "SAC"]
    assert cells(table, "W × eip")[2] == "0.0124***"
    assert cells(table, "σ²")[0] == "0.00090"  # a variance is not tested
    assert cells(table, "Log-likelihood")[0] == "10,954.386"
    labels = [row.label for row in table.rows]
    assert labels.index("Direct effects") < labels.index("Indirect effects") < labels.index("Total effects")
    assert cells(table, "LR against SAR, χ²") == ("", "", "66.600", "", "", "")
    assert cells(table, "LR against SAR, χ²", 1)[2] == "[p = 0.0123]"
    assert cells(table, "Wald against SAR, χ²", 1)[2] == "[p < 0.0001]"
    assert any("direct" in note for note in table.notes)
    assert any("delta method" in note for note in table.notes)
    assert any("(N - 1)(T - 1)" in note for note in tables[1].notes)
    tests = next(table for table in tables if table.title.startswith("Lagrange multiplier"))
    assert [column.group for column in tests.columns][::2] == [
        "W knn-6, exact", "W knn-6, Elhorst's form", "W queen, exact", "W queen, Elhorst's form",
    ]  # fmt: skip
    assert cells(tests, "LM lag")[:4] == ("60.330", "<0.0001", "46.900", "<0.0001")


def test_the_appendix_has_the_treatment_under_every_standard_error() -> None:
    table = next(table for table in journal_tables(full_document()) if table.appendix)
    assert [row.label for row in table.rows] == [
        "Fixed effects: eip 0.0157", "homoskedastic", "heteroskedasticity-robust (HC1)", "clustered by unit",
        "wild cluster bootstrap by unit",
    ]  # fmt: skip
    assert table.rows[1].cells == ("0.0020", "7.850", "0.0010", "0.0118", "0.0196")
    assert table.rows[4].cells == ("", "", "0.0200", "0.0012", "0.0301")
    spatial = next(t for t in journal_tables(full_document()) if t.appendix and "knn-6, direct" in t.title)
    assert "SDM: indirect effect of eip 0.0131" in [row.label for row in spatial.rows]


def test_the_appendix_has_z_by_every_method_and_the_clusters() -> None:
    moments = behind("Moran's I, icr, by every method")
    assert moments.groups == (("normality", 4), ("randomisation", 4), ("permutation", 4))
    assert cells(moments, "2006")[:4] == ("0.0324", "13.318", "<0.0001", "0.0002")
    clusters = behind("Local Moran clusters of icr, 2007")
    assert [row.label for row in clusters.rows] == ["High among high", "Beijing", "Low among low", "Sanya"]
    assert cells(clusters, "Sanya") == ("1.5000", "0.0200", "0.0400")


def test_the_appendix_has_confounded_mediation_and_the_balance_of_matching() -> None:
    assert behind("Indirect effect through gpat").rows == (Row("ρ = -0.5", ("0.0010", "-0.0020", "0.0040")),)
    matched = behind("Balance of covariates")
    assert [(column.group, column.label) for column in matched.columns] == [
        ("Before matching", "bias"), ("After matching", "bias"), ("Logit of treatment", "logit se"),
    ]  # fmt: skip
    assert cells(matched, "inv") == ("40.0000", "3.0000", "1.0000")


def test_floored_covariances_are_confessed() -> None:
    assert any("eigenvalues" in note for note in only("2", "hc1").notes)
    assert not any("eigenvalues" in note for note in only("2").notes)


def test_effects_by_simulation_stand_beside_those_by_the_delta_method() -> None:
    fit = Fit(SPATIAL["sdm"], "sdm", "direct", weights="knn-6")
    found = records(fit, {"did": 0.01, "rho": 0.1, "indirect:did": 0.02}, ("information",))
    found += records(fit, {"indirect:did": 0.02}, ("simulation",), effects_method="simulation")
    document = Document(FACTS, tuple(found), ())
    assert cells(only("7", document=document), "eip", 1) == ("(0.0020)",)
    behind = next(table for table in journal_tables(document) if table.appendix)
    assert [row.label for row in behind.rows][-1].startswith("by simulation")
    asked = only("7", "simulation", document)
    assert any("by simulation" in note for note in asked.notes)


def test_a_document_with_a_single_fit_and_no_treatment() -> None:
    fit = Fit(BASELINE["controls, units, periods"], "did")
    facts = {**FACTS, "treatment": None, "treatment_column": None}
    document = Document(facts, tuple(records(fit, {"inv": 0.07})), tuple(statistics(fit, r2=None)))
    first, behind = journal_tables(document)
    assert first.caption == "Table 2. Regressions of icr on its regressors"
    assert [column.number for column in first.columns] == ["(5)"]
    assert "eip" not in " ".join([row.label for row in first.rows] + list(first.notes))
    assert behind.rows[0].label == "Fixed effects: inv 0.0700"


def test_a_treatment_is_said_to_be_1_from_the_period_on_that_a_column_holds() -> None:
    document = full_document({**FACTS, "first_treated": "eip"})
    for name in ("2", "5", "7"):
        assert only(name, document=document).notes[0] == "eip is 1 from the period in column eip on."
        assert not only(name).notes[0].startswith("eip")


def test_statistics_without_records_and_empty_documents_do_no_harm() -> None:
    assert journal_tables(Document(FACTS, (), ())) == ()
    fit = Fit((ROBUSTNESS, 1), "did", sample="nothing came of it")
    assert journal_tables(Document(FACTS, (), tuple(statistics(fit, r2=0.5)))) == ()


def test_agreement_with_other_programs_is_a_table() -> None:
    document = replace(full_document(), cross_check=(Agreement("2", "linearmodels", "estimates", 36, 2.4e-14),))
    table = next(table for table in journal_tables(document) if table.caption.startswith("Agreement"))
    assert table.rows[1] == Row("linearmodels: estimates", ("36", "2.4e-14"))
    assert table.notes[-1].startswith("The other programs do not recompute ")


def test_synthetic_data_are_called_so_under_every_table() -> None:
    tables = journal_tables(full_document({**FACTS, "synthetic": True}))
    assert all("Synthetic data" in table.notes[-1] for table in tables if table.name)


def test_controls_keep_their_names_whatever_they_look_like() -> None:
    named = {"did": "eip"}
    assert term_label("w_did", CONTROLS, lambda name: named.get(name, name)) == "W × eip"
    assert term_label("w_rain", ("w_rain",)) == "w_rain"
    assert term_label("w_w_rain", ("w_rain",)) == "W × w_rain"
    assert term_label("indirect:did", (), lambda name: named.get(name, name)) == "eip"
    assert term_label("long_indirect:did", (), lambda name: named.get(name, name)) == "eip"
    assert term_label("long_run:did") == "long_run:did"
    assert term_label("lambda") == "λ"


def test_p_values_stars_and_minus_signs() -> None:
    assert (probability(0.0001), probability(0.00001), probability(None)) == ("0.0001", "<0.0001", "")
    assert split_stars("-0.01***") == ("-0.01", "***")
    assert (figures(0.0512, places=2), short_p(0.001)) == ("0.051", "= .001")
    assert with_minus("[-0.1, -2] 2006-2023 knn-6 1e-7 -0.00008") == "[−0.1, −2] 2006-2023 knn-6 1e−7 −0.00008"


def test_error_types_in_words() -> None:
    assert error_label("cluster:unit+period") == "clustered by unit and period"
    assert error_label("conley:200") == "Conley, 200 km"
    assert "n - k" in error_note("iid", likelihood=False)
    assert "no small-sample factor" in error_note("cluster:unit", likelihood=True)
    assert "inverted" in error_note("wild:province", likelihood=False)


def test_wide_tables_break_between_groups_and_keep_every_column() -> None:
    heads = tuple(Heading(str(j), f"({j})", "ab"[j // 3]) for j in range(6))
    rows = (Row("x", tuple("123456")), Row("only late", ("",) * 5 + ("9",)), Row("empty", kind="head"))
    table = JournalTable("2", "Wide", heads, rows, ("note",))
    parts = table.blocks(lambda part: len(part.columns) <= 4)
    assert [len(part.columns) for part in parts] == [3, 3]
    assert [len(part.rows) for part in parts] == [1, 2]
    assert [part.notes for part in parts] == [(), ("note",)]
    assert parts[1].caption == "Table 2. Wide (continued)"
    single = replace(table, columns=tuple(replace(column, group="") for column in heads))
    assert [len(part.columns) for part in single.blocks(lambda part: len(part.columns) <= 4)] == [3, 3]
    assert [len(part.columns) for part in table.blocks(lambda part: len(part.columns) <= 2)] == [2, 2, 2]


def test_long_tables_break_above_headings() -> None:
    rows = (Row("a"), Row("h", kind="head"), Row("b"), Row("c"), Row("h2", kind="head"), Row("d"))
    parts = JournalTable("7", "Long", (), rows, ("note",)).pages(4)
    assert [[row.label for row in part.rows] for part in parts] == [["a", "h", "b", "c"], ["h2", "d"]]
    assert parts[0].notes == ()


def _adoption() -> Document:
    """Tables S to S4 with a column of every kind."""
    averages = {"overall": 0.012, "overall:event": 0.013, "overall:cohort": 0.014, "overall:calendar": 0.015}
    events = {f"event({k})": 0.01 * k for k in (-3, -2, 0, 1)}
    kinds = ("cluster:unit", "cluster:province")
    study, robust, fitted = Fit(("S", 2), "event-study"), Fit(("S", 3), "callaway-santanna", "never"), Fit(
        ("S", 6), "callaway-santanna", "not-yet, dr")  # fmt: skip
    imputed = Fit(("S", 7), "imputation")
    found = records(Fit(("S", 1), "did"), {"did": 0.0157}, kinds)
    found += records(study, {"overall": 0.01, "overall:event": 0.011, **events}, kinds)
    found += records(robust, averages | events, kinds) + records(fitted, averages | events, kinds)
    found += records(imputed, averages | events | {"event(-1)": 0.002}, kinds)
    found += records(Fit(("S2", 4), "dcdh"), {"event(0)": 0.011, "placebo": 0.001}, kinds)
    near = {"did": 0.0144, "w_did": 0.0191, "untreated:0-100": 0.004, "att": 0.0173, "spill:untreated": 0.0016,
            "did_bias": 0.0013}  # fmt: skip
    found += records(Fit(("S4", 1), "spatial-did", weights="knn-6"), near, kinds)
    said = statistics(robust, pretrend_p=0.0123, pretrend_hotelling_p=0.0345, uniform=2.61, cohorts=13.0, cells=130.0)
    bacon = Fit(("S2", 1), "goodman-bacon")
    for kind, weight in (("treated v never", 0.9), ("later v earlier", 0.1)):
        said += statistics(bacon, kind, weight=weight, mean=0.015, comparisons=13.0)
    said += statistics(bacon, twfe=0.0152)
    for column, controls in ((2, None), (3, "controls")):
        said += statistics(Fit(("S2", column), "dcdh-weights", controls), coefficient=0.0152, cells=396.0,
                           negative_share=0.05, negative_sum=-0.01, sensitivity=0.03,
                           reversal=0.4 if controls else None)  # fmt: skip
    power = Fit(("S2", 5), "roth")
    said += statistics(power, size=0.1473, before=4.0, after=6.0, mean_effect=0.0137)
    for share, slope in (("0.5", 0.0029), ("0.8", 0.0044)):
        said += statistics(power, share, slope=slope, bias_untested=0.01, bias_passed=0.013, bayes_factor=0.58,
                           likelihood_ratio=0.3)  # fmt: skip
    for column, label in ((1, "event(0)"), (2, "mean of event(0) to event(5)")):
        for restriction, scale in (("relative magnitudes", 1.0), ("smoothness", 0.5)):
            fit = Fit(("S3", column), "honest", restriction, label)
            said += statistics(fit, original_lower=0.004, original_upper=0.027, scale=scale,
                               breakdown=0.4 if column == 1 else None)  # fmt: skip
            said += statistics(fit, "0.5", lower=-0.01, upper=0.03 if column == 1 else None)
    return Document(FACTS, tuple(found), tuple(said))


def test_table_s_has_an_estimator_a_column_and_what_it_compares() -> None:
    table = only("S", document=_adoption())
    assert [column.label for column in table.columns] == [
        "Two-way DID", "Event study", "never treated", "not yet treated, doubly robust", "Imputation",
    ]  # fmt: skip
    assert table.groups == (("", 2), ("Callaway-Sant'Anna", 2), ("", 1))
    assert cells(table, "ATT, unit-periods alike") == ("0.0157***", "0.0100***", "0.0120***", "0.0120***", "0.0120***")
    assert cells(table, "ATT, unit-periods alike", 1)[0] == "(0.0020)"
    assert cells(table, "ATT, cohorts by size")[:3] == ("", "", "0.0140***")
    events = [row.label.strip() for row in table.rows if row.label.strip().lstrip("+-").isdigit()]
    assert events == ["-3", "-2", "-1", "0", "+1"]
    assert cells(table, "  -1") == ("", "ref.", "ref.", "ref.", "0.0020")
    assert cells(table, "Compared with") == ("all", "all", "never", "not yet", "untreated")
    assert cells(table, "Controls") == ("yes", "yes", "no", "yes", "yes")
    assert cells(table, "Pre-trends, p (Hotelling)")[2] == "0.0345"
    assert cells(table, "Cohort-periods used")[2] == "130"
    assert sum(note.startswith("Standard errors") for note in table.notes) == 1
    assert any("clustered by province" in note for note in only("S", "cluster:province", _adoption()).notes)


def test_tables_s2_say_what_the_coefficient_averages_and_what_the_test_sees() -> None:
    bacon, weights, switch, power = (table for table in journal_tables(_adoption()) if number_of(table) == "S2")
    assert cells(bacon, "Treated v never treated") == ("0.9000", "0.0150", "13")
    assert cells(bacon, "Two-way coefficient") == ("1.0000", "0.0152", "26")
    assert [row.label for row in bacon.rows] == [
        "Treated v never treated", "Later v earlier cohort", "Two-way coefficient",
    ]  # fmt: skip
    assert [column.label for column in weights.columns] == ["without controls", "with controls"]
    assert cells(weights, "SD of effects, all reversed") == ("none", "0.4000")
    assert cells(switch, "One period before") == ("0.0010",)
    assert any("clusters that contain a switch" in note for note in switch.notes)
    assert cells(power, "Slope per period") == ("0.0029", "0.0044")
    assert "4 event times before" in power.notes[0]
    assert "0.0137" in power.notes[0]


def test_table_s3_has_a_block_a_restriction_and_m_in_its_own_unit() -> None:
    table = only("S3", document=_adoption())
    assert [column.label for column in table.columns] == ["event(0)", "mean of event(0) to event(5)"]
    assert table.rows[0].cells == ("[0.0040, 0.0270]",) * 2
    assert [row.label for row in table.rows if row.kind == "head"] == ["Relative magnitudes", "Smoothness"]
    assert cells(table, "  M = 0.5") == ("[-0.0100, 0.0300]", "none")
    assert [row.cells for row in table.rows if "breakdown" in row.label] == [("0.4000", "none"), ("0.8000", "none")]


def test_table_s4_names_spillovers_and_the_document_has_none_without_them() -> None:
    table = only("S4", document=_adoption())
    assert table.groups == (("Neighbours' treatment", 1),)
    labels = [row.label for row in table.rows if row.kind == "value"]
    assert labels[:6] == [
        "eip", "W × eip", "Untreated, other at 0-100 km", "Effect on the treated", "Spillover on the untreated",
        "Bias of DID without it",
    ]  # fmt: skip
    assert not [table for table in journal_tables(full_document()) if table.name.startswith("S")]


def test_every_table_is_found_and_no_two_share_a_place() -> None:
    places = [place for module in table_modules() for place in module.LAYOUTS]
    assert len(places) == len(set(places))
    files = {file.stem for file in Path(experiments.tables.__path__[0]).glob("*.py")}
    assert {module.__name__.rpartition(".")[2] for module in table_modules()} == files - {"__init__", "ledger"}
    assert {layout for module in table_modules() for layout in module.LAYOUTS.values()} == set(layouts())
    assert [layout.__name__ for layout in layouts()][:3] == ["descriptives", "baseline", "checks"]
