"""Mutated files at every door: `python -m tests.fuzz --minutes M`; the same, short and always alike, in the tests."""
