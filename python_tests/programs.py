# SPDX-License-Identifier: Apache-2.0
"""Classifiers as exported programs, as users of other libraries bring them."""

import torch

BATCH = ({0: torch.export.Dim("batch")},)


def export(module, path, images=(2, 3, 32, 32), shapes=BATCH):
    """Write `module` as a program for any number of such images; returns the file."""
    program = torch.export.export(module.eval(), (torch.rand(images),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path
