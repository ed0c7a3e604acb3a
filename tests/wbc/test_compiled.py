from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from icl_vla_wbc.compiled import Compilation, CompiledInPlace, cache_key, find_compiler

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own, which other tests do without."""
    monkeypatch.delenv("CC", raising=False)


def example(factor: float = 2.0) -> ca.Function:
    x = ca.SX.sym("x", 3)
    return ca.Function("example", [x], [factor * ca.sin(x), ca.sumsqr(x)])


def slow_to_compile() -> ca.Function:
    """Some thousand operations that do not simplify: about a second of compiler."""
    x = ca.SX.sym("x", 3)
    y = x
    for k in range(1500):
        y = ca.sin(y) * ca.vertcat(y[1], y[2], y[0] + k)
    return ca.Function("slow", [x], [y])


def evaluate(function: CompiledInPlace, x: np.ndarray) -> list[np.ndarray]:
    function.inputs[0][:] = x
    return [out.copy() for out in function()]


@needs_compiler
def test_code_is_swapped_in_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    x = np.array([[0.3, -1.0, 2.0]])
    function = CompiledInPlace(example(), folder=tmp_path)
    before = evaluate(function, x)  # at once, by the virtual machine
    np.testing.assert_allclose(before[0], 2 * np.sin(x), rtol=1e-15)
    assert not function.compiled and "in the background" in caplog.text
    assert function.compilation.wait(30)
    time.sleep(0.11)  # it looks every tenth of a second
    after = evaluate(function, x)
    assert function.compiled
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    files = sorted(path.suffix for path in tmp_path.iterdir())
    assert files == [".lock", ".so"]  # neither source nor half a library stays

    again = CompiledInPlace(example(), folder=tmp_path)
    assert evaluate(again, x)[0].shape == (1, 3) and again.compiled  # from the cache, first call


@needs_compiler
def test_nothing_waits_for_the_compiler(tmp_path: Path) -> None:
    function = CompiledInPlace(slow_to_compile(), folder=tmp_path)
    x, worst = np.full((1, 3), 0.1), 0.0
    while not function.compilation.wait(0):
        start = time.thread_time()
        evaluate(function, x)
        worst = max(worst, time.thread_time() - start)
        assert not function.compilation.over
        time.sleep(0.01)
    assert worst < 0.05  # CPU time of a call while the compiler runs beside it


@needs_compiler
def test_two_processes_compile_once(tmp_path: Path) -> None:
    """A lock lets one compile; the other gets its library, also when the first is gone."""
    first = Compilation(slow_to_compile(), tmp_path)
    second = Compilation(slow_to_compile(), tmp_path)
    assert first._process is not None and second._process is None
    assert second.take() is None
    assert second.wait(60)
    time.sleep(0.11)
    assert second.take() is not None and second.over

    script = (
        "import sys; sys.path[:0] = eval(sys.argv[2]); import pathlib, casadi as ca\n"
        "from icl_vla_wbc.compiled import Compilation\n"
        "x = ca.SX.sym('x')\n"
        "Compilation(ca.Function('orphan', [x], [x**3]), pathlib.Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), repr(sys.path)], check=True)
    x = ca.SX.sym("x")
    heir = Compilation(ca.Function("orphan", [x], [x**3]), tmp_path)
    assert heir.wait(30)
    time.sleep(0.11)
    code = heir.take()
    assert code is not None and float(code(2.0)) == 8.0


def test_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    function = CompiledInPlace(example(), folder=tmp_path)
    np.testing.assert_allclose(evaluate(function, np.ones((1, 3)))[1], 3.0)
    assert function.compilation.over and not function.compiled
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    function = CompiledInPlace(example(), folder=tmp_path / "cache")
    end = time.monotonic() + 20
    while not function.compilation.over and time.monotonic() < end:
        np.testing.assert_allclose(evaluate(function, np.ones((1, 3)))[1], 3.0)
        time.sleep(0.02)
    assert function.compilation.over and not function.compiled
    assert "out of luck" in caplog.text
    assert not list((tmp_path / "cache").glob("*.so"))


@needs_compiler
def test_a_damaged_or_foreign_library_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.ones((1, 3))
    library = Compilation(example(), tmp_path)
    assert library.wait(30)
    library.library.write_bytes(b"not a library")
    damaged = CompiledInPlace(example(), folder=tmp_path)
    np.testing.assert_allclose(evaluate(damaged, x)[0], 2 * np.sin(x))
    assert not damaged.compiled and not library.library.exists()
    assert "cannot be loaded" in caplog.text

    # another function's code under this one's name: the comparison at the swap finds out
    other = Compilation(example(2.0 + 1e-6), tmp_path)
    assert other.wait(30)
    other.library.rename(library.library)
    foreign = CompiledInPlace(example(), folder=tmp_path)
    np.testing.assert_allclose(evaluate(foreign, x)[0], 2 * np.sin(x), rtol=1e-15)
    assert not foreign.compiled and "differs" in caplog.text
    np.testing.assert_allclose(evaluate(foreign, 2 * x)[0], 2 * np.sin(2 * x), rtol=1e-15)


def test_the_key_holds_all_that_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("one")
    command = (str(compiler),)
    keys = [cache_key(example(), command), cache_key(example(2.0 + 1e-15), command)]
    keys.append(cache_key(example(), (*command, "-m32")))
    monkeypatch.setattr("icl_vla_wbc.compiled.FLAGS", ("-O2",))
    keys.append(cache_key(example(), command))
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "another")
    keys.append(cache_key(example(), command))
    monkeypatch.undo()
    monkeypatch.setattr("casadi.__version__", "0")
    keys.append(cache_key(example(), command))
    monkeypatch.undo()
    compiler.write_text("another one")
    keys.append(cache_key(example(), command))
    assert len(set(keys)) == len(keys)
    assert cache_key(example(), command) == keys[-1]


@needs_compiler
def test_what_must_repeat_to_the_last_bit_is_not_compiled(tmp_path: Path) -> None:
    function = CompiledInPlace(example(), folder=tmp_path, wanted=False)
    evaluate(function, np.ones((1, 3)))
    assert function.compilation.over and not function.compiled
    assert not list(tmp_path.iterdir())
