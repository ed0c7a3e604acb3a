"""What a run makes of an instruction, shown before anything moves."""

from __future__ import annotations


def confirm(asked: str, meant: str, *, ask: bool) -> list[tuple[str, str]]:
    """Show how an instruction was understood; let a person refuse where telling words differ.

    Args:
        asked: As it was said.
        meant: The demonstrated instruction that it was taken for.
        ask: There is a person to answer; else a warning on standard error has to do.

    Returns:
        What differs (:func:`different_words`).

    Raises:
        ReportedError: The person means something else.
    """
    import typer
    from rich.text import Text

    from icl_vla_embodiments import ReportedError
    from icl_vla_retrieval import different_words

    from . import output

    changes = different_words(asked, meant)
    if not changes:
        return changes
    output.errors.print(f"  understood as: {meant}", soft_wrap=True)
    output.errors.print(Text(f"  {_told(changes)}", "bold yellow"), soft_wrap=True)
    if not ask:
        output.errors.print(
            "  another task? Nothing but the demonstrated one will be done: stop it, and"
            " demonstrate what you mean",
            soft_wrap=True,
        )
    elif not typer.confirm("  Is this what you mean?", default=False, err=True):
        raise ReportedError(
            "no demonstration has this instruction; nothing was moved",
            value=asked,
            valid=[meant],
            remedy="use a demonstrated instruction, or record demonstrations of this one",
        )
    return changes


def _told(changes: list[tuple[str, str]]) -> str:
    here, there = (sorted(" ".join(words).split()) for words in zip(*changes, strict=True))
    if here == there:
        return "the same words in another order"
    return "not the same words: " + "; ".join(_said(*change) for change in changes)


def _said(asked: str, meant: str) -> str:
    if not asked:
        return f"{meant!r} was not said"
    return f"{asked!r} is not there" if not meant else f"{asked!r} taken for {meant!r}"
