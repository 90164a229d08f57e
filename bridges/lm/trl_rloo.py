"""Where `train_with_rloo` was; it lives in `trl_online.py`."""

from overopt.bridges.lm.trl_online import train_with_rloo

__all__ = ["train_with_rloo"]
