"""Every command and every Python block of the documents runs, with short settings where a page says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import blocks
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
    for page in PAGES:
        for block in blocks.blocks_of(page.read_text("utf-8")):
            if block.kind == "skip":
                assert len(block.marked("skip")[0].split()) >= 3, (page, block.line)


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


FAILING = ("does not hold '7'", "exit code 2 of: panelproof run nothing", "ZeroDivisionError")


def test_blocks_run_in_order_in_one_namespace_and_end_at_a_failure(tmp_path: Path) -> None:
    assert [block.kind for block in blocks.blocks_of(PAGE)] == [
        "run", "run", "output", "file", "skip", "run", "run", "run"
    ]  # fmt: skip
    pages = [tmp_path / f"page-{number}.md" for number in range(4)]
    changes = [("5 => 2", "7 => 2"), ("exit: 2", "exit: 1"), ("print(found + 1)", "print(1 / 0)")]
    for page, (old, new) in zip(pages, [("", ""), *changes], strict=True):
        assert old in PAGE
        page.write_text(PAGE.replace(old, new) if old else PAGE, encoding="utf-8")
    ran, *failing = blocks.in_process(pages, tmp_path)
    assert [result.kind for result in ran] == ["run", "run", "file", "skip", "run", "failed"]
    assert [result.printed for result in ran[:2]] == ["found 2\n", "3\n"]
    assert (tmp_path / "0" / "a" / "study.toml").read_text() == "seed = 1\n"
    assert "no study 'nothing'" in ran[4].printed
    assert "make is neither panelproof nor python" in ran[5].printed
    assert [result[-1].kind for result in failing] == ["failed"] * 3
    for result, words in zip(failing, FAILING, strict=True):
        assert words in result[-1].printed


def test_a_run_that_is_not_short_leaves_the_page_as_it_is() -> None:
    (first, *_) = blocks.blocks_of(PAGE)
    assert first.text == 'found = 5\nprint("found", found)\n'
    assert first.shortened() == 'found = 2\nprint("found", found)\n'
