"""Summaries of documents by language models, with one forward pass over both."""

from ._tokens import ASK, CONTINUE
from .summary import Summary, summarize

__all__ = ["ASK", "CONTINUE", "Summary", "summarize"]
