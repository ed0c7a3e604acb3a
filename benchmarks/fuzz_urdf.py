"""Damaged robot descriptions: each must load or be refused with a message, in time and memory.

Run ``OMP_NUM_THREADS=1 python benchmarks/fuzz_urdf.py [--count 20000] [--command 500] [--seed 0]``
with robot files as arguments; without any, those of pybullet_data are used.

Each mutant is read from parsing to the Pinocchio model in a forked child, within the time and
memory that :mod:`mutants` sets; one that ends in anything but a robot or a :class:`ReportedError`
is a finding and is kept. ``--command`` runs that many through the whole command line instead.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pybullet_data
from mutants import Tally, try_all

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

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


def fuzz(
    files: list[Path],
    count: int,
    seed: int = 0,
    *,
    whole: bool = False,
    until: float = float("inf"),
) -> Tally:
    """Run ``count`` mutants, or as many as fit until a time (``time.monotonic``)."""
    run = command if whole else load
    load(files[0])  # so that no child has to import anything

    def mutant(number: int) -> tuple[Path, bytes]:
        rng = random.Random(f"{seed}/{number}")
        source = rng.choice(files)
        return source, mutate(source.read_bytes(), rng)

    def keep(number: int, why: str) -> str:
        kept = Path(os.environ.get("FUZZ_FINDINGS", tempfile.gettempdir())) / "fuzz_urdf"
        kept.mkdir(exist_ok=True)
        source, text = mutant(number)
        file = kept / f"{number}.urdf"
        file.write_bytes(text)
        if why:
            file.with_suffix(".txt").write_text(why)
        return f"{source.name}, kept as {file}"

    with tempfile.TemporaryDirectory() as folder:

        def trial(number: int) -> str:
            os.environ["ICL_VLA_HOME"] = str(Path(folder) / "home")
            source, text = mutant(number)
            file = place(source, Path(folder))
            file.write_bytes(text)
            try:
                return run(file)
            finally:
                file.unlink(missing_ok=True)

        return try_all(trial, keep, count, until)


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
