"""Views: results to point at, alive in a notebook, in a stored notebook, and in a file of their own.

>>> import ultra_kit as uk
>>> cap = uk.capture(uk.load("scenes"), uk.data.scene(0).image)
>>> view = uk.widgets.TokenExplorer(uk.explain(cap, layer=2))

In a notebook the last line of a cell shows a view. What the notebook stores is HTML, a picture and a line
of text, never a live widget: whoever opens it later can still point at things, without a kernel; where
scripts are not trusted the picture stays. ``view.live()`` shows the same view connected to Python: what
is clicked changes the view's attributes (``view.pinned``), and setting them redraws the page.
``view.save_png(path)`` and ``view.save_svg(path)`` draw the current state, and
``uk.export_html(view, path)`` writes one file for a colleague.

``README.md`` in this folder says how to add a view.
"""

from .object_selector import ObjectSelector
from .segment_explorer import SegmentExplorer
from .summary_explorer import SummaryExplorer
from .tabs import Workbench, workbench
from .token_explorer import TokenExplorer
from .view import View

__all__ = [
    "ObjectSelector",
    "SegmentExplorer",
    "SummaryExplorer",
    "TokenExplorer",
    "View",
    "Workbench",
    "workbench",
]
