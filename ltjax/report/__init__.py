"""Reports: records to tables, figures and one page; no training.

`table` is text for the terminal, `figures` the pictures, `page` the whole report as one HTML file.
"""

from ltjax.report.document import page
from ltjax.report.plots import figures
from ltjax.report.style import MISSING_PLOTS, png, svg
from ltjax.report.tables import table

__all__ = ["MISSING_PLOTS", "figures", "page", "png", "svg", "table"]
