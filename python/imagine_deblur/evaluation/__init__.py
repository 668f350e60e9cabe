"""How good a restoration is: protocols, the run over them, and the metrics.

Nothing that flies imports this package.
"""
