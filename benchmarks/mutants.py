"""Tries damaged input in forked children, within time and memory.

A fork server (this process, once it has loaded everything) forks a child for each batch of mutants.
A mutant that computes for longer than :data:`SECONDS`, kills its child, takes more memory than
:data:`MEMORY`, or ends in an exception is a finding. The seconds are the child's own, as a machine
that is busy with other things makes no hang; what waits rather than computes is a finding after
:data:`PATIENCE`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 10  # of computing for one mutant
PATIENCE = 120  # [s] for one mutant by the clock on the wall
MEMORY = 2 * 2**30  # [bytes] of address space beyond what the fork server has
BATCH = 25


@dataclass
class Tally:
    """How mutants ended, the findings, and the extremes."""

    ends: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0  # [bytes] of resident memory in a child


def try_all(
    trial: Callable[[int], str],
    keep: Callable[[int, str], str],
    count: int,
    until: float = float("inf"),
) -> Tally:
    """Try mutants 0 to ``count - 1``, or as many as fit until a time (``time.monotonic``).

    Args:
        trial: Makes the mutant of a number and tries it, in a child; says how it ended.
        keep: Puts a finding's mutant and traceback where they stay, here; says where.
        count: Of mutants.
        until: [s].
    """
    tally = Tally()
    for start in range(0, count, BATCH):
        if time.monotonic() > until:
            break
        numbers = list(range(start, min(start + BATCH, count)))
        while numbers:  # when one mutant kills or stalls a child, another goes on with the rest
            killer = _batch(trial, keep, numbers, tally)
            numbers = [] if killer is None else numbers[numbers.index(killer) + 1 :]
    return tally


def _batch(
    trial: Callable[[int], str], keep: Callable[[int, str], str], numbers: list[int], tally: Tally
) -> int | None:
    """Fork a child for some mutants; the one that it did not survive, if any."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            _child(trial, numbers, writer)
        finally:
            os._exit(0)
    os.close(writer)
    begun = _listen(reader, pid, keep, tally)
    _, status = os.waitpid(pid, 0)
    if begun is not None:
        tally.findings.append(f"{_death(status)}: {keep(begun, '')}")
    return begun


def _child(trial: Callable[[int], str], numbers: list[int], out: int) -> None:
    """One line of JSON for each mutant when it begins and when it ends."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    with os.fdopen(out, "w") as answers:
        for number in numbers:
            print(json.dumps({"begin": number}), file=answers, flush=True)
            start = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process
            try:
                end, why = trial(number), ""
            except BaseException:
                end, why = "traceback", traceback.format_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            answer = {
                "number": number,
                "end": end,
                "why": why,
                "seconds": time.process_time() - start,
                "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
            print(json.dumps(answer), file=answers, flush=True)


def _listen(reader: int, pid: int, keep: Callable[[int, str], str], tally: Tally) -> int | None:
    """Take answers until the child ends; the mutant that it did not survive, if any."""
    begun: int | None = None
    buffer = b""
    with os.fdopen(reader, "rb", buffering=0) as answers:
        while True:
            ready, _, _ = select.select([answers], [], [], PATIENCE)
            if not ready:
                os.kill(pid, signal.SIGKILL)
                return begun
            data = answers.read(65536)
            if not data:
                return begun
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "begin" in answer:
                    begun = answer["begin"]
                    continue
                begun = None
                tally.ends[answer["end"]] += 1
                tally.slowest = max(tally.slowest, answer["seconds"])
                tally.largest = max(tally.largest, answer["bytes"])
                if answer["end"] == "traceback":
                    last = answer["why"].strip().splitlines()[-1]
                    where = keep(answer["number"], answer["why"])
                    tally.findings.append(f"traceback: {last}: {where}")


def _death(status: int) -> str:
    """What ended a child before its batch was done."""
    if not os.WIFSIGNALED(status):
        return "an early end"
    ends = {
        signal.SIGPROF: f"more than {SECONDS} s of computing",
        signal.SIGKILL: f"more than {PATIENCE} s of waiting",
    }
    number = os.WTERMSIG(status)
    return ends.get(signal.Signals(number), f"signal {number}")
