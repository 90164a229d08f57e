"""The language-model pipeline. The only package of overopt that imports torch, transformers and trl."""
