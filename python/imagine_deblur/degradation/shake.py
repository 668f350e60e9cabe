"""Camera shake: kernels drawn as random walks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError


def random_walk_kernel(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A camera-shake kernel: the trace of a random walk with inertia.

    Parameters
    ----------
    size : int
        K, odd, at least 5, in px.
    rng : numpy.random.Generator
        Source of the walk; the same state gives the same kernel.

    Returns
    -------
    (K, K) float64 ndarray
        Centred on ``(K // 2, K // 2)`` by its centroid to within half a pixel, non-negative, sum 1.

    Notes
    -----
    Velocity follows an autoregressive process, ``v <- 0.98 v + 0.2 g`` with g standard normal in
    each axis, over 256 equal time steps: motion with inertia, pushed about at random (the idea of
    Boracchi & Foi, "Modeling the performance of image restoration from motion blur", 2012). The
    trace is scaled so that its larger side spans a share, uniform between a third and one, of
    ``K - 3`` px, and every step leaves the same weight, shared bilinearly between four pixels.
    """
    if size < 5 or size % 2 == 0:
        raise PsfError(f"kernel size {size} must be odd and at least 5")
    steps = rng.standard_normal((256, 2))
    velocity = np.zeros(2)
    trace = np.empty((256, 2))
    position = np.zeros(2)
    for i, step in enumerate(steps):
        velocity = 0.98 * velocity + 0.2 * step
        position = position + velocity
        trace[i] = position
    span = float((trace.max(axis=0) - trace.min(axis=0)).max())
    trace *= rng.uniform(1.0 / 3.0, 1.0) * (size - 3) / span
    # Centre the bounding box so that the trace fits, then move towards the centroid.
    trace -= 0.5 * (trace.max(axis=0) + trace.min(axis=0))
    room = 0.5 * (size - 3) - np.abs(trace).max(axis=0)
    trace -= np.clip(trace.mean(axis=0), -room, room)
    return _deposit(trace + size // 2, size)


def _deposit(points: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Equal weights at fractional positions, shared bilinearly between the four nearest pixels."""
    kernel = np.zeros((size, size))
    corner = np.floor(points).astype(int)
    part = points - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(kernel, (corner[:, 0] + dy, corner[:, 1] + dx), weight)
    return np.asarray(kernel / kernel.sum())
