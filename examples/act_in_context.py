"""Record three demonstrations, then act in a scene that was not demonstrated: the Python face.

    python examples/act_in_context.py

The same as `icl-vla demos record` and `icl-vla run`, with the objects in your hands.
"""

import tempfile
from pathlib import Path

import pybullet_data

from icl_vla.policy.vote import VotePolicy
from icl_vla.runtime.loop import run_episode
from icl_vla.sim.recording import open_bank, record_demonstrations
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf


def main() -> None:
    """URDF, demonstrations, policy, episode."""
    home = Path(tempfile.mkdtemp(prefix="icl-vla-"))
    store = EmbodimentStore(home)
    urdf = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    robot = store.add(embodiment_from_urdf(urdf))

    record_demonstrations(home, robot.name, "push", seeds=range(3))
    bank = open_bank(home, robot)
    print(f"{len(bank)} demonstrations of: {bank.instructions[0]}")

    cell = Workcell.build(store, robot.name, task="push")
    cell.reset(seed=42)
    policy = VotePolicy(cell.model, cell.encoder)
    episode = policy.start(bank, bank.instructions[0], robot.action_space())

    def explain(observation, chunk):
        frames = chunk.trace["frames"]
        best = max(frames, key=frames.get)
        print(f"  {observation.time:4.1f} s  {chunk.confidence[0]:.2f} confident, led by {best}")

    outcome = run_episode(cell.driver, cell.controller, episode, watch=explain, audit=cell.audit)
    verdict = "success" if cell.judge() else "failure"
    print(f"{outcome.reason} after {outcome.seconds:.1f} s: {verdict}")


if __name__ == "__main__":
    main()
