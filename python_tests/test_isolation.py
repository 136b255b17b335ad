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
# Of level 3 though no v says so; but not tzcnt, which objdump also calls the harmless "rep bsf".
BMI = re.compile(r"^(andn|bextr|blsi|blsmsk|blsr|bzhi|lzcnt|movbe|mulx|pdep|pext|rorx|sarx|shlx|shrx)[lqw]?$")
MASKS = re.compile(r"^k(add|and|andn|mov|not|or|ortest|shift[lr]|test|unpck|xnor|xor)[a-z]*$")


def level_of(mnemonic, operands):
    """The least level that has the instruction: 2, 3 or 4."""
    if "%zmm" in operands or re.search(r"%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b", operands):
        return 4
    if MASKS.match(mnemonic):
        return 4
    if (mnemonic.startswith("v") and mnemonic not in NOT_VEX) or "%ymm" in operands or BMI.match(mnemonic):
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


@pytest.mark.parametrize(
    ("level", "instruction"),
    [
        (2, "addps %xmm0,%xmm1"),
        (2, "call 1234 <vaddps@plt>"),
        (2, "mov 0x8(%rdi),%rax"),
        (3, "vaddps %xmm0,%xmm1,%xmm1"),
        (3, "vzeroupper"),
        (3, "shlx %rax,%rbx,%rcx"),
        (4, "vaddps %zmm0,%zmm1,%zmm1"),
        (4, "vmovups (%rax),%ymm17"),
        (4, "vmovups %ymm1,(%rax){%k1}"),
        (4, "kmovw %eax,%k1"),
    ],
)
def test_instructions_are_told_apart(level, instruction):
    mnemonic, _, operands = instruction.partition(" ")
    assert level_of(mnemonic, operands) == level


@pytest.mark.parametrize(
    ("level", "function"),
    [
        (2, "srdfast::parallel_for(long)"),
        (2, "srdfast::v2::omp(float*) [clone .cold]"),
        (2, "_GLOBAL__sub_I_omp_cpu.cpp"),
        (3, "srdfast::v3::(anonymous namespace)::omp(float*) [clone .cold]"),
        (4, "void srdfast::parallel_for<srdfast::v4::omp()::{lambda()#1}>(long)"),
        (3, "_ZZN7srdfast12parallel_forIZNS_2v310GramTablesIdEC4Ev"),
        (4, "_ZZN7srdfast2v44loopEvE4_FUN"),
    ],
)
def test_functions_are_told_apart(level, function):
    assert allowed(function) == level


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
