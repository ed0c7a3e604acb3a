from __future__ import annotations

from dataclasses import replace

import daqp
import numpy as np
import pytest

from icl_vla_wbc import qp
from icl_vla_wbc.qp import SOFTNESS, QuadraticProgram, row_kinds


def random_program(rng: np.random.Generator, tight: float) -> QuadraticProgram:
    """Fifteen unknowns and forty soft rows; the smaller ``tight``, the more of them bind."""
    n, m = 15, 40
    A = rng.normal(size=(n, n))
    width = np.concatenate([np.full(n, 3.0), tight * rng.uniform(1, 3, m)])
    shift = 0.3 * width * rng.uniform(-1, 1, n + m)
    return QuadraticProgram(
        A @ A.T + 0.1 * np.eye(n),
        10 * rng.normal(size=n),
        rng.normal(size=(m, n)),
        shift - width,
        shift + width,
    )


def test_rows_left_out_at_first_change_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same solution as with all rows from the start, whether or not left-out rows bind."""
    rounds: list[int] = []
    solve = daqp.solve

    def counted(*arguments: object, **options: object) -> object:
        rounds[-1] += 1
        return solve(*arguments, **options)

    monkeypatch.setattr(qp.daqp, "solve", counted)
    for trial in range(60):
        program = random_program(rng, tight=(0.3, 3.0, 30.0)[trial % 3])
        rounds.append(0)
        found = program.solve(1000)
        assert found is not None
        n, m = len(program.g), len(program.C)
        x, _, flag, info = solve(
            program.H,
            program.g,
            program.C,
            program.upper,
            program.lower,
            row_kinds(n, m),
            rho_soft=SOFTNESS,
        )
        assert flag > 0
        np.testing.assert_allclose(found[0], x, atol=1e-7)
        np.testing.assert_allclose(
            found[1], info["lam"], atol=1e-5 * (1 + np.abs(info["lam"]).max())
        )
        residuals = program.residuals(*found)
        assert max(residuals.primal, residuals.dual, residuals.complementarity) < 1e-7
    assert min(rounds) == 1 and max(rounds) > 1  # both kinds were met


def test_a_bad_number_is_no_solution(rng: np.random.Generator) -> None:
    program = random_program(rng, tight=30.0)
    assert program.solve(1000) is not None
    for field, index in (("g", 3), ("H", (2, 2)), ("lower", 20), ("upper", 20), ("C", (5, 5))):
        spoilt = getattr(program, field).copy()
        spoilt[index] = np.nan
        assert replace(program, **{field: spoilt}).solve(1000) is None, field
