"""G070, On Multiple Winning Tickets and LTH vs SNIP."""
