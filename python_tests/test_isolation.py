# SPDX-License-Identifier: Apache-2.0
"""Instructions above the baseline stand only in functions that are chosen at run time.

An instruction of AVX or AVX-512 anywhere else (a template that two levels share, a static initialiser) would
kill the process on a CPU without it, and no test on a CPU with it would tell.
"""

import collections
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import srdfast

pytestmark = [
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels are those of x86"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump"),
]

HEADER = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+(\S+)(.*)$")
# Every mnemonic in v is of VEX or EVEX but these, which are of the baseline or of the system.
NOT_VEX = {"verr", "verw", "vmcall", "vmlaunch", "vmresume", "vmxoff"}
MASKS = re.compile(r"^k(add|and|andn|mov|not|or|ortest|shift[lr]|test|unpck|xnor|xor)[a-z]*$")


def level_of(mnemonic, operands):
    """The least level that has the instruction: 2, 3 or 4."""
    if "%zmm" in operands or re.search(r"%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b", operands):
        return 4
    if MASKS.match(mnemonic):
        return 4
    if (mnemonic.startswith("v") and mnemonic not in NOT_VEX) or "%ymm" in operands:
        return 3
    return 2


def allowed(function):
    """The level whose namespace is in the name, as its own or as that of a template argument.

    Clones and cold parts keep the name. GCC gives the entry of a lambda (_FUN) a name that objdump cannot
    demangle; in it the namespace reads N7srdfast2v3, or NS_2v3 where srdfast was named before.
    """
    for level in (4, 3):
        if f"srdfast::v{level}::" in function or re.search(rf"^_Z.*N(7srdfast|S_)2v{level}", function):
            return level
    return 2


@pytest.fixture(scope="module")
def functions():
    """The highest level of the instructions of each function, with one of them."""
    (extension,) = Path(srdfast.__file__).parent.glob("_core*.so")
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", "-j", ".text", extension]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, function = {}, None
    for line in listing.splitlines():
        if header := HEADER.match(line):
            function = header[1]
            found.setdefault(function, (2, ""))
        elif function is not None and (instruction := INSTRUCTION.match(line)):
            level = level_of(*instruction.groups())
            if level > found[function][0]:
                found[function] = level, line.strip()
    return found


def test_the_functions_have_names(functions):
    for level in ("v2", "v3", "v4"):
        named = [name for name in functions if f"srdfast::{level}::" in name]
        assert len(named) > 10, f"no functions of {level}: was the extension stripped (install.strip)?"


def test_each_level_uses_its_instructions(functions):
    """The check itself sees what it looks for."""
    highest = collections.Counter((allowed(name), level) for name, (level, _) in functions.items())
    assert highest[3, 3] > 10 and highest[4, 4] > 10


def test_no_instruction_outside_its_level(functions):
    stray = {name: instruction for name, (level, instruction) in functions.items() if level > allowed(name)}
    listed = "\n".join(f"{name}: {instruction}" for name, instruction in sorted(stray.items())[:20])
    assert not stray, f"{len(stray)} functions:\n{listed}"


def test_static_initialisers_are_plain(functions):
    """They register the kernels of every level, on every CPU."""
    initialisers = {name: found for name, found in functions.items() if "_GLOBAL__sub_I" in name}
    assert initialisers, "no static initialiser was found"
    assert {name: line for name, (level, line) in initialisers.items() if level > 2} == {}
