# SPDX-License-Identifier: Apache-2.0
"""How a command ends: its exit code, and one line on stderr for what the user can mend."""

import os
import sys
from collections.abc import Callable

from .errors import UserError

MISTAKES = (UserError, ValueError, TypeError, OSError)
OF_TRAIN = ("torch", "sklearn", "faiss", "tqdm", "PIL", "matplotlib", "scipy", "skimage")
EXTRAS = {
    **dict.fromkeys(OF_TRAIN, "train"),
    "av": "video",
    "sporco": "bench",
}  # by the package that is missing


def answer(run: Callable[[], int]) -> int:
    """Runs a command and returns its exit code: 2 for a mistake that the user can mend, 130 for Ctrl-C.

    With `python -X dev` the error itself is raised.
    """
    try:
        code = run()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("srdfast: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to do or to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS or sys.flags.dev_mode:
            raise
        return complain(f'this needs {package}: pip install "srdfast[{EXTRAS[package]}]"')
    except MISTAKES as error:
        if sys.flags.dev_mode:
            raise
        return complain(str(error))


def complain(message: str) -> int:
    """Tells a mistake in one line and returns the exit code for it."""
    print(f"srdfast: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
