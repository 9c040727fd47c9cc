"""Every command and every Python block of the documents runs, with short settings where a page says so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.documents

COUNTED = ("run", "skip", "same", "file")
PAGES = blocks.pages()
STUDIES = [page for page in PAGES if page.parent.name == "studies" and page.name != "README.md"]
ELSEWHERE = {"python.md": "tests/test_python_page.py"}  # pages whose blocks all run in a test of their own
RUN = [page for page in PAGES if page not in STUDIES[1:] and page.name not in ELSEWHERE]
PARTS = {"docs": [page for page in RUN if page.parent.name == "docs"],
         "others": [page for page in RUN if page.parent.name != "docs"]}  # fmt: skip


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", PARTS)
def test_every_block_of_the_documents_runs(
    part: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    failed = []
    for page, ran in zip(PARTS[part], blocks.in_process(PARTS[part], tmp_path), strict=True):
        name = page.relative_to(blocks.REPOSITORY)
        found = [block for block in blocks.blocks_of(page.read_text("utf-8")) if block.kind in COUNTED]
        failed += [f"{name}:{result.line}\n{result.printed}" for result in ran if result.kind == "failed"]
        assert failed or [result.line for result in ran] == [block.line for block in found]
        run, skip, same, file = (sum(result.kind == kind for result in ran) for kind in COUNTED)
        seconds = sum(result.seconds for result in ran)
        record_property("documents", f"{name}: {run} blocks ran in {seconds:.1f} s, {same} are those of another page, "
                        f"{skip} skipped, {file} saved as files")  # fmt: skip
        for result in ran:
            if result.kind == "skip":
                record_property("documents", f"  line {result.line} is skipped: {result.printed}")
    assert failed == []


def test_pages_that_run_elsewhere_have_python_alone_and_skip_nothing() -> None:
    for name, test in ELSEWHERE.items():
        (page,) = (page for page in PAGES if page.name == name)
        found = [block for block in blocks.blocks_of(page.read_text("utf-8")) if block.kind in COUNTED]
        assert {(block.kind, block.language) for block in found} == {("run", "python")}
        assert name in (blocks.REPOSITORY / test).read_text("utf-8")


def test_pages_of_studies_have_the_commands_of_the_one_that_runs() -> None:
    """tests/experiments/test_claims.py runs every built-in study."""
    texts = set()
    for page in STUDIES:
        (block,) = (block for block in blocks.blocks_of(page.read_text("utf-8")) if block.kind in COUNTED)
        assert block.kind == "run"
        text = block.text.replace(page.stem.removeprefix("study-"), "NAME")
        texts.add(re.sub(r" --replications \d+", "", text))
    assert len(texts) == 1, texts


def test_a_block_that_is_skipped_says_why() -> None:
    skipped = [(page, block) for page in PAGES for block in blocks.blocks_of(page.read_text("utf-8"))
               if block.kind == "skip"]  # fmt: skip
    assert [(page, block.line) for page, block in skipped if len(block.marked("skip")[0].split()) < 3] == []


NOTEBOOK = blocks.REPOSITORY / "docs" / "tutorials" / "first-hour.ipynb"


def lines_of(output: Any) -> int:
    """Lines that a reader sees of an output: of a text, and of a card the rows of its table and its sentences."""
    if output["output_type"] == "stream":
        return len(output["text"].splitlines())
    shown = output["data"]
    if "image/png" in shown or "image/svg+xml" in shown:
        return 1
    html = shown.get("text/html")
    return len(shown["text/plain"].splitlines()) if html is None else len(re.findall(r"<(?:tr|div|img|svg)\b", html))


def test_the_first_hour_runs_and_is_read_in_minutes(tmp_path: Path) -> None:
    """From a file to tables, trust, a race, a study and a plot, in a folder and a kernel of its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    begin = time.monotonic()
    client.execute()
    took = time.monotonic() - begin
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == 12
    printed = {number: sum(map(lines_of, cell.outputs)) for number, cell in enumerate(code, 1)}
    assert {number: count for number, count in printed.items() if not 1 <= count <= 40} == {}
    outputs = [output for cell in code for output in cell.outputs]
    shown = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    assert sum("text/html" in data for data in shown) >= 9, "tables, verdict, race, study, store: cards"
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert {"panel.csv", "spec.toml", "trust", "serial.zarr"} <= {path.name for path in tmp_path.iterdir()}
    assert took < 3 * 90  # on a machine that does nothing else it takes a third of this


PAGE = """
# A page

<!-- short: 5 => 2 -->
```python
found = 5
print("found", found)
```

```python
print(found + 1)
```

<!-- output: 1 -->
```text
found 5
```

```toml title="a/study.toml"
seed = 1
```

<!-- skip: it needs the network -->
```sh
curl example
```

<!-- exit: 2 -->
```sh
panelproof --help           # what there is
panelproof run nothing
```

```sh
make demo
```

```python
never = "reached"
```
"""


def test_blocks_run_in_order_in_one_namespace_and_end_at_a_failure(tmp_path: Path) -> None:
    found = blocks.blocks_of(PAGE)
    assert [block.kind for block in found] == ["run", "run", "output", "file", "skip", "run", "run", "run"]
    assert found[0].text == 'found = 5\nprint("found", found)\n', "a run that is not short leaves the page as it is"
    assert found[0].shortened() == 'found = 2\nprint("found", found)\n'
    changes = [("5 => 2", "7 => 2", "does not hold '7'"), ("print(found + 1)", "print(1 / 0)", "ZeroDivisionError"),
               ("exit: 2", "exit: 1", "exit code 2 of: panelproof run nothing")]  # fmt: skip
    pages = [tmp_path / f"page-{number}.md" for number in range(4)]
    for page, (old, new, _) in zip(pages, [("", "", ""), *changes], strict=True):
        assert old in PAGE
        page.write_text(PAGE.replace(old, new) if old else PAGE, encoding="utf-8")
    ran, *failing = blocks.in_process(pages, tmp_path)
    assert [result.kind for result in ran] == ["run", "run", "file", "skip", "run", "failed"]
    assert [result.printed for result in ran[:2]] == ["found 2\n", "3\n"]
    assert (tmp_path / "0" / "a" / "study.toml").read_text() == "seed = 1\n"
    assert "no study 'nothing'" in ran[4].printed
    assert "make is neither panelproof nor python" in ran[5].printed
    for result, (*_, words) in zip(failing, changes, strict=True):
        assert result[-1].kind == "failed"
        assert words in result[-1].printed
