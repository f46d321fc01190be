"""Words that titles and representations share."""


def counted(n: int, what: str) -> str:
    """How many of something there are.

    >>> counted(1, "token"), counted(2, "token")
    ('1 token', '2 tokens')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def layers_said(layer: int | tuple[int, ...]) -> str:
    """One layer or several.

    >>> layers_said(5), layers_said((4, 8))
    ('layer 5', 'layers 4, 8')
    """
    return f"layer {layer}" if isinstance(layer, int) else f"layers {', '.join(map(str, layer))}"
