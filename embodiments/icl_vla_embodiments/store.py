"""The robots that were added: one folder each under ``<home>/embodiments``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from .embodiment import Embodiment
from .errors import EmbodimentError, PluginError, UnknownName
from .home import home
from .plugins import registered_embodiments
from .yaml_io import SUFFIX, apply_overrides, load_embodiment, save_embodiment, user_fields


class EmbodimentStore:
    """Embodiments by name: those added to a home, and those that plugins register."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (home() if root is None else Path(root)) / "embodiments"

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted({*self._added(), *registered_embodiments()}))

    def _added(self) -> list[str]:
        return [p.parent.name for p in self.root.glob(f"*/*{SUFFIX}")] if self.root.is_dir() else []

    def folder(self, name: str) -> Path:
        """Where an embodiment and what is derived from it (hulls, simulation files) are kept."""
        if not name or name != Path(name).name or name.startswith("."):
            raise EmbodimentError(
                "not a name for an embodiment",
                value=name,
                remedy="use letters, digits, - and _; it becomes a folder's name",
            )
        return self.root / name

    def get(self, name: str) -> Embodiment:
        """The embodiment of that name; an added one hides a plugin's.

        Raises:
            UnknownName: Nobody knows it.
            PluginError: The plugin that registered it cannot make it.
        """
        if name in self._added():
            return load_embodiment(self.folder(name))
        factories = registered_embodiments()
        if name not in factories:
            raise UnknownName(
                "embodiment", name, self.names(), remedy="icl-vla add-embodiment ROBOT.urdf"
            )
        made = factories[name]()
        if isinstance(made, Embodiment):
            return made
        if not isinstance(made, str | Path):
            raise PluginError(
                f"the plugin behind {name!r} returns neither a path nor an Embodiment",
                value=type(made).__name__,
            )
        from .urdf import embodiment_from_urdf

        return embodiment_from_urdf(Path(made), name=name)

    def add(self, embodiment: Embodiment) -> Embodiment:
        """Keep an embodiment, whole or not at all.

        Fields that the user edited in an earlier file of that name (``source: user``) are kept,
        unless this embodiment brings its own user's value.

        Returns:
            The embodiment as stored.
        """
        folder = self.folder(embodiment.name)
        if embodiment.name in self._added():
            fresh = {f for f, p in embodiment.provenance.items() if p.source == "user"}
            kept = {f: v for f, v in user_fields(folder).items() if f not in fresh}
            embodiment = apply_overrides(embodiment, kept)
        self.root.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=self.root, prefix=f".{embodiment.name}."))
        try:
            save_embodiment(embodiment, made)
            made.chmod(0o755)
            folder.mkdir(exist_ok=True)
            # the YAML file last: without it the folder is no embodiment
            for file in sorted(made.iterdir(), key=lambda p: p.name.endswith(SUFFIX)):
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return embodiment

    def edited(self, name: str) -> dict[str, Any]:
        """Field -> value in file form, of what a person set in an added embodiment."""
        return user_fields(self.folder(name)) if name in self._added() else {}

    def remove(self, name: str) -> None:
        """Forget an added embodiment and what was derived from it."""
        if name not in self._added():
            raise UnknownName("added embodiment", name, self._added())
        folder = self.folder(name)
        (folder / f"{name}{SUFFIX}").unlink()  # from here on it is forgotten, whatever happens
        shutil.rmtree(folder)
