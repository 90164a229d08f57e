"""Mathematics of reward-model overoptimization: exact laws, curves, identities and the ledger of claims.

No global randomness, no files, no torch.
"""

from overopt.theory.claims.entry import claim

__all__ = ["claim"]
