"""Optimizers that run on the toy worlds: selection by proxy, and policy gradients."""
