"""Cheap optimization of worlds with known ground truth, every optimizer on one exact KL axis.

Numpy only at import time; torch is optional and imported where it is asked for.
"""
