# SPDX-License-Identifier: Apache-2.0
"""Stage 8: the table of every defence under every attack, and the page of pictures."""

from typing import Any

from ..classifiers import load_classifier, saved_classifier
from ..data import Dataset, balanced_rows
from ..defences import standard_rows
from ..evaluate import Settings, evaluate, save
from ..purifier import Purifier
from ..rival_networks import load_denoiser
from .run import Config, Context, Stage


def settings(config: Config) -> dict[str, Any]:
    """What the report depends on."""
    return {
        "seed": config.seed,
        "images": config.evaluate_images,
        "adaptive_images": config.adaptive_images,
        "epsilon": config.epsilon,
    }


def run(context: Context) -> None:
    """Measure on the test images; write `report.json`, `report.md` and `pictures.png`, print the table."""
    config, test = context.config, context.test
    chosen = balanced_rows(test.labels, config.evaluate_images)
    dataset = Dataset(test.images[chosen], test.labels[chosen], test.classes, test.name)
    attack = Settings(
        epsilon=config.epsilon,
        step=config.epsilon / 4,
        adaptive_images=config.adaptive_images,
        seed=config.seed,
    )
    classifier = load_classifier(saved_classifier(context.path("refine", "classifier")), context.device)
    purifiers = [
        Purifier.load(context.path("refine", file)).to(context.device).eval()
        for file in ("purifier.safetensors", "global.safetensors")
    ]
    file = context.path("refine", "denoiser.safetensors")
    denoiser = load_denoiser(file).to(context.device) if file.is_file() else None
    rows = standard_rows(purifiers[0], purifiers[1], denoiser=denoiser)
    report = evaluate(
        classifier,
        rows,
        dataset,
        attack,
        device=context.device,
        progress=context.progress,
        out=context.path("evaluate"),
    )
    save(context.path("evaluate"), report, classifier, rows, dataset, attack, context.device)
    print(report.table())


STAGE = Stage("evaluate", needs=("refine",), settings=settings, run=run, splits=("test",))
