# SPDX-License-Identifier: Apache-2.0
"""The shipped encoder's latents beside torch, whose normalisations are folded into its convolutions too."""

import pytest
import torch

from srdfast import _core, pretrained
from srdfast.folded import FoldedNetwork
from srdfast.microbench import FLOAT, Work
from srdfast.purifier import Purifier
from srdfast.rival_networks import multiply_adds

TORCH_TOGETHER = 128  # images that torch sees at once: its activations then stay in the cache


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("batch", [256, 1])
def bench_encode(timed, crops, sized, batch, library):
    if not (pretrained.FOLDER / "cifar10.safetensors").is_file():
        pytest.skip("no pretrained model in this checkout")
    encoder = Purifier.from_pretrained("cifar10").encoder
    images = torch.from_numpy(crops(sized(batch, min(batch, 8)), 3, 32, 32))
    folded = FoldedNetwork.of(encoder)
    packed, latents = folded.packed(), torch.empty(len(images), encoder.latent)
    pieces = images.contiguous(memory_format=torch.channels_last).split(TORCH_TOGETHER)
    calls = {
        "srdfast": lambda: _core.encode(images, packed, latents),
        "torch": lambda: [folded.latents(some) for some in pieces],
    }
    calls["srdfast"]()
    torch.testing.assert_close(torch.cat(calls["torch"]()), latents, rtol=1e-3, atol=1e-4)
    # As it is written down: tiles of outputs need fewer.
    work = Work(2 * multiply_adds(encoder, images.shape[1:]), FLOAT * images[0].numel())
    timed(
        calls[library], "encode", f"ResNet-18, width 16, batch of {len(images)}", library, len(images),
        "images", work=work, rounds=100 if batch == 1 else 7,
    )  # fmt: skip
