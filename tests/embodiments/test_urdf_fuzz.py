"""Damaged descriptions end in a robot or a message: a part of benchmarks/fuzz_urdf.py."""

import os
import signal
import time

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("whole", "count"), [(False, 600), (True, 500)])
def test_mutants(benchmark, whole, count):
    fuzz = benchmark("fuzz_urdf")
    tally = fuzz.fuzz(fuzz.sources([]), count, seed=7, whole=whole)
    assert not tally.findings
    assert sum(tally.ends.values()) == count
    assert tally.ends["loaded"] > 0.1 * count and tally.ends["refused"] > 0.1 * count
    mutants = benchmark("mutants")
    assert tally.slowest < mutants.SECONDS and tally.largest < mutants.MEMORY


def crash():
    raise RuntimeError("ours")


def hang():
    while True:
        pass


ENDS = {
    "fine": lambda: None,
    "crash": crash,
    "slow": lambda: time.sleep(2),
    "hang": hang,
    "die": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "wait": lambda: time.sleep(300),
    "eat": lambda: bytearray(3 * 2**30),
}


def test_a_finding_is_found(benchmark, monkeypatch):
    """A crash, an endless loop, endless waiting and a killed child are told apart from robots."""
    mutants = benchmark("mutants")
    monkeypatch.setattr(mutants, "SECONDS", 0.3)
    monkeypatch.setattr(mutants, "PATIENCE", 6)
    words = ["fine", "crash", "slow", "hang", "fine", "die", "wait", "eat", "fine"]

    def trial(number):
        ENDS[words[number]]()
        return "loaded"

    tally = mutants.try_all(trial, lambda number, why: words[number], len(words))
    assert tally.ends["loaded"] == 4
    assert tally.findings == [
        "traceback: RuntimeError: ours: crash",
        "more than 0.3 s of computing: hang",
        "signal 15: die",
        "more than 6 s of waiting: wait",
        "traceback: MemoryError: eat",
    ]
