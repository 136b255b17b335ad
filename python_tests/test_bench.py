# SPDX-License-Identifier: Apache-2.0
"""The command `srdfast bench`: what it prints, counts and refuses; and the report of `make bench`."""

import importlib.util
import json
from pathlib import Path

import pytest

import srdfast
from srdfast import cli, microbench

SMALL = ("--atoms", "32", "--batch", "128", "--seconds", "0.01", "--threads", "1")


def run(*arguments):
    """The exit code of `srdfast bench ...`."""
    try:
        return cli.main(["bench", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize("features", ["64", "192"])
def test_all_kernels_are_timed(capsys, features):
    assert run(*SMALL, "--features", features, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["kernel"] for row in report["kernels"]] == list(microbench.OPS)
    assert report["peak_gflops"] > 0 and report["bandwidth_gb"] > 0
    for row in report["kernels"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["rate"] > 0 and 0 < row["share_of_peak"] < 1.5


def test_the_table_has_a_line_for_the_kernel(capsys):
    assert run(*SMALL, "--op", "omp") == 0
    out = capsys.readouterr().out
    assert "p99" in out and "signals" in out and out.splitlines()[-1].startswith("omp ")


def test_the_threads_are_restored():
    before = srdfast.get_num_threads()
    assert run(*SMALL, "--op", "split") == 0
    assert srdfast.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--op", "dance"], "invalid choice"),
        (["--atoms", "0"], "--atoms: expected 1"),
        (["--features", "-3"], "--features: expected 1"),
        (["--batch", "x"], "--batch"),
        (["--batch", "16000000"], "--batch"),
        (["--max-atoms", "0"], "--max-atoms"),
        (["--threads", "0"], "--threads"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--seconds", "3600"], "--seconds"),
        (["--op", "purify", "--features", "65"], "--features: for images expected a square"),
    ],
)
def test_bad_sizes_are_told_in_one_line(capsys, arguments, fragment):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("srdfast: error: ") and fragment in captured.err


def test_it_needs_no_torch(python):
    program = (
        "import sys; sys.modules['torch'] = None; from srdfast.cli import main\n"
        f"sys.exit(main(['bench', '--op', 'lista', *{SMALL!r}]))"
    )
    assert "lista" in python(program).stdout


def test_operations_are_those_of_the_textbook():
    assert microbench.lista_work(192, 256, steps=3).flops == 5 * 2 * 192 * 256
    assert microbench.lista_gradient_work(192, 256, 3, rebuilt=True).flops == 11 * 2 * 192 * 256
    assert microbench.support_gradient_work(192, 3, rebuilt=True).flops == 9 + 18 + 4 * 3 * 192
    assert microbench.omp_work(64, 256, 1).flops == 2 * 64 * 256
    two = microbench.omp_work(64, 256, 2, "residual")
    assert two.flops == 2 * 64 * 256 + 2 * 256 + 2 * 256
    image = microbench.purify_work((3, 32, 32), 256, srdfast.LISTA(1), stride=4)
    assert image.flops == 49 * 2 * (2 * 192 * 256) and image.bytes == 2 * 4 * 3 * 32 * 32


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    assert microbench.Work(10, 1).floor(peak=5, bandwidth=1) == 2
    assert (microbench.Work(1, 3) * 2).floor(peak=5, bandwidth=1) == 6


@pytest.fixture
def report(monkeypatch):
    """The module bench/table.py and the report that it makes of two rows."""
    path = Path(__file__).resolve().parent.parent / "bench" / "table.py"
    spec = importlib.util.spec_from_file_location("bench_table", path)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    machine = table.describe(srdfast.get_num_threads()) | {"peak_flops": 1e9, "bandwidth": 1e9}
    monkeypatch.setattr(table, "describe", lambda threads: machine)
    info = {"name": "small", "unit": "signals", "p99": 0.3, "flops": None, "bytes": None, "notes": ""}
    ours = info | {"library": "srdfast", "count": 1000, "flops": 1e8, "bytes": 2e7}
    theirs = info | {"library": "rival", "count": 100}
    rows = [
        {"group": "omp", "extra_info": info, "stats": {"median": 0.2, "iqr": 0.01, "rounds": 7}}
        for info in (theirs, ours)
    ]
    return table, table.compact({"benchmarks": rows}, 1)


def test_the_report_has_ratios_and_floors(report):
    _, found = report
    rival, ours = json.loads(json.dumps(found))["cases"]
    assert ours["rate"] == 5000 and ours["ratio"] is None and ours["share_of_floor"] == 0.5
    assert rival["ratio"] == 10 and rival["share_of_floor"] is None  # per item: it had a tenth of them


def test_the_report_prints_as_text_and_markdown(report):
    table, found = report
    lines = table.text(found).splitlines()
    assert lines[-2].split()[:2] == ["small", "srdfast"] and "10.00" in lines[-1]
    assert "| small | rival |" in table.markdown(found)
