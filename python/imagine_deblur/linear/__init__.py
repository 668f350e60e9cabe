"""The global linear stage: whole-frame Wiener restoration."""
