"""The error of the workbench."""


class UltraError(RuntimeError):
    """What the workbench cannot do: says what must hold, what came, and what to do."""

    __module__ = "ultra_kit"  # a traceback names it as users do
