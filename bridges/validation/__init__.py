"""Simulation studies of the estimators: coverage, size, power and controls in worlds whose truth is known."""
