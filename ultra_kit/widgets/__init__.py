"""Views: results to point at, alive in a notebook, in a stored notebook, and in a file of their own.

>>> import ultra_kit as uk
>>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
>>> view = uk.widgets.TokenExplorer(uk.explain(cap, layer=2))

The last line of a cell shows a view. A notebook stores HTML that needs no kernel, and a picture for where scripts are not
trusted. ``view.live()`` is connected to Python: a click changes ``view.pinned``, and setting it redraws the page.
``view.save_png(path)`` and ``view.save_svg(path)`` draw the current state, ``uk.export_html(view, path)`` writes one file
for a colleague. ``README.md`` in this folder says how to add a view.
"""

from .embedding_explorer import EmbeddingExplorer
from .object_selector import ObjectSelector
from .segment_explorer import SegmentExplorer
from .summary_explorer import SummaryExplorer
from .tabs import Workbench, workbench
from .token_explorer import TokenExplorer
from .view import View

__all__ = [
    "EmbeddingExplorer",
    "ObjectSelector",
    "SegmentExplorer",
    "SummaryExplorer",
    "TokenExplorer",
    "View",
    "Workbench",
    "workbench",
]
