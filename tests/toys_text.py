"""A document, its summary, and evidence for its words."""

import numpy as np

from ultra_kit.text.evidence_words import Evidence
from ultra_kit.text.words import split_sentences, split_words

DOCUMENT = "The flood came on Monday.  It damaged not 12 but 15 houses.\n\nRain fell. A dog slept."
SUMMARY = "The flood damaged 15 houses. Rain fell."


def evidence_of(document=DOCUMENT, text=SUMMARY, *, layer=2, method="ultra", seed=0, rows=None, **changes):
    """Random evidence, a quarter of it nothing."""
    written, said = split_words(document), split_words(text)
    rows = np.arange(len(said)) if rows is None else np.asarray(rows)
    random = np.random.default_rng(seed + layer)
    matrix = random.random((len(said), len(written)), np.float32)
    matrix[random.random(matrix.shape) < 0.25] = 0
    made = {
        "matrix": matrix[rows],
        "rows": rows,
        "shares": {name: np.full(len(rows), 0.25) for name in ("document", "prompt", "sinks", "summary")},
        "document_words": tuple(w.text for w in written),
        "words": tuple(w.text for w in said),
        "document_sentences": split_sentences(written, document),
        "sentences": split_sentences(said, text),
        "layer": layer,
        "method": method,
        "score": "norm" if method == "ultra" else "none",
        "rule": "positive" if method == "ultra" else "none",
        "at": "emits",
        "contrast": None,
        "document": document,
        "text": text,
    }
    return Evidence(**{**made, **changes})
