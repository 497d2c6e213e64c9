"""Compiled training of masked networks, one or many in one program, and the records it leaves."""
