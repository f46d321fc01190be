"""What the maps are for in texts: a document and its summary in one forward pass (`summarize`), and which words of the document each word of the summary was made from (`evidence`)."""

from .evidence_words import Coverage, Evidence
from .summarizing import Summary, summarize
from .tokenizing import ASK, CONTINUE
from .tracing import EVIDENCE_METHODS, evidence
from .words import Word, split_sentences, split_words

__all__ = [
    "ASK",
    "CONTINUE",
    "Coverage",
    "EVIDENCE_METHODS",
    "Evidence",
    "Summary",
    "Word",
    "evidence",
    "split_sentences",
    "split_words",
    "summarize",
]
