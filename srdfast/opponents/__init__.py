# SPDX-License-Identifier: Apache-2.0
"""Opponents that must be trained, so that the comparison is fair: with srdfast's data, loss and cost.

The networks themselves are in `rival_networks.py`.

| file | what |
|---|---|
| `recipes.py` | how much they are trained |
| `training.py` | trains them, and the fine-tuned classifiers of setting B; resumable |
| `strengths.py` | chooses the strengths of JPEG, median and total variation on validation images |
| `stl.py` | the convolutional sparse coding of STL, by SPORCO |
"""
