"""From the maps of picked tokens to one relevance over the patches: steps of `ultra_kit.select`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .pixel_masks import odds

SURVIVAL = 0.9
"""Share of the walkers that a step of `walk` keeps."""

Combine = Callable[[np.ndarray, Sequence[int], Sequence[int]], np.ndarray]
"""Called as ``combine(maps, wanted, unwanted)``, as `walk` and `difference` are."""


def links(maps: np.ndarray) -> np.ndarray:
    """Links between tokens: how much two were made of each other.

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        Non-negative; row i is the map of token i over the M content positions.

    Returns
    -------
    ndarray of shape (M, M), float64
        Own positions 0; rows scaled to sum 1, the mean of both directions, scaled again. A token
        without links has a row of zeros.

    Examples
    --------
    >>> links(np.array([[9.0, 1.0, 1.0], [1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])).round(2)
    array([[0.  , 0.75, 0.25],
           [1.  , 0.  , 0.  ],
           [1.  , 0.  , 0.  ]])
    """
    p = shares(maps)
    return shares((p + p.T) / 2)


def shares(maps: np.ndarray) -> np.ndarray:
    """How each token's map is shared out among the others.

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        Non-negative.

    Returns
    -------
    ndarray of shape (M, M), float64
        Own positions 0, rows scaled to sum 1; a row of zeros stays one.

    Examples
    --------
    >>> shares(np.array([[9.0, 1.0, 3.0], [0.0, 9.0, 0.0], [2.0, 2.0, 9.0]])).round(2)
    array([[0.  , 0.25, 0.75],
           [0.  , 0.  , 0.  ],
           [0.5 , 0.5 , 0.  ]])
    """
    p = np.array(maps, np.float64)
    np.fill_diagonal(p, 0)
    total = p.sum(axis=1, keepdims=True)
    return p / np.where(total > 0, total, 1)


def walk(maps: np.ndarray, wanted: Sequence[int], unwanted: Sequence[int]) -> np.ndarray:
    """Chance that a walk over the links from a token ends at a wanted one.

    Every step goes to another token in proportion to `links`; one walk in ten ends nowhere at each
    step (`SURVIVAL`), the others go on until they meet a picked token. So tokens that are linked to
    a wanted one through others count too, and what lies behind an unwanted one is cut off. (This
    project's choice; the absorbing random walk is that of Grady, "Random Walks for Image
    Segmentation", 2006, on tokens instead of pixels.)

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        As in `links`.
    wanted, unwanted : sequence of int
        Content indices; a token in both is wanted.

    Returns
    -------
    ndarray of shape (M,), float64
        In [0, 1], 0 at unwanted tokens. At wanted tokens, where the chance is 1 whatever the model
        says, the chance to come back to one of them, or the largest of the other tokens' if that is
        higher.

    Examples
    --------
    Token 1 goes to token 0 in nine walks of ten; token 2 sets out for token 3 three times of four:

    >>> maps = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], float)
    >>> walk(maps, wanted=[0], unwanted=[3]).round(2)
    array([0.9 , 0.9 , 0.22, 0.  ])
    """
    step = SURVIVAL * links(maps)
    back = step.copy()
    wanted = sorted(set(wanted))
    ends = np.zeros(len(step))
    ends[wanted] = 1
    step[sorted({*wanted, *unwanted})] = 0
    found = np.linalg.solve(np.eye(len(step)) - step, ends).clip(0, 1)
    others = np.delete(found, wanted).max(initial=0)
    found[wanted] = np.maximum(back[wanted] @ found, others)
    return found


def difference(maps: np.ndarray, wanted: Sequence[int], unwanted: Sequence[int]) -> np.ndarray:
    """Mean map of the wanted tokens minus that of the unwanted ones, where it is above 0.

    Parameters
    ----------
    maps, wanted, unwanted
        As in `walk`.

    Returns
    -------
    ndarray of shape (M,), float64
        Each map is first scaled to a largest value of 1, its own position, which takes that largest
        value too, left out.

    Examples
    --------
    >>> maps = np.array([[9, 4, 2, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 5, 9]], float)
    >>> difference(maps, wanted=[0], unwanted=[3])
    array([1., 1., 0., 0.])
    """
    unwanted = sorted(set(unwanted) - set(wanted))
    scaled = np.array(maps, np.float64)
    np.fill_diagonal(scaled, 0)
    largest = scaled.max(axis=1, keepdims=True)
    scaled /= np.where(largest > 0, largest, 1)
    np.fill_diagonal(scaled, 1)
    found = scaled[list(wanted)].mean(axis=0)
    if unwanted:
        found = (found - scaled[unwanted].mean(axis=0)).clip(0)
    found[unwanted] = 0
    return found


def new_parts(
    maps: np.ndarray, wanted: Sequence[int], unwanted: Sequence[int], grid: tuple[int, int], combine: Combine
) -> list[int]:
    """Which of the wanted tokens name a part of the object that the earlier ones have not reached.

    A point right beside what is selected already corrects an outline: its patch holds a piece of
    another thing too, and must not bring that in. It then counts for its pixel only.

    Parameters
    ----------
    maps : ndarray of shape (M, M)
        As in `links`.
    wanted, unwanted : sequence of int
        Content indices, the wanted ones in the order in which they were picked.
    grid : tuple of int
        (h, w) of the patches.
    combine : callable
        `walk` or `difference`.

    Returns
    -------
    list of int
        The first, and each further one if neither it nor one of its eight neighbours is above Otsu's
        threshold in the relevance of those before it.

    Examples
    --------
    Patches in a row; 1 was made from 0, and 3 from 2:

    >>> maps = np.array([[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]], float)
    >>> new_parts(maps, [0, 2], [], (1, 5), walk), new_parts(maps, [0, 3], [], (1, 5), walk)
    ([0], [0, 3])
    """
    found = list(wanted[:1])
    for token in wanted[1:]:
        reached = odds(combine(maps, found, unwanted)).reshape(grid)
        y, x = divmod(token, grid[1])
        if reached[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() < 0.5:
            found.append(token)
    return found
