from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.mark.parametrize("name", ["panda", "ur5"])
def test_figure_jumps_far_targets_and_a_start_outside(
    benchmark: Callable[[str], ModuleType],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The program and the whole controller: the figure's bar, and no limit broken by anything."""
    arm = benchmark("arm")
    if not arm.ARMS[name][0].is_file():
        pytest.skip("the extra `robots` is not installed")
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    rows = [row for scenario in arm.SCENARIOS for row in arm.compare(name, scenario, 200, [])]
    assert {(row.scenario, row.solver) for row in rows} == {
        (scenario, solver) for scenario in arm.SCENARIOS for solver in ("ours", "ArmMpc")
    }
    for row in rows:
        assert row.broken == 0 and row.failures == 0, row
        if row.scenario == "track":
            assert row.rms_mm <= arm.RMS_BAR
        if row.scenario == "outside":
            assert row.last_mm < 0.1  # it came back and went where it should
