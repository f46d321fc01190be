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

How to add a view
-----------------
1. ``name.js`` in this folder: one plain ES module that imports nothing. It defines
   ``function render({ model, el })``, which fills the element `el` and returns a function that cleans
   up, and its last line is ``export default { render };``. The functions of ``common.js`` stand in
   front of it (`ultra_kit.widgets.page_host.view_script`), so it calls ``element``, ``bytes``, ``slider`` and the
   rest as if they were its own, and must not define the same names. A long script may put parts of
   itself into ``name_*.js``. The root has the class
   ``uk-view``. The same text runs in three hosts; all it may ask of any is
   ``model.get/set/on/off/save_changes/send``. Text of users enters by ``textContent`` only.
   Shared styles are in ``views.css``; a ``name.css`` beside the script is added if there is one.
2. A subclass of `View` with ``_name = "name"``. What the user can change is a trait with
   ``.tag(state=True)``: JSON-able, and set from the page too, so validate it. ``data()`` gives what never
   changes (JSON-able values, and ``bytes``, which arrive as a DataView); keep it under about 2 MB. No name of
   either may be one of ipywidgets' own (``layout``, ``comm``, ``keys``, ``tooltip``).
   ``figure()`` draws the current state with matplotlib: it becomes the still picture, the PNG and the SVG.
3. What only Python can work out is asked for: the page calls ``model.send({...})`` if
   ``model.get("has_kernel")`` is true, the view's ``answer(message)`` returns ``(content, buffers)``, and the
   page gets them in ``model.on("msg:custom", (content, buffers) => ...)``; an error arrives as ``{error: text}``.
4. Say what is shown to tests: set ``el.dataset`` entries when the picture is drawn, and wait on those.
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
