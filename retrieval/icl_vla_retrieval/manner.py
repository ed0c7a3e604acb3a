"""Words that say how a thing is done, not what: they change the pace of what was demonstrated."""

from __future__ import annotations

from collections.abc import Mapping

_PACES = {
    0.5: ("slowly", "slow", "gently", "softly", "carefully", "cautiously", "calmly", "delicately"),
    0.7: ("slower", "gentler"),
    1.3: ("faster", "quicker"),
    1.5: ("quickly", "quick", "fast", "rapidly", "swiftly", "briskly", "hastily"),
}
PACES: Mapping[str, float] = {word: pace for pace, words in _PACES.items() for word in words}
"""Word -> pace, in terms of the demonstrated one."""
MORE: Mapping[str, float] = {"very": 1.5, "really": 1.5, "extremely": 2.0, "more": 0.5}
"""Word before another -> power of its pace: "more slowly" is slow by half as much as "slowly"."""
_ADJECTIVES = ("slow", "quick", "fast")  # these alone may belong to a thing


def manner_of(text: str) -> tuple[str, float]:
    """An instruction without its words of manner, and the pace that they ask for.

    Of several the one counts that asks for most. ``slow``, ``quick`` and ``fast`` count at either
    end of the sentence only, as elsewhere they may tell one thing from another.

    Returns:
        The text, as it was where it says nothing of manner; and the pace, 1 for the demonstrated.
    """
    words = text.split()
    bare = [word.strip(".,;:!?'\"").casefold() for word in words]
    ends = {0, len(words) - 1}
    manner = {
        i for i, word in enumerate(bare) if word in PACES and (word not in _ADJECTIVES or i in ends)
    }
    if not manner:
        return text, 1.0
    left_out = set(manner)
    paces = []
    for i in sorted(manner):
        power = MORE.get(bare[i - 1], 1.0) if i else 1.0
        paces.append(PACES[bare[i]] ** power)
        if i and bare[i - 1] in MORE:
            left_out.add(i - 1)
    for i, word in enumerate(bare):
        joins = word in ("and", "but") and (i - 1 in left_out or i == 0)
        if joins and any(j in left_out for j in (i + 1, i + 2)[: len(bare) - i - 1]):
            left_out.add(i)
    kept = " ".join(word for i, word in enumerate(words) if i not in left_out)
    pace = max(paces, key=lambda p: max(p, 1 / p))
    return kept.strip(" ,"), pace


def pace_between(asked: str, known: str) -> float:
    """Pace that is asked for of what was demonstrated under another instruction.

    What says nothing of manner is done as it was shown; what was shown slowly need not be slowed.
    """
    pace = manner_of(asked)[1]
    return pace / manner_of(known)[1] if pace != 1.0 else 1.0
