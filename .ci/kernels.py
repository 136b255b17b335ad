# SPDX-License-Identifier: Apache-2.0
"""Tells what each CUDA kernel takes of a multiprocessor, from what the compiler printed.

Reads the output of a build with `-Xptxas=-v` on stdin and prints registers, stack and spilled bytes of
every kernel. Exits with 1 where there is no kernel, or one spills more than `MOST_SPILLED` bytes.
"""

import re
import subprocess
import sys

MOST_SPILLED = 96
NAMESPACES = re.compile(r"srdfast::(cuda::|portable::)?")


def kernels(text: str) -> list[tuple[str, str, int, int, int]]:
    """(name, architecture, registers, bytes of stack, bytes spilled) of each kernel."""
    starts = list(re.finditer(r"Compiling entry function '(\S+)' for '(\w+)'", text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    names = subprocess.run(
        ["c++filt"], input="\n".join(start[1] for start in starts), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = []
    for name, start, end in zip(names, starts, ends, strict=True):
        facts = text[start.end() : end]
        registers = int(re.search(r"Used (\d+) registers", facts)[1])
        stack, stores, loads = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", facts
        ).groups()
        body = re.search(r"run_body<(.*)>\(", NAMESPACES.sub("", name))
        found.append((body[1] if body else name, start[2], registers, int(stack), int(stores) + int(loads)))
    return found


def main() -> int:
    """Prints the table; the exit code says whether every kernel is fit."""
    found = sorted(set(kernels(sys.stdin.read())))
    print(f"{'registers':>9} {'stack':>6} {'spilled':>8}  architecture, kernel")
    for name, architecture, registers, stack, spilled in found:
        print(f"{registers:9} {stack:6} {spilled:8}  {architecture} {name}")
    too_many = [name for name, _, _, _, spilled in found if spilled > MOST_SPILLED]
    for name in too_many:
        print(f"spills more than {MOST_SPILLED} bytes: {name}", file=sys.stderr)
    if not found:
        print("no kernel was compiled", file=sys.stderr)
    return int(bool(too_many) or not found)


if __name__ == "__main__":
    sys.exit(main())
