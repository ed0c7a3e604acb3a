"""Track a circle with any arm: the controller alone, from a URDF alone.

    python examples/track_a_circle.py [robot.urdf]

The plant is a perfect servo here, so the error is the controller's own.
"""

import sys
from pathlib import Path

import numpy as np
import pybullet_data

from icl_vla_embodiments import Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_wbc import ArmMpc

PERIOD = 1 / 60  # [s] of control
RADIUS, TURN = 0.08, 4.0  # [m], [s] a turn


def main() -> None:
    """Two turns, then the error."""
    default = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    robot = embodiment_from_urdf(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    model = RobotModel(robot)
    arm = robot.arms[0].name
    controller = ArmMpc(model, arm, period=PERIOD)
    q = robot.neutral_q
    start = model.poses(q)[arm]

    def target(t: float) -> TaskTarget:
        angle = 2 * np.pi * t / TURN
        T = start.copy()
        T[:3, 3] += RADIUS * np.array([0.0, np.sin(angle), 1 - np.cos(angle)])
        return TaskTarget(poses={arm: T})

    controller.reset(Observation(time=0.0, q=q, v=np.zeros_like(q)))
    v = np.zeros_like(q)
    errors = []
    preview = np.arange(1, 21) * 0.05  # [s]: the path is known ahead
    for step in range(round(2 * TURN / PERIOD)):
        now = step * PERIOD
        command = controller.track(
            [target(now + ahead) for ahead in preview],
            Observation(time=now, q=q, v=v),
            times=preview,
        )
        q, v = command.q, command.v
        reached = model.poses(q)[arm][:3, 3]
        errors.append(np.linalg.norm(reached - target(now + PERIOD).poses[arm][:3, 3]))
    settled = np.array(errors[len(errors) // 2 :])
    print(f"{robot.name}: {1000 * np.sqrt((settled**2).mean()):.2f} mm rms on the second turn,")
    print(f"  worst residual of the last QP {controller.solution.residuals().primal:.1e}")


if __name__ == "__main__":
    main()
