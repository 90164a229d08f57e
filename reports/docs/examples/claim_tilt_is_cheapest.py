"""A true claim: no quantilizer buys more proxy than the exponential tilt that spends as much KL."""

from hypothesis import assume
from scipy.optimize import brentq

from overopt.theory import claim
from overopt.toys.strategies import tables_with_n


@claim("at equal KL the exponential tilt has at least the quantilizer's proxy", tables_with_n(), tolerance=1e-6)
def tilt_is_cheapest(world):
    table, n = world
    rival = table.quantilizer(1 / n)
    assume(1e-3 < rival.kl < table.exponential_tilt(50.0).kl)
    strength = brentq(lambda s: table.exponential_tilt(s).kl - rival.kl, 0.0, 50.0)
    return table.exponential_tilt(strength).proxy - rival.proxy
