"""Damaged descriptions end in a robot or a message: a part of benchmarks/fuzz_urdf.py."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("whole", "count"), [(False, 600), (True, 500)])
def test_mutants(benchmark, whole, count):
    fuzz = benchmark("fuzz_urdf")
    tally = fuzz.fuzz(fuzz.sources([]), count, seed=7, whole=whole)
    assert not tally.findings
    assert sum(tally.ends.values()) == count
    assert tally.ends["loaded"] > 0.1 * count and tally.ends["refused"] > 0.1 * count
    assert tally.slowest < fuzz.SECONDS and tally.largest < fuzz.MEMORY


def test_a_finding_is_found(benchmark, data, tmp_path, monkeypatch):
    """A crash, an endless loop, endless waiting and a killed child are told apart from robots."""
    fuzz = benchmark("fuzz_urdf")
    monkeypatch.setenv("FUZZ_FINDINGS", str(tmp_path))
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    monkeypatch.setattr(fuzz, "PATIENCE", 4)
    code = """
import os, sys, time
def run(file):
    text = file.read_bytes()
    if text == b"crash": raise RuntimeError("ours")
    if text == b"hang":
        while True: pass
    if text == b"wait": time.sleep(300)
    if text == b"slow": time.sleep(2)
    if text == b"die": os.kill(os.getpid(), 15)
    if text == b"eat": bytearray(3 * 2**30)
    return "loaded"
"""
    scope = {}
    exec(code, scope)
    texts = b"fine crash slow hang fine die wait eat fine".split()
    source = data / "r2d2.urdf"
    tally = fuzz.Tally()
    fuzz.serve(scope["run"], [(i, source, t) for i, t in enumerate(texts)], tmp_path, tally)
    assert tally.ends["loaded"] == 4
    assert [f.split(":")[0] for f in tally.findings] == [
        "traceback",
        "more than 1 s of computing",
        "signal 15",
        "more than 4 s of waiting",
        "traceback",
    ]
    assert "MemoryError" in tally.findings[4]
