"""Van Soelen & Sheppard, Using Winning Lottery Tickets in Transfer Learning for CNNs (2019)."""
