"""The parametric reading of a gold and a proxy curve (Gao, Schulman and Hilton 2022, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from overopt.bridges.fits import Fit

__all__ = ["PaperSplit", "paper_split"]

CAVEAT = (
    "This reading needs proxy and gold in the same units, and a bend (beta > 0) is no proof of extremal Goodhart: "
    "heavy-tailed noise that is independent of gold bends the curve too. Only the samples can tell (overopt diagnose)."
)


@dataclass(frozen=True)
class PaperSplit:
    """Coefficients per sqrt(nat).

    Attributes
    ----------
    regressional
        Slope of the proxy's gain in d (least squares through the base policy) less the gold law's alpha.
    extremal
        The gold law's beta.
    caveat
        What the reading assumes.
    """

    regressional: float
    extremal: float
    caveat: str = CAVEAT


def paper_split(
    fit: Fit | None, proxy_fit: Fit | None, *, gold_unit: float = 1.0, proxy_unit: float = 1.0
) -> PaperSplit | None:
    """The split of two fits to one curve; None for a law without beta. Units turn own units into a common scale."""
    if fit is None or proxy_fit is None or fit.beta is None:
        return None
    slope = next(rival.parameters["alpha"] for rival in proxy_fit.laws if rival.law == "linear")
    return PaperSplit(slope / proxy_unit - fit.alpha / gold_unit, fit.beta / gold_unit)
