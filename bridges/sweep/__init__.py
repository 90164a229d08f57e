"""A grid of runs, worked off together: equal stages once, on this machine or on a cluster, resumed after any stop."""
