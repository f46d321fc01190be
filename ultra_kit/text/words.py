"""Words and sentences of any script, and which tokens make up a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_ENDS = ".!?。！？…"
_CLOSING = "\"'”’»)]}」』"
_SHORT = frozenset("Dr Mr Mrs Ms Prof St vs etc No Fig e.g i.e".split())
# Scripts written without spaces in which a character is the unit to show: kana, Han and their extensions.
_SINGLE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class Word(NamedTuple):
    """A word of a text.

    Attributes
    ----------
    text : str
    start, end : int
        Characters of the text.
    tokens : tuple of int
        Positions of its tokens in a capture; empty where it was not yet tokenised, or shares its only
        token with a longer word.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...] = ()


def split_words(text: str) -> tuple[Word, ...]:
    """Split a text into words; a mark of punctuation, a symbol and a Han or kana character is one of its own.

    Apostrophes and hyphens inside a word and points inside a number stay there; accents and joiners stay
    with what they stand on.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of Word
        Without tokens, in the order of the text.

    Examples
    --------
    >>> [w.text for w in split_words("It's 1,000.5 km-long (not 12).")]
    ["It's", '1,000.5', 'km-long', '(', 'not', '12', ')', '.']
    >>> [w.text for w in split_words("火事 שלום 👩‍🚒!")]
    ['火', '事', 'שלום', '👩‍🚒', '!']
    """
    bounds: list[list[int]] = []
    kind = ""
    for i, c in enumerate(text):
        before, kind = kind, _kind(c)
        if not kind:
            continue
        joined = bool(bounds) and bounds[-1][1] == i
        glued = kind == "mark" or (before == "mark" and text[i - 1] == "\u200d")
        if joined and (glued or (kind == "word" and _continues(text, i, bounds[-1][0]))):
            bounds[-1][1] = i + 1
        elif joined and kind == "other" and _inside(text, i):
            bounds[-1][1] = i + 1
        else:
            bounds.append([i, i + 1])
    return tuple(Word(text[a:b], a, b) for a, b in bounds)


def _kind(c: str) -> str:
    category = unicodedata.category(c)
    if category[0] in "ZC" and category != "Cf":
        return ""
    if category[0] == "M" or category == "Cf" or "\U0001f3fb" <= c <= "\U0001f3ff":
        return "mark"
    return "word" if category[0] in "LN" else "other"


def _continues(text: str, i: int, start: int) -> bool:
    """Whether the letter or digit at `i` belongs to the word from `start`."""
    if _SINGLE.match(text[i]) or _SINGLE.match(text[i - 1]):
        return False
    return _kind(text[i - 1]) in ("word", "mark") or (_kind(text[start]) == "word" and i - start > 1)


def _inside(text: str, i: int) -> bool:
    """Whether a mark of punctuation stands inside a word (it's, km-long) or a number (1,000.5)."""
    if i + 1 >= len(text):
        return False
    left, right = text[i - 1], text[i + 1]
    if text[i] in "'’-" and left.isalpha() and right.isalpha():
        return not (_SINGLE.match(left) or _SINGLE.match(right))
    return text[i] in ".," and left.isdigit() and right.isdigit()


def split_sentences(words: Sequence[Word], text: str) -> tuple[tuple[int, int], ...]:
    """Bounds (first, last + 1) of the sentences in a list of words; they cover all of it.

    A sentence ends after one of ``. ! ? …`` and their wide forms, with closing quotes and brackets, but
    not after an initial or a usual abbreviation; and at an empty line.

    Parameters
    ----------
    words : sequence of Word
        All words of the text.
    text : str

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
    last = i
    while last > start and words[last].text in _CLOSING:
        last -= 1
    if words[last].text not in _ENDS:
        return False
    before = words[last - 1].text if last > start else ""
    initial = len(before) == 1 and before.isalpha() and before.isascii()
    return words[last].text != "." or not (before in _SHORT or initial)


def _opens(following: Word, gap: str) -> bool:
    if following.text in _ENDS or (following.text in _CLOSING and not gap):
        return False
    return bool(gap) or bool(_SINGLE.match(following.text))


def with_tokens(words: Sequence[Word], spans: Sequence[tuple[int, int]], first: int = 0) -> tuple[Word, ...]:
    """Give each word its tokens: a token belongs to the word with which it shares most characters.

    Parameters
    ----------
    words : sequence of Word
    spans : sequence of (int, int)
        Characters of each token.
    first : int
        Position of the first of these tokens in the capture.

    Returns
    -------
    tuple of Word

    Examples
    --------
    >>> [w.tokens for w in with_tokens(split_words("un fait"), [(0, 2), (2, 5), (5, 7)], first=10)]
    [(10,), (11, 12)]
    """
    owned: list[list[int]] = [[] for _ in words]
    at = 0
    for k, (start, end) in enumerate(spans):
        while at + 1 < len(words) and words[at].end <= start:
            at += 1
        best, most = None, 0
        for j in range(at, len(words)):
            if words[j].start >= end:
                break
            shared = min(end, words[j].end) - max(start, words[j].start)
            if shared > most:
                best, most = j, shared
        if best is not None:
            owned[best].append(first + k)
    return tuple(w._replace(tokens=tuple(t)) for w, t in zip(words, owned, strict=True))
