"""A task of one's own for the controller: a hand that looks at a point wherever it moves.

    python examples/add_a_control_task.py [robot.urdf]

A task is a residual in the joint positions, written with CasADi; the controller derives it.
"""

import sys
from pathlib import Path

import casadi as ca
import numpy as np
import pybullet_data

from icl_vla_embodiments import Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_wbc import ArmMpc
from icl_vla_wbc.dynamics import FrameKinematics
from icl_vla_wbc.quaternion import rotate
from icl_vla_wbc.tasks import Residual


class LookAt(Residual):
    """Turns a hand's z axis towards a point of the base frame: the axis less the direction."""

    def __init__(self, model: RobotModel, effector: str, weight: float = 10.0) -> None:
        hand = FrameKinematics.of(model, model.tcp_id(effector))
        point = ca.SX.sym("point", 3)
        way = point - hand.pose[:3]
        axis = rotate(hand.pose[3:], ca.SX([0, 0, 1]))
        super().__init__(hand.q, axis - way / ca.norm_2(way), point, weights=weight)


def main() -> None:
    """Move a hand to and fro above a point, and say how well it looked there."""
    default = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    model = RobotModel(embodiment_from_urdf(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
    arm = model.embodiment.arms[0].name
    look = LookAt(model, arm)
    place = (True, True, True, False, False, False)  # where the hand is; the look turns it
    controller = ArmMpc(model, arm, task_axes=place, tasks=[look])

    q = model.neutral
    start = model.poses(q)[arm]
    look.parameter = start[:3, 3] + 0.3 * start[:3, 2]
    controller.reset(Observation(0.0, q=q))
    angles = []
    for step in range(480):
        T = start.copy()
        T[:3, 3] += 0.1 * np.array([0.0, np.sin(step / 60), 0.0])
        command = controller.track([TaskTarget(poses={arm: T})], Observation(step / 60, q=q))
        q = command.q
        here = model.poses(q)[arm]
        way = look.parameter - here[:3, 3]
        angles.append(np.arccos(np.clip(here[:3, 2] @ way / np.linalg.norm(way), -1, 1)))
    error = 1000 * np.linalg.norm(here[:3, 3] - T[:3, 3])
    print(f"{model.embodiment.name}: looked {np.degrees(np.max(angles)):.2f} degrees past at most,")
    print(f"  hand {error:.1f} mm behind its moving place at the end")


if __name__ == "__main__":
    main()
