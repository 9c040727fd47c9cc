"""Words of the trust page."""

from __future__ import annotations

import pytest

from results.report.trust import p_value


@pytest.mark.parametrize(
    ("value", "said"), [(0.0004, "p < 0.001"), (0.001, "p = 0.001"), (0.0349, "p = 0.035"), (1.0, "p = 1.000")]
)
def test_a_p_value_in_a_sentence(value: float, said: str) -> None:
    assert p_value(value) == said
