"""One way to write a file: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from .errors import UltraError


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to in place of `path`; the file there takes its place when the block ends well.

    The folder is made; a link is followed, and a file there keeps its mode. The name in between is the writer's own and ends as `path` does; it is removed on every
    way out. What the disk refuses is an UltraError that names `path`; an older file there then stays as it was.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    partial = target.with_name(f".{target.stem[:50]}.{uuid4().hex[:12]}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if target.is_file():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except OSError as error:
        raise UltraError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text as UTF-8, whole; gives the path. Of file names in another code "?" stands for what is no text."""
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8", "replace", newline="\n")
    return Path(path)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `whole_file`, for a folder that must not be there half; where another writer was first, theirs stays."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{uuid4().hex[:12]}.part")
    try:
        partial.mkdir(parents=True)
        yield partial
        with suppress(FileExistsError):
            os.replace(partial, target)
    except OSError as error:
        if not target.is_dir():  # a folder with files in it can't be replaced: somebody else has made it
            raise UltraError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
