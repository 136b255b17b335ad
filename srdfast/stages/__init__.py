# SPDX-License-Identifier: Apache-2.0
"""The training stages, one file each, and the runner that makes them resumable.

The stage `refine` has its parts in files of their own: `sources` (further classifiers), `pairs` (attacked
images), `encoder` (which learns to choose under those attacks), `learned` (the dictionaries) and `task`
(their loss).
"""
