"""The documentation against the code: commands that exist, links that lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from icl_vla.cli import app
from icl_vla_embodiments.hookspecs import HOOKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^ *```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)
SHELL = {"", "bash", "sh", "shell", "console", "text"}
END = {"|", "||", "&&", ";", ">", ">>", "2>", "&", "#", "->", "→"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def typed(words: list[str]) -> list[list[str]]:
    """Arguments of every ``icl-vla`` in a line of shell, which may have a path before it."""
    starts = [i for i, word in enumerate(words) if word == "icl-vla" or word.endswith("/icl-vla")]
    found = []
    for start in starts:
        rest = words[start + 1 :]
        end = next((i for i, word in enumerate(rest) if word in END), len(rest))
        found.append(rest[:end])
    return found


def commands_in_blocks(text: str) -> Iterator[list[str]]:
    """Arguments of every ``icl-vla`` that a reader may copy from a block of shell."""
    for block in FENCE.finditer(text):
        if block["language"].lower() not in SHELL:
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            line = re.sub(r"^\s*\$ ", "", line)
            if "icl-vla" in line:
                yield from typed(shlex.split(line, comments=True))


def commands_in_sentences(text: str) -> Iterator[list[str]]:
    """Arguments in inline code that begins with ``icl-vla``; positional ones may be left out."""
    for span in re.findall(r"`(icl-vla [^`\n]+)`", FENCE.sub("", text)):
        yield from typed(shlex.split(span))


def find(words: list[str]) -> tuple[object, list[str]]:
    """The command that words lead to, and what is left of them."""
    command = typer.main.get_command(app)
    rest = list(words)
    while commands := getattr(command, "commands", None):
        while rest and rest[0] in ("--debug", "--help"):
            rest.pop(0)
        if not rest:
            break
        assert rest[0] in commands, f"icl-vla {' '.join(words)}: there is no {rest[0]!r}"
        command = commands[rest.pop(0)]
    return command, rest


def assert_options_exist(words: list[str]) -> None:
    command, rest = find(words)
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    unknown = [w for w in rest if w.startswith("--") and w.split("=")[0] not in known]
    assert not unknown, f"icl-vla {' '.join(words)}: there is no {unknown}"


def assert_parses(words: list[str]) -> None:
    assert_options_exist(words)
    command, rest = find(words)
    if "--help" in words or not words or (not rest and getattr(command, "commands", None)):
        return
    try:
        command.make_context("icl-vla", list(rest))
    except Exception as error:
        pytest.fail(f"icl-vla {shlex.join(words)}: {type(error).__name__}: {error}")


@by_page
def test_commands_exist_and_parse(page):
    text = page.read_text()
    for words in commands_in_blocks(text):
        assert_parses(words)
    for words in commands_in_sentences(text):
        assert_options_exist(words)


def test_the_readme_shows_the_main_job():
    commands = list(commands_in_blocks((ROOT / "README.md").read_text()))
    shown = {words[0] for words in commands if words}
    assert {"add-embodiment", "demos", "run", "eval"} <= shown


def test_a_command_that_does_not_exist_is_noticed():
    page = "```bash\n$ ICL_VLA_HOME=x icl-vla run panda \\\n  'a b' --episods 3 | tee log\n```"
    (words,) = commands_in_blocks(page)
    assert words == ["run", "panda", "a b", "--episods", "3"]
    for bad in (words, ["rum"], ["demos", "recrod"]):
        with pytest.raises(AssertionError, match="there is no"):
            assert_options_exist(bad)
    for bad in (["run", "panda"], ["run", "panda", "a", "--episodes", "many"], ["run", *"abc"]):
        with pytest.raises(pytest.fail.Exception):
            assert_parses(bad)
    assert_parses(["run", "panda", "a b", "--episodes", "3"])
    assert list(commands_in_sentences("so `icl-vla eval ROBOT --task x` does")) == [
        ["eval", "ROBOT", "--task", "x"]
    ]


def anchors(page: Path) -> set[str]:
    """Headings as GitHub links them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@by_page
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    links = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)", text)
    links += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    broken = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        found = file.exists() and file.is_relative_to(ROOT)
        if not found or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link)
    assert not broken


def test_every_hook_is_explained():
    text = (ROOT / "docs/plugins.md").read_text()
    assert [hook.__name__ for hook in HOOKS if f"`{hook.__name__}" not in text] == []


def test_every_dependency_has_its_reason():
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [
        *project["dependencies"],
        *(d for e in project["optional-dependencies"].values() for d in e),
    ]
    names = {re.split(r"[<>=!~\[; ]", d)[0].lower() for d in listed}
    assert [
        n for n in sorted(names) if not re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", text)
    ] == []


@by_page
def test_no_machine_is_named(page):
    """No path of somebody's machine."""
    assert re.findall(r"(?<![\w.])/(?:home|root|Users|work|tmp)/[\w.-]+", page.read_text()) == []
