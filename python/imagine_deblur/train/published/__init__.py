"""The published systems, rebuilt from their papers: MIMO-UNet, MGSTNet, the autoencoder.

``python -m imagine_deblur.train.published run CONFIG DATA OUT`` trains one, ``export CHECKPOINT
PATH`` writes it as ONNX for ``process(path, model=...)``. Importing this package imports no torch;
its modules do. The package holds no weights of these systems.
"""

from __future__ import annotations
