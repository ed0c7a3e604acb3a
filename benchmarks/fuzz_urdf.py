"""Damaged robot descriptions: each must load or be refused with a message, in time and memory.

Run ``OMP_NUM_THREADS=1 python benchmarks/fuzz_urdf.py [--count 20000] [--command 500] [--seed 0]``
with robot files as arguments; without any, those of pybullet_data are used.

A fork server (one process that has loaded everything) forks a child for each batch of mutants. A
child reads each mutant from parsing to the Pinocchio model under a limit of 2 GiB of address space
above its own; a mutant that computes for longer than 10 s, kills its child, or ends in anything
but a robot or a :class:`ReportedError` is a finding and is kept. The 10 s are the child's own, as
a machine that is busy with other things makes no hang; what waits rather than computes is a
finding after 2 minutes. ``--command`` runs that many through the whole command line instead.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pybullet_data

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

SECONDS = 10  # of computing for one mutant
PATIENCE = 120  # [s] for one mutant by the clock on the wall
MEMORY = 2 * 2**30  # [bytes] beyond what the fork server has
BATCH = 25
LARGEST = 60_000  # [bytes] of a file to start from

NUMBERS = ("0", "-1", "1e308", "nan", "inf", "1e-320", "-1.57.", "", "0x10", "1,5", "9" * 40)
WORDS = (
    "",
    "a",
    "base_link",
    "${x}",
    "$(find x)",
    "../../etc/passwd",
    "\u202e",
    "package://",
    "🤖",
)
TYPES = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar", "spherical", "")
TAGS = ("link", "joint", "limit", "mimic", "origin", "axis", "xacro:macro", "inertial", "robot")


def mutate(text: bytes, rng: random.Random) -> bytes:
    """One to four wounds: in bytes, numbers, names, attributes, elements."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice(WOUNDS)(text, rng)
    return text


def _bytes(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + rng.randint(1, 80) :]
    if kind == 1:
        return text[:at] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 4))) + text[at:]
    if kind == 2:
        return text[:at]
    return text[:at] + text[at : at + rng.randint(1, 400)] + text[at:]


def _replaced(text: bytes, rng: random.Random, pattern: bytes, words: tuple[str, ...]) -> bytes:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    match = rng.choice(found)
    return text[: match.start(1)] + rng.choice(words).encode() + text[match.end(1) :]


def _number(text: bytes, rng: random.Random) -> bytes:
    return _replaced(text, rng, rb"[\" ](-?\d+\.?\d*(?:[eE][-+]?\d+)?)[\" ]", NUMBERS)


def _name(text: bytes, rng: random.Random) -> bytes:
    names = [m.decode(errors="ignore") for m in re.findall(rb'name="([^"]*)"', text)]
    some = (*WORDS, *rng.sample(names, min(len(names), 5)))
    return _replaced(text, rng, rb'(?:name|link|joint|filename)="([^"]*)"', some)


def _type(text: bytes, rng: random.Random) -> bytes:
    return _replaced(text, rng, rb'type="([^"]*)"', TYPES)


def _attribute(text: bytes, rng: random.Random) -> bytes:
    return _replaced(text, rng, rb'( [a-z]+="[^"]*")', ("", ' xyz="1 2"', ' value="-5"'))


def _tag(text: bytes, rng: random.Random) -> bytes:
    return _replaced(text, rng, rb"</?([a-z]+)", TAGS)


def _element(text: bytes, rng: random.Random) -> bytes:
    """Remove, double or move a whole link or joint."""
    found = list(re.finditer(rb"<(link|joint)\b.*?</\1>", text, re.DOTALL))
    if not found:
        return text
    match = rng.choice(found)
    rest = text[: match.start()] + text[match.end() :]
    kind = rng.randrange(3)
    if kind == 0:
        return rest
    if kind == 1:
        return text[: match.end()] + match[0] + text[match.end() :]
    other = rng.choice(found).start()
    return rest[:other] + match[0] + rest[other:]


WOUNDS = (_bytes, *4 * (_number,), *2 * (_name,), *2 * (_attribute,), _type, _tag, _element)


@dataclass
class Tally:
    """How mutants ended, the findings, and the extremes."""

    ends: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0  # [bytes] of resident memory in a child


def sources(paths: list[Path]) -> list[Path]:
    """Files to start from; PyBullet's own where none are given."""
    files = paths or sorted(Path(pybullet_data.getDataPath()).rglob("*.urdf"))
    small = [f for f in files if 200 < f.stat().st_size < LARGEST]
    return [f for f in small if b"<joint" in f.read_bytes()]


def load(file: Path) -> str:
    """One mutant from parsing to the model; how it ended."""
    try:
        robot = embodiment_from_urdf(file, allow_missing_meshes=True)
        model = RobotModel(robot)
        poses = model.link_poses(robot.neutral_q)
    except ReportedError:
        return "refused"
    assert all(np.isfinite(T).all() for T in poses.values()), "a pose is not finite"
    return "loaded"


