"""How long a controller takes from a loaded robot to its first command, without compiled code.

Run ``python benchmarks/wbc/first_command.py [URDF ...] [--json PATH]``. Each controller starts in a
fresh process, with an empty ``ICL_VLA_HOME`` and no C compiler to be found. Loaded means that the
embodiment and Pinocchio's model are there; importing the controller's package counts. The bar is
1 s of CPU time. Without files: installed robots of all families.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

BAR = 1.0  # [s]
EXAMPLE = "cmeel.prefix/share/example-robot-data/robots"
URDFS = (
    "pybullet_data/franka_panda/panda.urdf",
    f"{EXAMPLE}/ur_description/urdf/ur5_robot.urdf",
    f"{EXAMPLE}/baxter_description/urdf/baxter.urdf",
    f"{EXAMPLE}/tiago_description/robots/tiago_no_hand.urdf",
    "pybullet_data/husky/husky.urdf",
    f"{EXAMPLE}/a1_description/urdf/a1.urdf",
    f"{EXAMPLE}/anymal_b_simple_description/robots/anymal-kinova.urdf",
    f"{EXAMPLE}/g1_description/urdf/g1_29dof_rev_1_0.urdf",
)


def first_commands(urdf: Path, kind: str) -> dict[str, float]:
    """Seconds of CPU and on the wall in this process, up to and including the first command."""
    from icl_vla_embodiments import Observation, TaskTarget
    from icl_vla_embodiments.robot_model import RobotModel

    model = RobotModel.from_urdf(urdf)
    e = model.embodiment
    seen = Observation(0.0, q=model.neutral, v=0 * model.neutral, T_world_base=e.mount.matrix)
    poses = model.poses(model.neutral)
    cpu, wall = time.process_time(), time.perf_counter()
    if kind in ("ArmMpc", "ArmTorqueMpc"):
        from icl_vla_wbc import ArmMpc, ArmTorqueMpc

        arm = e.arms[0].name
        controller = {"ArmMpc": ArmMpc, "ArmTorqueMpc": ArmTorqueMpc}[kind](model, period=0.005)
        controller.reset(seen)
        command = controller.track([TaskTarget(poses={arm: poses[arm]})], seen)
    elif kind == "MobileMpc":
        from icl_vla_wbc.mobile import MobileMpc

        mobile = MobileMpc(model)
        mobile.reset(seen)
        command = mobile.track(TaskTarget(poses={n: poses[n] for n in mobile.effectors}), seen)
    else:
        import numpy as np

        from icl_vla_wbc.legs import LegMpc

        legs = LegMpc(model)
        standing = np.eye(4)
        standing[2, 3] = legs.height
        seen = Observation(
            0.0, q=model.neutral, v=0 * model.neutral, T_world_base=standing, base_twist=np.zeros(6)
        )
        command = legs.track(TaskTarget(), seen)
    assert command.level != "braking", command
    return {
        "cpu": round(time.process_time() - cpu, 3),
        "wall": round(time.perf_counter() - wall, 3),
    }


def kinds(urdf: Path) -> list[str]:
    """Controllers that fit a robot."""
    from icl_vla_embodiments.robot_model import RobotModel

    e = RobotModel.from_urdf(urdf).embodiment
    if e.base == "floating":
        return ["LegMpc"] if e.of_kind("leg") else []
    if e.base != "fixed":
        return ["MobileMpc"]
    return ["ArmMpc", "ArmTorqueMpc"] if e.arms else []


def main() -> int:
    """Print a line for each controller; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kind", help=argparse.SUPPRESS)  # in the fresh process
    arguments = parser.parse_args()
    if arguments.kind:
        print(json.dumps(first_commands(arguments.files[0], arguments.kind)))
        return 0
    site = Path(sysconfig.get_paths()["purelib"])
    files = arguments.files or [site / name for name in URDFS if (site / name).is_file()]
    rows = []
    for file in files:
        for kind in kinds(file):
            with tempfile.TemporaryDirectory() as empty:
                done = subprocess.run(
                    [sys.executable, __file__, str(file), "--kind", kind],
                    env={**os.environ, "ICL_VLA_HOME": empty, "CC": "no-such-compiler"},
                    capture_output=True,
                    text=True,
                )
            if done.returncode:
                print(f"{file.stem:24} {kind:14} {done.stderr.strip().splitlines()[-1]}")
                rows.append({"robot": file.stem, "controller": kind, "cpu": float("inf")})
                continue
            row = {"robot": file.stem, "controller": kind, **json.loads(done.stdout)}
            rows.append(row)
            print(
                f"{file.stem:24} {kind:14} {row['cpu']:6.2f} s CPU {row['wall']:6.2f} s", flush=True
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(any(row["cpu"] > BAR for row in rows))


if __name__ == "__main__":
    sys.exit(main())
