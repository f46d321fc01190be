"""The ULTra workbench: what the latent tokens of a Transformer mean.

Five verbs, the same for images and text: `load` a model, `capture` one forward pass, `explain` its
latent tokens, `segment` the maps, and look. Letters used in shapes: N token positions (P of them
prefix tokens), T explained tokens, D width, H heads or image height, L blocks.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # where a verb and its module share a name, a type checker would see the module
    from .capture import capture as capture
    from .evaluate import evaluate as evaluate
    from .evidence import evidence as evidence

__version__ = "0.1.0"

# Public name -> the module it lives in. Loaded on first use, so that `import ultra_kit` costs nothing.
_EXPORTS = {
    "UltraError": "types",
    "Layout": "types",
    "Capture": "types",
    "ExplanationMaps": "types",
    "load": "models",
    "check": "models",
    "Report": "models",
    "photograph": "gallery",
    "photographs": "gallery",
    "capture": "capture",
    "explain": "relevance",
    "plan": "relevance",
    "Plan": "relevance",
    "Interrupted": "relevance",
    "ConstantNormWarning": "relevance",
    "segment": "segmentation",
    "Segmentation": "segmentation",
    "select": "selection",
    "Selection": "selection",
    "summarize": "language",
    "Summary": "language",
    "evidence": "evidence",
    "Evidence": "evidence",
    "comprehensiveness": "faithfulness",
    "sufficiency": "faithfulness",
    "perturb": "perturbation",
    "Perturbation": "perturbation",
    "train_transform": "transform",
    "Transform": "transform",
    "save": "storage",
    "open": "storage",
    "verify": "verification",
    "Verification": "verification",
    "evaluate": "evaluate",
    "Evaluation": "evaluate",
    "to_rle": "rle",
    "from_rle": "rle",
    "export_html": "export",
}
_MODULES = (
    "clicks",
    "validation",
    "baselines",
    "synthetic",
    "metrics",
    "perturbation",
    "datasets",
    "plots",
    "widgets",
)

__all__ = ["__version__", *_EXPORTS, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the verb where a module has the same name: `ultra_kit.capture` is the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _EXPORTS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:  # so that functions that use the package reach other processes
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
