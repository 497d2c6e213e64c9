"""Reports: numbers to tables, figures and one page; no training.

`draw` makes pictures of plain numbers, `page` one HTML file of sections. From the records of a
run, `table` is text for the terminal, `figures` the pictures, and `run_page` the whole report.
"""

from ltjax.report.document import page
from ltjax.report.run_figures import figures
from ltjax.report.run_page import run_page
from ltjax.report.style import MISSING_PLOTS, png, svg
from ltjax.report.terminal import table

__all__ = ["MISSING_PLOTS", "figures", "page", "png", "run_page", "svg", "table"]
