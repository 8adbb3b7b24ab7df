"""One of the processes of `test_ranks.py`, as torchrun starts it: `ranks_child.py FOLDER`; writes what it came to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ranks_case import CONFIG, CONFIGS, gradient_of, train_case

from mmpipe.train.ranks import join_ranks

torch.set_num_threads(1)
folder = Path(sys.argv[1])
with join_ranks() as ranks:
    mine = folder / f"rank-{ranks.rank}"
    mine.mkdir(parents=True)
    found = {}
    for name, changes in CONFIGS.items():
        loss, norm, gradients = gradient_of(changes, ranks)
        np.savez(mine / f"{name}.npz", **gradients)
        found[name] = [loss, norm]
    trained = train_case(CONFIG, ranks, checkpoint_dir=folder / "checkpoint")
    np.savez(mine / "weights.npz", **{name: value.numpy() for name, value in trained.model.state_dict().items()})
    found["losses"] = [[record.train_loss, record.val_loss] for record in trained.history]
    found["told"] = ranks.told(ranks.rank == 0)
    (mine / "found.json").write_text(json.dumps(found))
