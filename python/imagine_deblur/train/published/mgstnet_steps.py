"""MGSTNet's closed forms: gradients of the data term, and shrinkage (equations 9 to 20).

Images are (B, 3, H, W), kernels (B, K, K), see `imagine_deblur.train.published.mgstnet`.
"""

from __future__ import annotations

import torch
from torch.nn import functional

RGB = 3

#: Fixed-point iterations and perturbation of equation 20.
ITERATIONS, DELTA = 3, 1e-5


# ---- the linear model ---------------------------------------------------------------------------


def mirrored(image: torch.Tensor, kernel_size: int) -> torch.Tensor:
    """An image with half a kernel of mirrored border on each side."""
    half = kernel_size // 2
    return functional.pad(image, (half, half, half, half), mode="reflect")


def _column_windows(padded: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H', W + K - 1) to (B, K, C * H' * W): the image shifted by 0 to K - 1 columns."""
    columns = padded.shape[-1] - size + 1
    shifted = [padded[..., j : j + columns].flatten(1) for j in range(size)]
    return torch.stack(shifted, dim=1)


def correlate(padded: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``out(y, x) = sum_ij kernel(i, j) padded(y + i, x + j)`` band by band.

    Parameters
    ----------
    padded : (B, C, H + K - 1, W + K - 1) float32 tensor
    kernel : (B, K, K) float32 tensor
        One per image.

    Returns
    -------
    (B, C, H, W) float32 tensor

    Notes
    -----
    A product of the kernel's rows with the image's shifted columns, then a sum of shifted rows:
    plain matrix products, which every runtime has, where a convolution with computed weights is
    missing from some.
    """
    batch, bands, tall, wide = padded.shape
    size = kernel.shape[-1]
    rows, columns = tall - size + 1, wide - size + 1
    product = kernel @ _column_windows(padded, size)
    # Taken apart at once: the gradient of each part alone would be as large as all of them.
    lines = product.reshape(batch, size, bands, tall, columns).unbind(1)
    total = lines[0][..., 0:rows, :]
    for i in range(1, size):
        total = total + lines[i][..., i : i + rows, :]
    return total


def convolve(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """``h * u`` with mirrored borders; shapes as `correlate`, the image not padded."""
    return correlate(mirrored(image, kernel.shape[-1]), torch.flip(kernel, (-2, -1)))


def kernel_gradient(
    image: torch.Tensor, kernel: torch.Tensor, captured: torch.Tensor
) -> torch.Tensor:
    """Gradient of ``|u * h - g|^2 / (2 C H W)`` in the kernel (equation 9's last term).

    Parameters
    ----------
    image, captured : (B, C, H, W) float32 tensor
    kernel : (B, K, K) float32 tensor

    Returns
    -------
    (B, K, K) float32 tensor
    """
    size = kernel.shape[-1]
    padded = mirrored(image, size)
    residual = correlate(padded, torch.flip(kernel, (-2, -1))) - captured
    batch, bands, rows, columns = residual.shape
    windows = _column_windows(padded, size).reshape(batch, size, bands, -1, columns)
    wanted = residual.flatten(1)[..., None]
    lines = [(windows[:, :, :, i : i + rows].flatten(2) @ wanted)[..., 0] for i in range(size)]
    gradient = torch.stack(lines, dim=1) / (bands * rows * columns)
    return torch.flip(gradient, (-2, -1))


def image_gradient(
    image: torch.Tensor, kernel: torch.Tensor, captured: torch.Tensor
) -> torch.Tensor:
    """``h(-x, -y) * (h * u - g)`` with mirrored borders (equation 15's last term)."""
    residual = convolve(image, kernel) - captured
    return correlate(mirrored(residual, kernel.shape[-1]), kernel)


def normalised(kernel: torch.Tensor) -> torch.Tensor:
    """Non-negative and of sum 1 (equation 14); flat where nothing is positive."""
    positive = functional.relu(kernel) + 1e-8
    return positive / positive.sum(dim=(-2, -1), keepdim=True)


# ---- thresholds ---------------------------------------------------------------------------------


def soft(y: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Soft threshold, the minimiser of ``(x - y)^2 / 2 + theta |x|`` (equation 13, of |y|)."""
    return torch.sign(y) * functional.relu(y.abs() - theta)


def gst_threshold(theta: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Tau of equation 19: below it ``(x - y)^2 / 2 + theta |x|^p`` is least at 0; 0 < p < 1."""
    base = 2.0 * theta * (1.0 - p)
    return base ** (1.0 / (2.0 - p)) + theta * p * base ** ((p - 1.0) / (2.0 - p))


def generalised_shrinkage(
    y: torch.Tensor, theta: torch.Tensor, p: torch.Tensor, *, iterations: int = ITERATIONS
) -> torch.Tensor:
    """The minimiser of ``(x - y)^2 / 2 + theta |x|^p`` by fixed-point iteration (19, 20).

    Parameters
    ----------
    y : tensor
    theta, p : tensor
        Positive, and between 0 and 1; broadcast against `y`.
    iterations : int
        3 as published, where the result lies above the minimum by a little; it converges with more.
    """
    size = y.abs()
    keep = size > gst_threshold(theta, p)
    # Below the threshold the iteration would turn negative; its gradient there must stay finite.
    size = torch.where(keep, size, 1.0 + size)
    x = size
    for _ in range(iterations):
        x = functional.relu(size - theta * p * (x + DELTA) ** (p - 1.0))
    return torch.where(keep, torch.sign(y) * x, torch.zeros_like(y))
