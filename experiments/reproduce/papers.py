"""The table of papers; a new paper is a new package of rows and a line here."""

from collections.abc import Mapping

from experiments.paper_000.rows import PAPER as CLASS_HALVES
from experiments.paper_002.rows import PAPER as MULTIPLE_TICKETS
from experiments.paper_004.rows import PAPER as FRANKLE_CARBIN
from experiments.reproduce.rows import Paper

PAPERS: Mapping[str, Paper] = {
    paper.id: paper for paper in (CLASS_HALVES, MULTIPLE_TICKETS, FRANKLE_CARBIN)
}
