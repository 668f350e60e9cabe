"""The global linear stage: Wiener planes of a whole frame, and the check that blurs them again.

What is known of the capture comes from `capture`; the tiles of the network are the core's.
"""
