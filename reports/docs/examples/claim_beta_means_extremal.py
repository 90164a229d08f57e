"""A false claim, often read into the paper: where the error is independent of gold, the fitted beta is not positive."""

from overopt.theory import claim
from overopt.toys.strategies import noisy_gold


@claim("a fitted beta > 0 means that the error depends on gold", noisy_gold(), tolerance=0.02)
def beta_means_extremal(world):
    _, beta = world.fitted()
    return -beta
