"""``icl-vla doctor``: is this machine fit, and if not, which command mends it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

# import name -> distribution, what it is for
_NEEDED = {
    "numpy": ("numpy", "arrays"),
    "scipy": ("scipy", "hulls, matching"),
    "pinocchio": ("pin", "kinematics"),
    "casadi": ("casadi", "controller"),
    "daqp": ("daqp", "controller"),
    "pybullet": ("pybullet", "simulation"),
    "trimesh": ("trimesh", "meshes"),
    "faiss": ("faiss-cpu", "retrieval"),
    "pyarrow": ("pyarrow", "LeRobot data"),
    "h5py": ("h5py", "robomimic and DROID data"),
    "av": ("av", "video"),
    "cv2": ("opencv-python-headless", "camera calibration"),
    "PIL": ("pillow", "pictures"),
    "matplotlib": ("matplotlib", "plots"),
    "torch": ("torch", "learned policies"),
    "transformers": ("transformers", "learned policies"),
    "pluggy": ("pluggy", "plugins"),
    "packaging": ("packaging", "plugins"),
    "xacro": ("xacro", "robot descriptions"),
    "yaml": ("pyyaml", "embodiment files"),
    "platformdirs": ("platformdirs", "where things are kept"),
    "rich": ("rich", "the command line"),
    "typer": ("typer", "the command line"),
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check versions, cores, memory, disk and plugins; say what is missing and what mends it."""
    from . import output

    report = examine()
    if as_json:
        output.show_json(report)
    else:
        rows = [(p["package"], p["version"] or "missing", p["for"]) for p in report["packages"]]
        output.table("Packages", ("package", "version", "for"), rows)
        machine = report["machine"]
        output.console.print(
            f"  Python {machine['python']} on {machine['platform']}, {machine['cores']} cores,"
            f" {machine['memory_gib']} GiB memory, {machine['free_gib']} GiB free in"
            f" {machine['home']}",
            soft_wrap=True,
        )
        for problem in report["problems"]:
            output.console.print(
                f"  [red]problem:[/] {problem['problem']}\n    {problem['remedy']}"
            )
        for remark in report["remarks"]:
            output.console.print(f"  [yellow]note:[/] {remark}")
        if not report["problems"]:
            output.console.print("  [green]fit[/]")
    if report["problems"]:
        raise typer.Exit(2)


def examine() -> dict[str, Any]:
    """Everything that :func:`doctor` shows, for JSON."""
    import os
    import platform
    import shutil
    import sys
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from icl_vla_embodiments.home import home

    problems: list[dict[str, str]] = []
    packages = []
    for module, (distribution, purpose) in _NEEDED.items():
        try:
            found: str | None = version(distribution) if find_spec(module) else None
        except PackageNotFoundError:
            found = "unknown"
        packages.append({"package": distribution, "version": found, "for": purpose})
        if found is None:
            problems.append(
                {
                    "problem": f"{distribution} is missing ({purpose})",
                    "remedy": f"pip install -c constraints.txt {distribution}",
                }
            )
    if sys.version_info[:2] != (3, 11):
        problems.append(
            {
                "problem": f"Python {platform.python_version()}: pybullet has wheels for 3.11 only",
                "remedy": "make venv PYTHON=/path/to/python3.11",
            }
        )
    place = home()
    existing = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < 1:
        problems.append(
            {
                "problem": f"{free:.1f} GiB free where data are kept ({place})",
                "remedy": "free some space, or export ICL_VLA_HOME=/a/larger/disk",
            }
        )
    if not os.access(existing, os.W_OK):
        problems.append(
            {
                "problem": f"{existing} is not writable",
                "remedy": "export ICL_VLA_HOME=/a/folder/of/yours",
            }
        )
    remarks = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if os.environ.get("OMP_NUM_THREADS") is None:
        remarks.append("export OMP_NUM_THREADS=1: BLAS threads delay the controller by 8 to 25 ms")
    memory = _memory_gib()
    if memory is not None and memory < 4:
        remarks.append(f"{memory:.1f} GiB of memory: use --workers 1")
    for plugin in _broken_plugins():
        remarks.append(f"plugin {plugin['name']} is broken: {plugin['error']}")
    return {
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
            "cores": cores,
            "memory_gib": None if memory is None else round(memory, 1),
            "free_gib": round(free, 1),
            "home": str(place),
        },
        "packages": packages,
        "problems": problems,
        "remarks": remarks,
    }


def _memory_gib() -> float | None:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None  # not told on this platform


def _broken_plugins() -> list[dict[str, str]]:
    from icl_vla_embodiments.plugins import list_plugins

    return [p for p in list_plugins() if p["error"]]
