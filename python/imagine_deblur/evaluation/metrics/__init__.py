"""Quality measures; one question per file.

`fidelity` compares with the truth and `psf` compares kernels. `ringing`, `seams` and `reblur` look
for what restoration can do wrong. `brisque` and `niqe_eo` judge without a truth. Nothing is
imported until asked for.
"""
