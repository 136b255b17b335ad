# SPDX-License-Identifier: Apache-2.0
"""The errors a user can mend; the command line answers each with one line and exit code 2."""


class UserError(Exception):
    """Base of the errors below: something about the input, the files or the machine is not as asked."""


class DeviceError(UserError, RuntimeError):
    """The device asked for is absent, or an array lives where the operator cannot work."""


class ModelFormatError(UserError, ValueError):
    """A model file is damaged, truncated, or not an srdfast file."""


class DataError(UserError, ValueError):
    """A data set or an image file cannot be read as what it was taken for."""
