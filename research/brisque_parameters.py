r"""Make the package's `brisque.npz` from the published parameters, once.

    pip download --no-deps brisque==0.2.0 && unzip -q brisque-0.2.0-*.whl -d FOLDER
    python research/brisque_parameters.py FOLDER/brisque/models \
        python/imagine_deblur/evaluation/metrics/brisque.npz

The regression was learnt from people's opinions by the authors of BRISQUE (Mittal, Moorthy & Bovik
2012). The wheel ``brisque`` 0.2.0 (Apache-2.0) carries it as a text file of libsvm and a pickled
table of feature ranges. The unpickler here reads numbers and refuses everything else.
"""

from __future__ import annotations

import argparse
import io
import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = "brisque 0.2.0 (Apache-2.0): models/svm.txt, models/normalize.pickle"
FEATURES = 36


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries and numbers; refuses what would import or run code."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a table of numbers")


def read_parameters(models: Path) -> dict[str, NDArray[np.floating]]:
    """The arrays of the npz: see `imagine_deblur.evaluation.metrics.brisque.Regression`."""
    ranges = PlainUnpickler(io.BytesIO((models / "normalize.pickle").read_bytes())).load()
    header, _, body = (models / "svm.txt").read_text().partition("\nSV\n")
    values = dict(line.split(None, 1) for line in header.splitlines())
    rows = [line.split() for line in body.splitlines()]
    vectors = np.zeros((len(rows), FEATURES))
    for i, row in enumerate(rows):
        for entry in row[1:]:
            position, _, value = entry.partition(":")
            vectors[i, int(position) - 1] = float(value)
    return {
        "low": np.asarray(ranges["min_"], dtype=np.float64),
        "high": np.asarray(ranges["max_"], dtype=np.float64),
        "gamma": np.float64(values["gamma"]),
        "rho": np.float64(values["rho"]),
        "coefficients": np.array([float(row[0]) for row in rows]),
        "vectors": vectors.astype(np.float32),  # printed with six digits
    }


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, help="the folder `models` of the unpacked wheel")
    parser.add_argument("output", type=Path)
    parsed = parser.parse_args()
    np.savez_compressed(parsed.output, source=SOURCE, **read_parameters(parsed.models))


if __name__ == "__main__":
    main()