def command(file: Path) -> str:
    """One mutant through the command line."""
    from icl_vla.cli import main

    words = ["icl-vla", "add-embodiment", str(file), "--json", "--yes", "--dry-run"]
    out, err = io.StringIO(), io.StringIO()
    old, sys.argv = sys.argv, words
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = old
    if code in (0, None):
        json.loads(out.getvalue())
        return "loaded"
    assert code == 2, f"exit code {code}"
    return "refused"


def place(source: Path, folder: Path) -> Path:
    """Where a mutant goes: beside links to what lies beside its source, for meshes."""
    home = folder / f"{abs(hash(source))}" / source.parent.name
    if not home.is_dir():
        home.mkdir(parents=True)
        for near, here in ((source.parent, home), (source.parent.parent, home.parent)):
            for entry in near.iterdir():
                if not (here / entry.name).exists() and entry.suffix != ".urdf":
                    (here / entry.name).symlink_to(entry)
    return home / f"{os.getpid()}.urdf"


def child(run: object, jobs: list[tuple[int, Path, bytes]], folder: Path, out: int) -> None:
    """Run a batch; one line of JSON for each mutant when it begins and when it ends."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    os.environ["ICL_VLA_HOME"] = str(folder / "home")
    with os.fdopen(out, "w") as answers:
        for number, source, text in jobs:
            print(json.dumps({"begin": number}), file=answers, flush=True)
            file = place(source, folder)
            file.write_bytes(text)
            start = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process
            try:
                end, why = run(file), ""  # type: ignore[operator]
            except BaseException:
                end, why = "traceback", traceback.format_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                file.unlink(missing_ok=True)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            answer = {
                "number": number,
                "end": end,
                "why": why,
                "seconds": time.process_time() - start,
                "bytes": used,
            }
            print(json.dumps(answer), file=answers, flush=True)


def serve(run: object, jobs: list[tuple[int, Path, bytes]], folder: Path, tally: Tally) -> None:
    """Fork a child for the batch; when one mutant kills or stalls it, fork another for the rest."""
    texts = {number: (source, text) for number, source, text in jobs}
    while jobs:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                child(run, jobs, folder, writer)
            finally:
                os._exit(0)
        os.close(writer)
        begun = _listen(reader, pid, texts, tally)
        _, status = os.waitpid(pid, 0)
        done = next((i for i, job in enumerate(jobs) if job[0] == begun), len(jobs))
        if begun is not None:
            _keep(tally, begun, texts, _death(status), "")
        jobs = jobs[done + 1 :] if begun is not None else []


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


def _listen(
    reader: int, pid: int, texts: dict[int, tuple[Path, bytes]], tally: Tally
) -> int | None:
    """Take answers until the child ends; the mutant that it did not survive, if any."""
    import select

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
            buffer += data
            *lines, buffer = buffer.split(b"\n")
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
                    _keep(tally, answer["number"], texts, "traceback", answer["why"])


def _keep(
    tally: Tally, number: int, texts: dict[int, tuple[Path, bytes]], what: str, why: str
) -> None:
    folder = Path(os.environ.get("FUZZ_FINDINGS", tempfile.gettempdir())) / "fuzz_urdf"
    folder.mkdir(exist_ok=True)
    file = folder / f"{number}.urdf"
    file.write_bytes(texts[number][1])
    last = why.strip().splitlines()[-1:] or [""]
    tally.findings.append(f"{what}: {last[0]} ({texts[number][0].name}, kept as {file})")
    if why:
        (folder / f"{number}.txt").write_text(why)


def fuzz(
    files: list[Path],
    count: int,
    seed: int = 0,
    *,
    whole: bool = False,
    until: float = float("inf"),
) -> Tally:
    """Run ``count`` mutants, or as many as fit until a time (``time.monotonic``)."""
    tally = Tally()
    run = command if whole else load
    load(files[0])  # so that no child has to import anything
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, count, BATCH):
            if time.monotonic() > until:
                break
            jobs = []
            for number in range(start, min(start + BATCH, count)):
                rng = random.Random(f"{seed}/{number}")
                source = rng.choice(files)
                jobs.append((number, source, mutate(source.read_bytes(), rng)))
            serve(run, jobs, Path(folder), tally)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--command", type=int, default=0, help="through the whole command line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    files = sources(options.files)
    whole = options.command > 0
    start = time.monotonic()
    tally = fuzz(files, options.command or options.count, options.seed, whole=whole, until=until)
    ran = sum(tally.ends.values())
    print(f"{ran} mutants of {len(files)} files in {time.monotonic() - start:.0f} s: ", end="")
    print(", ".join(f"{n} {end}" for end, n in tally.ends.most_common()))
    print(f"slowest {tally.slowest:.1f} s, largest child {tally.largest / 2**20:.0f} MiB")
    for finding in tally.findings:
        print(f"  {finding}")
    raise SystemExit(1 if tally.findings else 0)


if __name__ == "__main__":
    main()
