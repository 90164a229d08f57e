"""Toy worlds: one file each, the simulator beside its exact answer."""
