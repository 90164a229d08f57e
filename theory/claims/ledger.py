"""All entries of the ledger, in order of their ids."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

from overopt.theory.claims.entry import Claim
from overopt.theory.errors import InputError

__all__ = ["find", "ledger"]

FAMILIES = (
    "best_of_n_claims",
    "causal_claims",
    "efficiency_claims",
    "ensemble_claims",
    "finite_mdp_claims",
    "heavy_tail_claims",
    "kl_claims",
    "law_claims",
    "mechanism_claims",
    "policy_gradient_claims",
    "regressional_claims",
)


def ledger() -> tuple[Claim, ...]:
    """Every claim K01, K02, ... in order; importing the families costs the scientific stack, so it happens here."""
    claims = [
        entry for family in FAMILIES for entry in importlib.import_module(f"overopt.theory.claims.{family}").CLAIMS
    ]
    return tuple(sorted(claims, key=lambda entry: entry.id))


def find(ids: tuple[str, ...]) -> tuple[Claim, ...]:
    """The claims with these ids, in the given order; all of them for an empty tuple.

    Raises
    ------
    InputError
        For an id that the ledger does not have, with the closest ones.
    """
    known = {entry.id: entry for entry in ledger()}
    for wanted in ids:
        if wanted.upper() not in known:
            close = get_close_matches(wanted.upper(), known, n=1, cutoff=0.5)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise InputError(f"no claim '{wanted}' in the ledger; the ids run from {min(known)} to {max(known)}.{hint}")
    return tuple(known[wanted.upper()] for wanted in ids) if ids else tuple(known.values())
