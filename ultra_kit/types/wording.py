"""Words that titles and representations share."""


def counted(n: int, what: str) -> str:
    """How many of something there are.

    >>> counted(1, "token"), counted(2, "token")
    ('1 token', '2 tokens')
    """
    return f"{n} {what}{'s' * (n != 1)}"
