"""Explanation maps of latent tokens: one backward pass per token, rows instead of matrices."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..types import Capture, ExplanationMaps, Progress, Tokens
from ..types.checks import needs
from ..types.progress import reporting
from ..types.torch_modes import plain_torch
from .engine import Request, row_chunks
from .planning import make_request

_EXACT = ("float32", "float64")
_CHECKED = 3
"""Rows that are made again in float64 where the numbers were cheaper."""


class ConstantNormWarning(UserWarning):
    """The norm of the latents says little at this layer: it is (nearly) the same for every token."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user: a `KeyboardInterrupt`, so that it stops a cell or a script as any does.

    Attributes
    ----------
    partial : ExplanationMaps
        The maps of the tokens that were finished, in the order asked for; possibly none.
    """

    def __init__(self, message: str, partial: Any) -> None:
        super().__init__(message)
        self.partial = partial


@plain_torch()
def explain(
    cap: Capture,
    *more: Any,
    layer: int | None = None,
    tokens: Tokens = None,
    score: str | None = None,
    rule: str | None = None,
    towards: Any = None,
    transform: Any = None,
    since: int | None = None,
    chunk_size: int | None = None,
    max_memory: int | str | None = None,
    progress: bool | Progress | None = None,
) -> ExplanationMaps:
    """Explain latent tokens: say what each of them was made from.

    For token i at layer k and a scalar f of its latent, every attention step b <= k gives
    ``C_b = I + mean_h relu(A_b * df/dA_b)``, and the map is row i of ``C_k ... C_1`` (ULTra, arXiv 2411.12589; last
    block leftmost as in Chefer, Gur and Wolf, ICCV 2021). It is exact for every token: neither the other tokens
    asked for nor the chunk size change it. With `since` = j the product stops at ``C_(j+1)``: what the token was made
    from among the tokens of layer j (this project's choice; j = 0 is the paper's map). It takes only the blocks
    above j, and one block's maps of all tokens come at once, without a pass per token.

    A group of tokens (a segment, a word) is explained by one backward pass of the sum of its members' scores, its row
    starting at the group's indicator in place of ``e_i`` (this project's choice). This is not the sum of the members'
    maps: where they have opposite gradients at an attention map, these cancel before the relu. Only over one block,
    where each member has a row to itself, the two are equal.

    Parameters
    ----------
    cap : Capture
    layer : int
        0..L or negative from the end; layer 0 gives the token's own position alone. What is left at None here, in
        `score` and in `rule` is the model's own setting (``cap.model.settings``): chosen on data set aside for the
        bundled and fetched models; for any other, "logprob" in the upper fifth of its layers if it writes texts from
        left to right, else the paper's (last layer, norm, positive).
    tokens : int, sequence of int, sequence of sequences of int, or float, optional
        Positions, prefix tokens counted; every content position by default. With sequences in it each entry is a group.
        A float is a share of the content positions, spread evenly (`Layout.spread`), for `segment`.
    score : {"norm", "sum", "energy", "head", "logprob", "towards"}
        f: the norm ||z||; the sum of z / ||z|| with the norm held fixed; 1/2 ||z||^2; the largest entry of the model's
        head at z (which was made for last-layer latents); the log-probability of the token that the position emits, as
        it depends on its latent through the blocks above `layer` (models that write texts); <z, towards>.
    rule : {"positive", "negative", "absolute"}
        Which sign of ``A * df/dA`` counts: what raises f (the paper's), what lowers it, both.
    towards : array of shape (D,) or (T, D), optional
        A direction, or one for each token or group; sets the score to "towards".
    transform : array of shape (D, D), or an object with ``.matrix``, optional
        W: the scores norm, sum and energy read W z in place of z.
    since : int
        j, in 0..layer - 1 (0 for layer 0), or negative from `layer`: -1 takes the last block alone. None is the model's
        own setting for its own layer, and 0 where `layer` is given.
    chunk_size : int, optional
        Tokens in one backward pass; by default one on a CPU, where more gain nothing, and at most 128 on a GPU.
    max_memory : int or str, optional
        Bytes, or text such as "2GB", on top of what the capture holds, which bounds the chunk; half of
        the free memory of a GPU by default.
    progress : bool or callable, optional
        A bar, by default when the run takes longer than two seconds, none inside a task that has one; a callable
        gets (done, total).

    Returns
    -------
    ExplanationMaps
        For a capture in a cheaper dtype than float32, ``card["explanation"]["float64"]`` says how far up to three of the
        rows, made again in float64, are from these: the least correlation, own positions left out, and the largest
        difference as a share of the largest entry.

    Raises
    ------
    ValueError, TypeError
        For an option that cannot be.
    UltraError
        If a gradient is missing or not finite, the model has no head, or one token needs more than `max_memory`.
    Interrupted
        A `KeyboardInterrupt` that carries the finished rows as ``.partial``.

    Warns
    -----
    ConstantNormWarning
        If the score is the norm and all norms are nearly equal, as behind a normalisation: the map says little.

    Examples
    --------
    >>> import ultra_kit as uk
    >>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
    >>> maps = uk.explain(cap, layer=2, tokens=[30, 31], rule="negative")
    >>> maps.values.shape == (2, cap.layout.n_tokens), bool((maps.values >= 0).all())
    (True, True)
    >>> uk.explain(cap, layer=2, tokens=[[30, 31, 42], [100]], score="norm", rule="positive", since=1)
    ExplanationMaps(2 groups x 148 positions, layer 2 since 1, ultra, norm, positive)
    """
    needs("explain", Capture, (cap, *more), "cap = uk.capture(model, x), then explain(cap)")
    request = make_request(cap, layer, tokens, score, rule, towards, transform, since, chunk_size, max_memory)
    layer = request.layer
    if request.score.name == "norm" and request.made["transform"] is None:
        _warn_if_constant(request.cap.latents[layer], layer)
    done = [np.zeros((0, cap.layout.n_tokens), np.float32)]
    (first,) = np.nonzero(np.diff(request.rows, prepend=-1))

    def result() -> ExplanationMaps:
        values = np.concatenate(done)
        maps = make_maps(
            cap, values, request.tokens[first[: len(values)]], layer, method="ultra", **request.made
        )
        maps = replace(maps, groups=request.groups and request.groups[: len(values)])
        if layer and len(maps) == len(first) and cap.card.get("dtype", "float32") not in _EXACT:
            maps.card["explanation"]["float64"] = _against_float64(request, maps, towards, transform)
        return maps

    try:
        with reporting(progress, len(first), f"explain layer {layer}") as report:
            for rows in row_chunks(request):
                done.append(rows.float().cpu().numpy())
                report(len(rows))
    except KeyboardInterrupt as stop:
        partial = result()
        raise Interrupted(
            f"stopped after {len(partial)} of {len(first)} tokens; their maps are in .partial", partial
        ) from stop
    return result()


def make_maps(
    cap: Capture,
    values: np.ndarray,
    tokens: np.ndarray,
    layer: int,
    *,
    method: str,
    score: str = "none",
    rule: str = "none",
    since: int = 0,
    **options: Any,
) -> ExplanationMaps:
    """Put rows over the positions of a capture into `ExplanationMaps`, provenance included.

    Parameters
    ----------
    cap, values, tokens, layer, method, score, rule, since
        As in `ExplanationMaps`; the score or the rule is "none" for a method that has none.
    **options
        Whatever else the maps depend on, JSON-able; goes into the card.

    Returns
    -------
    ExplanationMaps
    """
    made = {"method": method, "layer": layer, "score": score, "rule": rule, "since": since, **options}
    return ExplanationMaps(
        values=np.ascontiguousarray(values, dtype=np.float32),
        tokens=tokens,
        layer=layer,
        layout=cap.layout,
        method=method,
        score=score,
        rule=rule,
        input=cap.input,
        card={**cap.card, "explanation": made},
        since=since,
    )


def _against_float64(request: Request, maps: ExplanationMaps, towards: Any, transform: Any) -> dict[str, Any]:
    """How far a few rows of the maps are from those of the same weights and inputs in float64."""
    cap, some = request.cap, np.unique(np.linspace(0, len(maps) - 1, _CHECKED).astype(int))
    twin = copy.deepcopy(cap.model)
    twin.module.double()
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in cap.inputs.items()}
    latents, steps = twin.run(inputs)
    exact = replace(cap, model=twin, latents=tuple(latents), steps=tuple(steps), inputs=inputs)
    tokens = maps.tokens[some] if maps.groups is None else [list(maps.groups[i]) for i in some]
    how: dict[str, Any] = {"transform": transform, "score": request.score.name}
    if towards is not None:
        how = {
            "towards": torch.as_tensor(towards) if np.ndim(towards) == 1 else torch.as_tensor(towards)[some]
        }
    again = make_request(exact, request.layer, tokens, rule=request.rule, since=request.since, **how)
    part = replace(maps, values=maps.values[some], tokens=maps.tokens[some], groups=again.groups)
    true = replace(part, values=torch.cat(list(row_chunks(again))).float().cpu().numpy())
    pairs = [p for p in zip(part.without_own, true.without_own, strict=True) if all(map(np.ptp, p))]
    return {
        "rows": len(some),
        "correlation": min((float(np.corrcoef(a, b)[0, 1]) for a, b in pairs), default=1.0),
        "difference": float(abs(part.values - true.values).max() / true.values.max()),
    }


def _warn_if_constant(z: torch.Tensor, layer: int) -> None:
    """Warn where ||z|| cannot say much; this project's test, the method names the effect only."""
    node = z.grad_fn
    while node is not None and re.match(r"(Select|View|Squeeze|Slice|Index|Clone|Alias)", node.name()):
        node = node.next_functions[0][0]
    norms = z.detach().float().norm(dim=-1)
    constant = len(norms) > 1 and float(norms.std()) < 0.01 * float(norms.mean())
    if constant or (node is not None and re.search(r"(Layer|Rms|RMS)Norm", node.name())):
        warnings.warn(
            f"the latents of layer {layer} come out of a normalisation: their norm is nearly the same for "
            "every token, and a map of score 'norm' says little; use score='sum' or towards=",
            ConstantNormWarning,
            stacklevel=4,
        )
