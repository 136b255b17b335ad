# SPDX-License-Identifier: Apache-2.0
"""Opponents that must be trained, so that the comparison is fair: with srdfast's data, loss and cost.

| file | what |
|---|---|
| `networks.py` | a convolutional denoiser of srdfast's cost; a second classifier of another architecture |
| `recipes.py` | how much they are trained |
| `training.py` | trains them, and the fine-tuned classifiers of setting B; resumable |
| `strengths.py` | chooses the strengths of JPEG, median and total variation on validation images |
| `stl.py` | the convolutional sparse coding of STL, by SPORCO |
"""
