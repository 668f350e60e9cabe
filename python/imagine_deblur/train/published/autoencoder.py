"""The convolutional autoencoder of Kashmar et al. (their table 1): 128x128x3 through a code of 256.

Three 3x3 convolutions of stride 2 (64, 128, 256 channels), a dense layer to 256 numbers, a dense
layer back to 16x16x256, three transposed convolutions of stride 2 (256, 128, 64) and one of stride
1 to RGB. ReLU throughout, a linear code, a sigmoid at the end; "same" padding as the table's shapes
need it: one row and column at the bottom and right where a stride of 2 halves an even size.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

RGB = 3

#: The only tile side the dense layers accept, px.
SIDE = 128


class Autoencoder(nn.Module):
    """The network; 34,951,683 parameters at its published size.

    Parameters
    ----------
    width : int
        Channels of the first layer; twice and four times as many in the next ones.
    code : int
        Size of the bottleneck.
    side : int
        Tile side, a multiple of 8, px.
    """

    def __init__(self, width: int = 64, code: int = 256, side: int = SIDE) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.side = side
        self.bottom = (widths[-1], side // 8, side // 8)
        flat = widths[-1] * (side // 8) ** 2
        inputs = (RGB, *widths[:-1])
        self.encoder = nn.ModuleList(
            nn.Conv2d(i, o, 3, 2) for i, o in zip(inputs, widths, strict=True)
        )
        self.to_code = nn.Linear(flat, code)
        self.from_code = nn.Linear(code, flat)
        backward = (widths[2], widths[2], widths[1], widths[0])
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 3, 2) for i, o in itertools.pairwise(backward)
        )
        self.tail = nn.ConvTranspose2d(widths[0], RGB, 3, 1, 1)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, side, side) to (B, code)."""
        x = image
        for layer in self.encoder:
            x = functional.relu(layer(functional.pad(x, (0, 1, 0, 1))))
        code: torch.Tensor = self.to_code(x.flatten(1))
        return code

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """(B, code) to (B, 3, side, side) in (0, 1)."""
        x = self.from_code(code).reshape(-1, *self.bottom)
        for layer in self.decoder:
            x = functional.relu(layer(x)[..., :-1, :-1])
        return torch.sigmoid(self.tail(x))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, side, side) in [0, 1] to the same shape."""
        return self.decode(self.encode(image))
