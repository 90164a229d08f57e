"""A true claim: independent noise slows gold down, but never takes it below the base policy."""

from overopt.theory import claim
from overopt.toys.strategies import independent_noise_with_n


@claim("independent noise never takes best-of-n gold below the base policy", independent_noise_with_n())
def noise_is_harmless(world):
    noisy, n = world
    return noisy.best_of_n(n).gold - noisy.base().gold
