"""Words and sentences of any script, and which tokens make up a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import regex

_ENDS = ".!?。！？…"
_CLOSING = "\"'”’»)]}」』"
_SHORT = frozenset("Dr Mr Mrs Ms Prof St vs etc No Fig e.g i.e".split())
# Scripts written without spaces in which a character is the unit to show: kana, Han and their extensions.
_SINGLE = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_SEEN = r"[[^\p{Z}\p{C}]||\p{Cf}]"
_LETTER = rf"[\p{{L}}--{_SINGLE}]"
_ALIKE = rf"[[\p{{L}}\p{{N}}]--{_SINGLE}]"
_MARK = r"[\p{M}\p{Cf}\U0001f3fb-\U0001f3ff]"
_WORD = regex.compile(
    rf"""(?V1x) {_SEEN} (?:
        {_MARK}  # what stands on the character before
        | (?<=\u200d) {_SEEN}  # what a joiner joins
        | (?<!{_SINGLE}) (?<={_ALIKE} | {_MARK}) {_ALIKE}  # a letter or digit after another
        | (?<={_LETTER}) ['’-] {_LETTER}  # it's, km-long
        | (?<=\d) [.,] \d  # 1,000.5
    )*"""
)


class Word(NamedTuple):
    """A word of a text: its characters start..end, and the positions of its tokens in a capture.

    `tokens` is empty where it was not yet tokenised, or shares its only token with a longer word.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...] = ()


def split_words(text: str) -> tuple[Word, ...]:
    """Split a text into words; a mark of punctuation, a symbol and a Han or kana character is one of its own.

    What stands inside a word (it's, km-long) or a number stays there, as do accents and joiners.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of Word, without tokens

    Examples
    --------
    >>> [w.text for w in split_words("It's 1,000.5 km-long (火事 👩‍🚒).")]
    ["It's", '1,000.5', 'km-long', '(', '火', '事', '👩‍🚒', ')', '.']
    """
    return tuple(Word(found[0], *found.span()) for found in _WORD.finditer(text))


def split_sentences(words: Sequence[Word], text: str) -> tuple[tuple[int, int], ...]:
    """Bounds (first, last + 1) of the sentences in a list of words; they cover all of it.

    A sentence ends after one of ``. ! ? …`` and their wide forms, with closing quotes and brackets, but
    not after an initial or a usual abbreviation; and at an empty line.

    Parameters
    ----------
    words : sequence of Word
    text : str
        What they are the words of.

    Returns
    -------
    tuple of (int, int)

    Examples
    --------
    >>> text = 'Dr. Lee left at 5. "Why?" asked no one.'
    >>> words = split_words(text)
    >>> [text[words[a].start : words[b - 1].end] for a, b in split_sentences(words, text)]
    ['Dr. Lee left at 5.', '"Why?"', 'asked no one.']
    """
    bounds, start = [], 0
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else None
        gap = text[word.end : following.start] if following else ""
        if following is None or gap.count("\n") > 1 or (_ends(words, i, start) and _opens(following, gap)):
            bounds.append((start, i + 1))
            start = i + 1
    return tuple(bounds)


def _ends(words: Sequence[Word], i: int, start: int) -> bool:
    """Whether word i ends the sentence from word `start`, if a new one can follow."""
    last = i
    while last > start and words[last].text in _CLOSING:
        last -= 1
    if words[last].text not in _ENDS:
        return False
    before = words[last - 1].text if last > start else ""
    initial = len(before) == 1 and before.isalpha() and before.isascii()
    return words[last].text != "." or not (before in _SHORT or initial)


def _opens(following: Word, gap: str) -> bool:
    """Whether a sentence can begin with a word, after the gap before it."""
    if following.text in _ENDS or (following.text in _CLOSING and not gap):
        return False
    return bool(gap) or bool(regex.match(_SINGLE, following.text))


def with_tokens(words: Sequence[Word], spans: Sequence[tuple[int, int]], first: int = 0) -> tuple[Word, ...]:
    """Give each word the tokens, of characters `spans` and positions from `first`, that share most characters with it."""
    word_at = {at: k for k, w in enumerate(words) for at in range(w.start, w.end)}
    owned: list[list[int]] = [[] for _ in words]
    for k, span in enumerate(spans):
        shared = Counter(word_at[at] for at in range(*span) if at in word_at)
        if shared:
            owned[shared.most_common(1)[0][0]].append(first + k)
    return tuple(w._replace(tokens=tuple(t)) for w, t in zip(words, owned, strict=True))
