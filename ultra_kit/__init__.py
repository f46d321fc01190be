"""The ULTra workbench: what the latent tokens of a Transformer mean.

Five verbs, the same for images and text: `load` a model, `capture` one forward pass, `explain` its
latent tokens, `segment` the maps, and look. Letters used in shapes: N token positions (P of them
prefix tokens), T explained tokens, D width, H heads or image height, L blocks.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the room it lives in. Loaded on first use, so that `import ultra_kit` costs nothing.
_VERBS = {
    "UltraError": "types",
    "load": "models",
    "check": "models",
    "capture": "maps",
    "explain": "maps",
    "plan": "maps",
    "train_transform": "runs",
    "segment": "images",
    "select": "images",
    "summarize": "text",
    "evidence": "text",
    "name": "atlas",
    "embed": "atlas",
    "evaluate": "runs",
    "intervene": "runs",
    "diagnose": "runs",
    "comprehensiveness": "runs",
    "sufficiency": "runs",
    "save": "files",
    "open": "files",
    "verify": "files",
    "export_html": "files",
}
_MODULES = {"baselines": "maps.baselines"} | {name: name for name in ("metrics", "data", "plots", "widgets")}
_ROOMS = (
    "types",
    "models",
    "maps",
    "images",
    "text",
    "atlas",
    "metrics",
    "data",
    "runs",
    "plots",
    "widgets",
    "files",
)

__all__ = [*_VERBS, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        value = getattr(import_module(f"{__name__}.{_VERBS[name]}"), name)
    elif name in _MODULES or name in _ROOMS:
        value = import_module(f"{__name__}.{_MODULES.get(name, name)}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
