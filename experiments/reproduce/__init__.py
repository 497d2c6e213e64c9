"""How a paper is reproduced: a table of experiments, the trainings they share, and the verdicts.

An `Experiment` (rows) is data: what has to be trained (works), how it is drawn (figures) and what
the paper says about it (claims). A `Paper` is a settings class with its presets and a function
from settings to experiments. A binary runs a paper (driver); the report holds ours against theirs.
"""
