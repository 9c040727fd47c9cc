"""Estimators that are functions in R: a block of panels goes to Rscript as an Arrow file, and its answers come back.

R reads and writes the files with the package nanoarrow. Whatever ends R ends the call, not this process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from estimators.core.functions import FunctionEstimator, estimator
from sim.errors import bad, listed, near_file, one_of, refuse, type_problems
from sim.panel import Panel, long_table
from sim.streams import Streams

REPLICATION = "replication"  # the column that tells panels apart
MOST_SAID = 300  # letters of what R printed before it ended
DRIVER = r"""
local({  # so that no name here is in the way of the function's, as "fitted" or "rows" may be
arguments <- commandArgs(trailingOnly = TRUE)
paths <- file.path(getwd(), arguments[c(1, 3, 4)])
if (!requireNamespace("nanoarrow", quietly = TRUE)) stop("the package nanoarrow is not installed in R")
source(paths[1])
fit <- get(arguments[2], globalenv(), mode = "function")
panels <- as.data.frame(nanoarrow::read_nanoarrow(paths[2]))
seeds <- as.integer(strsplit(arguments[5], ",")[[1]])

parts <- c("estimate", "se", "dof")
triple <- function(x) {
  x <- unlist(x)
  if (length(x) > 3) stop(length(x), " numbers for a term, and no c(estimate, se, dof)")
  if (!is.null(names(x))) names(x) <- sub("^(estimate|se|dof)[.].*", "\\1", names(x))  # of c(se = s["did"])
  at <- seq_along(x)
  odd <- if ("estimate" %in% names(x)) setdiff(names(x), parts) else
    names(x)[names(x) %in% parts & names(x) != parts[at] | at == 3 & !names(x) %in% c("", "dof")]
  if (length(odd)) stop("a number called ", odd[1], ", and no c(estimate, se, dof)")
  if ("estimate" %in% names(x)) x <- x[parts]
  c(as.numeric(x), rep(NA_real_, 3))[1:3]
}
rows <- function(found) {
  if (is.null(found)) return(NULL)
  if (is.logical(found)) storage.mode(found) <- "double"  # as NA is
  if (is.data.frame(found)) {
    if (is.null(found[["se"]])) found[["se"]] <- found[["std.error"]]  # as broom::tidy names it
    if (is.null(found[["dof"]])) found[["dof"]] <- found[["df"]]  # as estimatr's does
    for (name in c("se", "dof")) if (is.null(found[[name]])) found[[name]] <- NA_real_
    return(data.frame(term = as.character(found$term), estimate = found$estimate, se = found$se, dof = found$dof))
  }
  if (is.numeric(found) && all(names(found) %in% parts))
    return(data.frame(term = "", t(setNames(triple(found), parts))))
  if (is.list(found) && !is.object(found)) {
    if (length(found) != sum(nzchar(names(found)))) stop("a list without the names of terms")
    return(do.call(rbind, lapply(names(found), function(name)
      data.frame(term = name, t(setNames(triple(found[[name]]), parts))))))
  }
  if (is.numeric(found))
    return(data.frame(term = names(found), estimate = as.numeric(found), se = NA_real_, dof = NA_real_))
  beta <- coef(found)
  fixest <- inherits(found, "fixest")
  shown <- if (fixest) found$coeftable else tryCatch(coef(summary(found)), error = function(e) NULL)
  dof <- if (any(grepl("^z", colnames(shown)))) NULL  # the normal law, as of a logit
         else if (fixest) fixest::degrees_freedom(found, "t") else df.residual(found)
  data.frame(term = names(beta), estimate = as.numeric(beta), se = sqrt(diag(as.matrix(vcov(found))))[names(beta)],
             dof = if (is.null(dof)) NA_real_ else as.numeric(dof))
}

own <- setdiff(names(panels), "replication")
answers <- list()
for (r in seq_along(seeds)) {
  panel <- panels[panels$replication == r - 1, own, drop = FALSE]
  rownames(panel) <- NULL
  set.seed(seeds[r])
  found <- tryCatch({
    answer <- rows(fit(panel))
    if (anyDuplicated(answer$term)) stop("the term ", answer$term[duplicated(answer$term)][1], " stands twice")
    answer
  }, error = function(e) {
    data.frame(term = "\u0007error", estimate = NA_real_, se = NA_real_, dof = NA_real_,
               said = conditionMessage(e))
  })
  if (is.null(found)) next
  if (is.null(found$said)) found$said <- ""
  answers[[length(answers) + 1]] <- cbind(replication = as.integer(r - 1), found)
}
if (!length(answers))
  answers <- list(data.frame(replication = integer(), term = character(), estimate = numeric(), se = numeric(),
                             dof = numeric(), said = character()))
nanoarrow::write_nanoarrow(do.call(rbind, answers), paths[3])
})
"""
RAISED = "\aerror"


class RFailed(RuntimeError):
    """R ended without an answer, or its function raised an error."""


@estimator(batched=True)
def r_function(
    panel: Panel,
    rng: Streams,
    code: str = "",
    function: str = "fit",
    unit: str = "unit",
    period: str = "period",
    seconds: float = 3600.0,
) -> dict[str, Any] | None:
    """Fit R panels by a function in R: code of a file that defines it, and its name.

    It gets a data frame with a row a unit and period (columns `unit` and `period`, attributes and variables) and a seed
    that was set for this panel, and returns a number, c(estimate, se, dof), a named list of them by term, a data frame
    with term, estimate, se (or std.error, as broom has it), dof (or df), or a fit that has coef() and vcov(). NULL is
    no answer. seconds: that a call may take. Raises RFailed with what R says, BadInput where Rscript is not there.
    """
    seeds = [int(generator.integers(2**31 - 1)) for generator in rng.each("fit")]
    tables = []
    for row in range(panel.replications):
        table = long_table(panel.replication(row), unit, period)
        table.insert(0, REPLICATION, row)
        tables.append(pa.Table.from_pandas(table, preserve_index=False))
    answers = _answers(pa.concat_tables(tables), seeds, code, function, seconds)
    terms = list(dict.fromkeys(answers["term"]))
    if not terms:
        return None
    counts = Counter(answers[REPLICATION])
    if any(count != len(terms) for count in counts.values()):
        raise RFailed(f"{function} in R returned not all of {listed(terms)} for some panels")
    silent = ~np.isin(np.arange(panel.replications), list(counts))
    found = {term: np.full((3, panel.replications), np.nan) for term in terms}
    for replication, term, *parts in zip(*(answers[name] for name in (REPLICATION, "term", "estimate", "se", "dof")),
                                           strict=True):  # fmt: skip
        found[term][:, replication] = [np.nan if number is None else number for number in parts]
    answer: dict[str, Any] = {}
    for term, (numbers, se, dof) in found.items():  # without standard errors, and by the normal law, where R gave none
        estimate = np.ma.array(numbers, mask=silent)  # NULL is masked: no answer
        answer[term] = estimate if np.isnan(se).all() else (estimate, se, np.where(np.isnan(dof), np.inf, dof))
    return answer


RFunction: Any = r_function  # a class of estimators with these settings


def _answers(
    table: pa.Table, seeds: Sequence[int], code: str, function: str, seconds: float
) -> Mapping[str, list[Any]]:
    """What R answers, by column; raises RFailed."""
    if shutil.which("Rscript") is None:
        raise bad("there is no Rscript", where=f"R function {function}", allowed="R with its package nanoarrow",
                  remedy="install R, or add its folder to PATH")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "driver.R").write_text(DRIVER, encoding="utf-8")
        (folder / "code.R").write_text(code, encoding="utf-8")
        with ipc.new_stream(folder / "panels.arrows", table.schema) as writer:
            writer.write_table(table)
        command = ["Rscript", "--vanilla", "driver.R", "code.R", function, "panels.arrows", "answers.arrows",
                   ",".join(map(str, seeds))]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": name}, timeout=seconds,
                capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RFailed(f"{function} in R took more than {seconds:g} s") from error
        if done.returncode or not (folder / "answers.arrows").exists():
            said = " ".join(done.stderr.split())[-MOST_SAID:]
            raise RFailed(f"R ended with {done.returncode} in {function}: {said or 'it said nothing'}")
        with ipc.open_stream(folder / "answers.arrows") as reader:
            answers: Mapping[str, list[Any]] = reader.read_all().to_pydict()
    for replication, term, said in zip(answers[REPLICATION], answers["term"], answers["said"], strict=True):
        if term == RAISED:
            raise RFailed(f"{function} in R, panel {replication} of {len(seeds)}: {said}")
    return answers


def r_estimator(
    script: str | Path, function: str = "fit", *, terms: Sequence[str] = (), errors: Sequence[str] = ("own",),
    unit: str = "unit", period: str = "period", label: str = "", seconds: float = 3600.0,
) -> FunctionEstimator:  # fmt: skip
    """An estimator that is a function in an R file, for studies, twins and `trust`; see `r_function`.

    script: the file, whose text becomes part of the study, so that workers need R and no file. function: its name
    there. terms: what it estimates; none = found by one trial fit. label: its name in tables, by default the
    function's. Raises BadInput for a file that is not there or does not define the function.

    >>> from pathlib import Path
    >>> import panelproof as pp
    >>> _ = Path("fit.R").write_text("fit <- function(df) mean(df$icr)")
    >>> fit = pp.r_estimator("fit.R", terms=["mean"], errors=[])
    >>> fit.name, fit.terms
    ('fit', ('mean',))
    """
    refuse(type_problems(script, (str, Path), "script", where="r_estimator", allowed="the path of a file of R code"))
    path = Path(script)
    if not path.is_file():
        raise bad("no such file", where=str(path), allowed="a file of R code", remedy=near_file(path, [".r"]))
    code = path.read_text(encoding="utf-8")
    defined = re.findall(r"^\s*([A-Za-z.][\w.]*)\s*(?:<-|=)\s*function\b", code, re.MULTILINE)
    if function not in defined:
        raise bad(f"defines no function {function!r}", where=str(path), allowed=one_of(defined) if defined else
                  "NAME <- function(df) ...", remedy="name one of them")  # fmt: skip
    settings: dict[str, Any] = {"code": code, "function": function, "unit": unit, "period": period, "seconds": seconds}
    made: FunctionEstimator = RFunction(**settings, terms=terms, errors=errors, label=label or function)
    return made
