"""Altair charts, one per file. Each takes plain rows and returns a chart; none computes a statistic."""
