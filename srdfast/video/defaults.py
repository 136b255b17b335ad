# SPDX-License-Identifier: Apache-2.0
"""Settings that the purifier of frames and the command have in common."""

HYSTERESIS = 10.0  # nats by which another cluster must be likelier than the present one
CHOOSE_EVERY = 8  # frames after which the encoder looks again where something happens
