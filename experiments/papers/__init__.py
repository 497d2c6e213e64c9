"""How a paper is reproduced: a table of figures, the trainings they share, claims with verdicts."""
