"""Checks that run for minutes: started by hand, each with one command, and their results kept in benchmarks/results."""
