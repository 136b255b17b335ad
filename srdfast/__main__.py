# SPDX-License-Identifier: Apache-2.0
"""`python -m srdfast` is the command `srdfast`."""

import sys

from .cli import main

sys.exit(main())
