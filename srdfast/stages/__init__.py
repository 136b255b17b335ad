# SPDX-License-Identifier: Apache-2.0
"""The training stages, one file each, and the runner that makes them resumable."""
