# SPDX-License-Identifier: Apache-2.0
"""How a defence is measured: what attackers know, what they do, and what is kept of it.

| file | what |
|---|---|
| `gray_box.py` | columns of attackers who know a network and not the defence; corruptions |
| `adaptive.py` | columns of attackers who know the whole defence |
| `checks.py` | signs that an attack was weaker than it looks |
| `settings.py`, `presets.py` | budgets, steps and samples |
| `columns.py` | every column in its order, as the tables show it |
| `measuring.py`, `batches.py`, `outcomes.py` | the run, resumable outcome by outcome |
"""
