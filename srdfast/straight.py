# SPDX-License-Identifier: Apache-2.0
"""Classifiers without shortcuts: convolutions one after another."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .networks import Normalised


class StraightNet(Normalised):
    """Two convolutions a stage, with batch normalisation and ReLU, halved by strides, averaged at the end.

    After the all-convolutional network (Springenberg et al. 2015, arXiv 1412.6806); `separable`, each
    convolution is one a channel and one across channels (MobileNets, Howard et al. 2017, arXiv 1704.04861).

    Args:
        width: features of the first stage; each of the three later ones has twice as many.
        classes: number of classes.
        kernel: side of the convolutions in pixels, odd.
        separable: whether they are in two parts.
        stem: stride of the first convolution, 4 for large images.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
    """

    def __init__(
        self,
        width: int = 32,
        classes: int = 10,
        kernel: int = 3,
        separable: bool = False,
        stem: int = 1,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__(mean, std)
        layers: list[nn.Module] = _convolution(len(mean), width, max(kernel, 2 * stem - 1), stem)
        before = width
        for stage in range(4):
            for number in range(2):
                stride, after = 2 if stage and number == 0 else 1, width << stage
                if separable:
                    layers += _convolution(before, before, kernel, stride, groups=before)
                    layers += _convolution(before, after, 1)
                else:
                    layers += _convolution(before, after, kernel, stride)
                before = after
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width] in [0, 1]."""
        return self.head(self.layers(self.normalise(images)).mean((2, 3)))


def _convolution(before: int, after: int, kernel: int, stride: int = 1, **options: Any) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False, **options)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out" if convolution.groups == 1 else "fan_in")
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
