"""Quality measures; one question per file.

`fidelity` compares with the truth, `psf` compares kernels, `sharpness`, `ringing`, `seams` and
`reblur` look for what restoration can do wrong, `noreference` judges without a truth and `water`
asks whether a use downstream gets the same answer. Nothing is imported until asked for.
"""
