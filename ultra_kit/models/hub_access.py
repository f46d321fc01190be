"""Weights from the Hugging Face Hub without long waits, and one plain line where they can't be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..types import UltraError


@contextlib.contextmanager
def hub(name: str) -> Iterator[None]:
    """Around a download of `name`: one short look whether the hub answers, and only the local cache if it does not.

    An UltraError, naming the bundled alternative, if the weights are neither in the cache nor to be downloaded.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HfHubHTTPError

    before = constants.HF_HUB_OFFLINE
    try:
        if not before:  # without this the library repeats each request for the better part of a minute
            try:
                get_session().head(constants.ENDPOINT, timeout=4)
            except Exception:  # whatever the client in use calls it: the hub did not answer
                constants.HF_HUB_OFFLINE = True
        yield
    except (HfHubHTTPError, OSError, RuntimeError) as e:
        if isinstance(e, UltraError):
            raise
        reason = "no network" if constants.HF_HUB_OFFLINE else str(e).strip().splitlines()[0][:160]
        raise UltraError(
            f'the weights of {name!r} can\'t be downloaded ({reason}): load the bundled model with load("scenes"), or '
            "pass pretrained=False for random weights"
        ) from e
    finally:
        constants.HF_HUB_OFFLINE = before
