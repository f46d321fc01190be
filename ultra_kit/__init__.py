"""The ULTra workbench: what the latent tokens of a Transformer mean.

Five verbs, the same for images and text: `load` a model, `capture` one forward pass, `explain` its
latent tokens, `segment` the maps, and look. Letters used in shapes: N token positions (P of them
prefix tokens), T explained tokens, D width, H heads or image height, L blocks.
"""
