# SPDX-License-Identifier: Apache-2.0
"""Purification of video: the planes of one frame after another, as decoders and encoders speak them."""
