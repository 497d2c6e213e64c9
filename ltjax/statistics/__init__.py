"""What records say: intervals, paired tests, winning tickets."""
