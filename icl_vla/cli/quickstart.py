"""``icl-vla quickstart``: the whole main job, each step as the command that a user would type."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

EPISODES = 10  # demonstrations a task
SCENES = 20  # new scenes a task
SEED = 1000  # of the first new scene; demonstrations use 0 to 9
FILMS = 2
_SHOWN = ("vote", "nearest", "nothing", "expert")  # methods of the page


def quickstart(
    home: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "quickstart"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    restart: Annotated[bool, typer.Option("--restart", help="Start afresh.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """A URDF, ten demonstrations of two tasks, new scenes, an evaluation, a report: in minutes."""
    import os
    import shutil
    import time

    home = home.resolve()
    if restart and (home / _MARK).exists():
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / _MARK).write_text("made by icl-vla quickstart; --restart removes this folder\n")
    os.environ["ICL_VLA_HOME"] = str(home)
    begin = time.monotonic()
    tour = _Tour(workers=workers, quiet=as_json)
    report = tour.run(home)
    report["seconds"] = round(time.monotonic() - begin, 1)
    _finish(home, report, tour.commands, quiet=as_json)


_MARK = ".icl-vla-quickstart"


class _Tour:
    """Runs the commands in this process, printing each as it would be typed."""

    def __init__(self, *, workers: int, quiet: bool) -> None:
        self.workers = workers
        self.quiet = quiet
        self.commands: list[str] = []

    def _say(self, *words: str) -> None:
        from . import output

        command = shlex.join(("icl-vla", *words))
        self.commands.append(command)
        if not self.quiet:
            output.console.print(f"\n[bold cyan]$[/] [bold]{command}[/]", soft_wrap=True)

    def run(self, home: Path) -> dict[str, Any]:
        import pybullet_data

        from ..evaluation.running import evaluate, run_in_scenes
        from ..sim.workcell import find_task
        from . import demos, embodiments, output

        w = str(self.workers)
        urdf = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
        self._say("add-embodiment", str(urdf))
        robot = embodiments.add(urdf)
        if not self.quiet:
            embodiments.show_robot(robot)
        tasks = ("pick-place", "push")
        for task in tasks:
            self._say("demos", "record", robot.name, "--task", task, "--workers", w)
            demos.record_and_index(robot.name, task, range(EPISODES), self.workers, self.quiet)
        runs = {}
        for task in tasks:
            words = find_task(task).instruction
            options = ["--episodes", str(SCENES), "--seed", str(SEED), "--films", str(FILMS)]
            self._say("run", robot.name, words, "--scene", task, *options, "--workers", w)
            with output.progress(f"running {task}", SCENES, quiet=self.quiet) as advance:
                runs[task] = run_in_scenes(
                    home,
                    robot.name,
                    words,
                    driver="pybullet",
                    scene=task,
                    method="vote",
                    seeds=range(SEED, SEED + SCENES),
                    workers=self.workers,
                    films=FILMS,
                    progress=lambda r: advance(
                        f"seed {r.seed}: {'success' if r.success else 'failure'}"
                    ),
                )
        options = ["--episodes", str(SCENES), "--seed", str(SEED)]
        options += [word for method in _SHOWN for word in ("--method", method)]
        self._say("eval", robot.name, *options, "--workers", w)
        with output.progress("evaluating", 0, quiet=self.quiet) as advance:
            evaluation = evaluate(
                home,
                robot.name,
                tasks=tasks,
                methods=list(_SHOWN),
                seeds=range(SEED, SEED + SCENES),
                workers=self.workers,
                progress=lambda r: advance(f"{r.task} {r.method} {r.seed}"),
                total=advance.total,
            )
        return {"embodiment": robot.name, "runs": runs, "evaluation": evaluation}


def _finish(home: Path, report: dict[str, Any], commands: list[str], *, quiet: bool) -> None:
    import json

    from PIL import Image

    from icl_vla_embodiments.home import write_atomically

    from ..evaluation.film import read_video, write_video
    from ..evaluation.methods import METHODS
    from ..evaluation.report import write_report
    from . import output
    from .doctor import examine

    evaluation = report["evaluation"]
    films, sheets = [], []
    for task, run in report["runs"].items():
        sheet, *clips = map(Path, run["pictures"])
        sheets.append((f"{run['instruction']}: first to last look at every scene", sheet))
        film = home / f"{task}.mp4"
        write_video(film, [f for clip in clips for f in read_video(clip)], 20)
        films.append((f"{run['instruction']} (frozen weights, new scenes, twice real time)", film))
    images = [Image.open(path) for _, path in sheets]
    joined = Image.new(
        "RGB", (max(i.width for i in images), sum(i.height for i in images)), (250, 249, 246)
    )
    y = 0
    for image in images:
        joined.paste(image, (0, y))
        y += image.height
    joined.save(home / "contact_sheet.png")
    violations = sum(row["limit_violations"] for row in evaluation["results"])
    episodes = sum(row["episodes"] for row in evaluation["results"])
    machine = examine()["machine"]
    page = write_report(
        home / "report.html",
        title="A robot from its URDF and ten demonstrations",
        lead="The robot was derived from its URDF alone. Ten demonstrations of each task were"
        " recorded; then it did the tasks in scenes it had not seen, from RGB-D and joint angles"
        " only, through whole-body control. Nothing was trained.",
        results=evaluation["results"],
        methods={name: METHODS[name].summary for name in _SHOWN},
        films=films,
        sheets=sheets,
        commands=commands,
        notes=[
            "Success: the thing lies in its goal region, is released, and everything is still for"
            " a second. Every method faces the same scenes.",
            f"Joint position, velocity and acceleration limits were exceeded in {violations} of"
            f" {episodes} episodes.",
        ],
        facts={
            "Python": machine["python"],
            "cores": str(machine["cores"]),
            "seconds": str(report["seconds"]),
        },
    )
    summary = {
        "embodiment": report["embodiment"],
        "seconds": report["seconds"],
        "results": evaluation["results"],
        "tasks": {
            task: {
                row["method"]: {
                    "successes": row["successes"],
                    "episodes": row["episodes"],
                    "interval": row["interval"],
                }
                for row in evaluation["results"]
                if row["task"] == task
            }
            for task in report["runs"]
        },
        "limit_violations": violations,
        "commands": commands,
        "report": str(page),
        "pictures": [str(home / "contact_sheet.png"), *(str(f) for _, f in films)],
    }
    write_atomically(home / "report.json", json.dumps(summary, indent=2) + "\n")
    if quiet:
        output.show_json(summary)
        return
    output.console.print()
    output.results_table(evaluation["results"])
    output.console.print(f"  done in {report['seconds']:.0f} s. Pictures:")
    for path in (*summary["pictures"], page, home / "report.json"):
        output.console.print(f"    {path}", soft_wrap=True)
