"""How results of a run print: a line of facts and a pandas table."""

from __future__ import annotations

from html import escape
from typing import Protocol

import pandas as pd


class PrintedTable(Protocol):
    """Prints as a line above `table`: text in a terminal, HTML in a notebook."""

    @property
    def table(self) -> pd.DataFrame:
        """What is printed, as a pandas frame."""

    @property
    def _headline(self) -> str: ...

    def __repr__(self) -> str:
        return f"{self._headline}\n{self.table.to_string(float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        said = escape(self._headline).replace("\n", "<br>")
        return f"<p>{said}</p>{self.table.to_html(float_format='{:.3f}'.format)}"
