"""Real data and real models: score tables, estimators, fits, the decomposition, and the language-model pipeline.

Everything outside ``overopt.bridges.lm`` imports and runs without torch.
"""
