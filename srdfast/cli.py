# SPDX-License-Identifier: Apache-2.0
"""The command `srdfast`: demo, train, purify, video, evaluate, bench, info.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 2 a mistake that the user can
mend (told in one line), 130 interrupted. `python -X dev -m srdfast ...` shows the traceback as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import typing
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .answers import answer, complain
from .errors import DataError, UserError
from .stages.config import Config
from .video.options import add_arguments as add_video_arguments

if TYPE_CHECKING:
    from .evaluation.settings import Settings

DEFAULT = " (default: %(default)s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code."""

    def run() -> int:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        return code

    return answer(run)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(complain(f"{message} (see {self.prog} --help)"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="srdfast", description="Remove adversarial perturbations from images.")
    parser.add_argument("--version", action="version", version=f"srdfast {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", _demo, "attack the shipped images, purify them, show the result")
    demo.add_argument("--out", type=Path, default=Path("srdfast-demo"), help="folder (default: %(default)s)")
    demo.add_argument("--images", type=int, default=250, help="images, at most 500 (default: %(default)s)")
    demo.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_device(demo)

    train = _command(commands, "train", _train, "train a purifier stage by stage, or go on with it")
    train.add_argument("--data", type=Path, required=True, help="data set: CIFAR-10, or a folder a class")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument(
        "--pictures",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="photographs, videos, folders of them: the dictionaries learn from crops of these too",
    )
    train.add_argument("--stages", default="all", help="names with commas between (default: all)")
    train.add_argument("--redo", action="store_true", help="replace what other settings or data made")
    _add_device(train)
    _add_settings(train)

    purify = _command(commands, "purify", _purify, "purify image files")
    purify.add_argument("sources", type=Path, nargs="+", metavar="IN", help="image files and folders of them")
    purify.add_argument("--out", type=Path, required=True, help="folder for the results")
    purify.add_argument("--model", default="cifar10", help="file or shipped model (default: %(default)s)")
    purify.add_argument("--keep-format", action="store_true", help="write each file's own format, not PNG")
    purify.add_argument("-y", "--yes", action="store_true", help="overwrite results that exist")
    _add_device(purify)

    video = _command(commands, "video", _video, "purify a video: a file, a pipe or a live stream")
    add_video_arguments(video)

    evaluate = _command(commands, "evaluate", _evaluate, "measure a purifier under attack, beside its rivals")
    evaluate.add_argument("model", help="model file, shipped model, or the folder of a training run")
    evaluate.add_argument("--data", type=Path, required=True, help="data set; its test images are used")
    evaluate.add_argument(
        "--classifier",
        help="network to protect: file of srdfast, .pt2 of torch.export or shipped model "
        "(default: the model's own)",
    )
    evaluate.add_argument(
        "--preset",
        choices=("quick", "standard", "full"),
        default="quick",
        help="the same table on 100, 1,000 or all test images" + DEFAULT,
    )
    evaluate.add_argument("--images", type=int, help="test images (default: the preset's)")
    evaluate.add_argument("--adaptive", type=int, help="of them attacked adaptively (default: the preset's)")
    evaluate.add_argument(
        "--opponents",
        type=Path,
        metavar="FOLDER",
        help="also train and measure a denoiser, a second classifier and fine-tuned ones; kept in FOLDER",
    )
    evaluate.add_argument(
        "--parts",
        help="untouched, second, tuned, known: commas between "
        "(default: untouched; with --opponents all that the classifier bears)",
    )
    evaluate.add_argument("--attacks", help="gray-box columns, with commas between (default: all)")
    evaluate.add_argument("--adaptive-attacks", help="adaptive columns, with commas between (default: all)")
    evaluate.add_argument(
        "--stl", type=int, default=0, metavar="N", help="measure STL on N images; needs sporco" + DEFAULT
    )
    evaluate.add_argument("--size", type=int, help="side to which pictures of a folder are resized")
    for norm, field in (("maximum", "epsilon"), ("L2", "epsilon_l2")):
        evaluate.add_argument(
            f"--{field.replace('_', '-')}",
            type=number,
            metavar="NUMBER",
            help=f"largest change in the {norm} norm, of pixels in [0, 1] (default: the preset's)",
        )
    evaluate.add_argument("--seed", type=int, default=0, help="of the random starts (default: %(default)s)")
    evaluate.add_argument("--out", type=Path, help="folder for reports, pictures and outcomes to go on from")
    evaluate.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_device(evaluate)

    bench = _command(commands, "bench", _bench, "time the kernels on synthetic signals of your sizes")
    bench.add_argument(
        "--op",
        default="all",
        choices=("omp", "lasso", "lista", "purify", "split", "all"),
        help="kernel" + DEFAULT,
    )
    bench.add_argument("--features", type=int, default=64, help="entries of a signal" + DEFAULT)
    bench.add_argument("--atoms", type=int, default=256, help="atoms of the dictionary" + DEFAULT)
    bench.add_argument("--max-atoms", type=int, default=4, help="atoms that OMP may choose" + DEFAULT)
    bench.add_argument("--batch", type=int, default=16384, help="signals (patches) of a call" + DEFAULT)
    bench.add_argument("--threads", type=int, help="threads (default: as srdfast would take)")
    bench.add_argument("--seconds", type=float, default=2.0, help="for each kernel, at most 10" + DEFAULT)
    bench.add_argument("--json", action="store_true", help="as JSON")

    info = _command(commands, "info", _info, "tell versions, what was built, threads and devices")
    info.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _command(commands: Any, name: str, run: Any, purpose: str) -> argparse.ArgumentParser:
    description = f"{purpose[0].upper()}{purpose[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=description)
    parser.set_defaults(run=run)
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One option for each field of the training configuration, with the field's own help."""
    kinds = typing.get_type_hints(Config)
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(Config):
        text = str(field.metadata["help"]).replace("%", "%%")
        if "default" not in text:
            text += f" (default: {field.default:.4g})" if isinstance(field.default, float) else DEFAULT
        named: dict[str, Any] = {"default": field.default, "help": text}
        kind = (*typing.get_args(kinds[field.name]), kinds[field.name])[0]  # `int | None` reads an int
        if kind is bool:
            named["action"] = argparse.BooleanOptionalAction
        else:
            named |= {"type": number if kind is float else kind, "metavar": kind.__name__.upper()}
        group.add_argument(f"--{field.name.replace('_', '-')}", **named)


def number(text: str) -> float:
    """A decimal number or a fraction, as "0.03" and "8/255"."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except ZeroDivisionError:
        raise ValueError(text) from None


def _version() -> str:
    from . import __version__

    return __version__


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo
    from .machine import choose_device

    report = demo(options.out, options.images, choose_device(options.device))
    print(json.dumps(report.as_dict(), indent=2) if options.json else report.table())
    print(f"report and pictures: {options.out}", file=sys.stderr)
    return 0


def _train(options: argparse.Namespace) -> int:
    from .machine import choose_device
    from .stages.run import train

    config = Config(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)})
    device = choose_device(options.device)
    train(
        options.data, options.out, config, options.stages, device,
        redo=options.redo, pictures=options.pictures,
    )  # fmt: skip
    print(options.out)
    return 0


def _purify(options: argparse.Namespace) -> int:
    from .imagefiles import plan, purify_files
    from .machine import choose_device
    from .purifier import Purifier

    device = choose_device(options.device)
    targets = plan(options.sources, options.out, options.keep_format, options.yes)
    purifier = Purifier.from_pretrained(options.model).to(device).eval()
    failures = 0
    for path, problem in purify_files(purifier, targets, device):
        if problem is None:
            print(path, flush=True)
        else:
            failures += 1
            complain(f"{path}: {problem}")
    return 2 if failures else 0


def _video(options: argparse.Namespace) -> int:
    from .video.command import run

    return run(options)


def _evaluate(options: argparse.Namespace) -> int:
    from .data import load
    from .evaluation.presets import PRESETS
    from .machine import choose_device
    from .opponents.recipes import RECIPES
    from .opponents.training import Opponents
    from .study import Subject, study

    images, settings = PRESETS[options.preset]
    images = images if options.images is None else options.images
    for name, given, least in (("images", images, 1), ("stl", options.stl, 0)):
        if given is not None and given < least:
            raise DataError(f"--{name}: expected {least} or more, got {given}")
    adaptive = settings.adaptive_images if options.adaptive is None else options.adaptive
    settings = dataclasses.replace(
        settings,
        attacks=settings.attacks if options.attacks is None else _names(options.attacks),
        adaptive=settings.adaptive if options.adaptive_attacks is None else _names(options.adaptive_attacks),
        adaptive_images=adaptive,
        seed=options.seed,
    )
    settings = _within(settings, options.epsilon, options.epsilon_l2)
    device = choose_device(options.device)
    models = _models(options.model, options.classifier, device)
    test = load(options.data, "test", limit=images, size=options.size)
    train = load(options.data, "train", size=options.size)
    opponents = None
    if options.opponents is not None:
        recipe = dataclasses.replace(RECIPES[options.preset], epsilon=settings.epsilon)
        opponents = Opponents(
            options.opponents, train, models["purifier"], models["classifier"], recipe, device
        )
    subject = Subject(
        **models, test=test, train=train, opponents=opponents, stl_images=options.stl, device=device
    )
    parts = None if options.parts is None else _names(options.parts)
    found = study(subject, settings, options.out, parts=parts)
    print(json.dumps(found.as_dict(), indent=2) if options.json else found.table(), flush=True)
    return 0


def _within(settings: Settings, epsilon: float | None, epsilon_l2: float | None) -> Settings:
    """The settings with other largest changes, where these are given; the steps keep their proportion."""
    if epsilon is not None:
        step = epsilon * settings.step / settings.epsilon
        settings = dataclasses.replace(settings, epsilon=epsilon, step=step)
    return settings if epsilon_l2 is None else dataclasses.replace(settings, epsilon_l2=epsilon_l2)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _models(model: str, classifier: str | None, device: str) -> dict[str, Any]:
    """Of `study.Subject`: the purifier, the classifier, and what else of a run is compared."""
    from .classifiers import load_classifier, saved_classifier
    from .pretrained import file_of
    from .purifier import Purifier
    from .rival_networks import load_denoiser

    files = _files(model)
    found: dict[str, Any] = {"purifier": Purifier.load(files["purifier"]).to(device).eval()}
    own = saved_classifier(files["classifier"].with_suffix(""))
    network = own if classifier is None else file_of(classifier)
    if not network.exists():
        raise FileNotFoundError(f"{network}: no such file; name the network to protect with --classifier")
    found["classifier"] = load_classifier(network, device)
    if files["global"].exists():
        found["one_dictionary"] = Purifier.load(files["global"]).to(device).eval()
    if files["denoiser"].exists():
        found["denoiser"] = load_denoiser(files["denoiser"]).to(device)
    return found


def _files(model: str) -> dict[str, Path]:
    """The files of a purifier and of what belongs to it; the rivals and the classifier need not be there."""
    import torch

    from .pretrained import file_of
    from .stages.run import ORDER, Context

    beside = ("global", "denoiser", "classifier")
    training = Context(Path(), Path(model), Config(), torch.device("cpu"))
    if any(training.path(stage).is_dir() for stage in ORDER):
        if not training.path("refine", "done.json").is_file():
            raise UserError(f"{model}: the run has not come to its end; srdfast train goes on with it")
        return {name: training.path("refine", f"{name}.safetensors") for name in ("purifier", *beside)}
    file = file_of(model)
    return {"purifier": file, **{name: file.with_name(f"{file.stem}-{name}.safetensors") for name in beside}}


def _bench(options: argparse.Namespace) -> int:
    from . import get_num_threads
    from .microbench import Sizes, measure, table

    sizes = Sizes(options.features, options.atoms, options.max_atoms, options.batch)
    threads = get_num_threads() if options.threads is None else options.threads
    report = measure(options.op, sizes, threads, options.seconds)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def _info(options: argparse.Namespace) -> int:
    from .machine import describe, lines

    facts = describe()
    print(json.dumps(facts, indent=2) if options.json else "\n".join(lines(facts)))
    return 0
