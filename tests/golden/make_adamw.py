"""Writes adamw.json: a few steps of torch.optim.AdamW in f64, with all of its state.

    python make_adamw.py [FILE]        # default: adamw.json beside this script

The two groups have different learning rates and weight decays. The learning rate warms up and decays. The gradients
contain an exact 0, a sign change and magnitudes from 1e-9 (where epsilon matters) to 1e3.
"""

import json
import sys
from pathlib import Path

import torch

BETAS, EPSILON = (0.9, 0.999), 1e-8
FACTORS = (0.25, 0.5, 0.75, 1.0, 2 / 3, 1 / 3, 0.0)  # of the peak learning rate; the last step must change nothing
GROUPS = (
    {"name": "decayed", "lr": 2e-2, "weight_decay": 0.1, "size": 7},
    {"name": "plain", "lr": 5e-3, "weight_decay": 0.0, "size": 3},
)
SCALES = torch.tensor([1.0, 1e3, 1e-9, 1e-4, 1.0, 0.0, 10.0], dtype=torch.float64)


def main():
    generator = torch.Generator().manual_seed(7)

    def draw(size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    leaves = [draw(group["size"]).requires_grad_() for group in GROUPS]
    report = {
        "betas": BETAS,
        "epsilon": EPSILON,
        "groups": [{**group, "initial": leaf.tolist()} for group, leaf in zip(GROUPS, leaves)],
        "steps": [],
    }
    optimiser = torch.optim.AdamW(
        [{"params": [leaf], "lr": group["lr"], "weight_decay": group["weight_decay"]} for group, leaf in zip(GROUPS, leaves)],
        betas=BETAS, eps=EPSILON,
    )
    for factor in FACTORS:
        for group, settings, leaf in zip(optimiser.param_groups, GROUPS, leaves):
            group["lr"] = settings["lr"] * factor
            leaf.grad = draw(settings["size"]) * SCALES[: settings["size"]]
        optimiser.step()
        state = [
            {
                "gradient": leaf.grad.tolist(),
                "parameter": leaf.detach().tolist(),
                "first_moment": optimiser.state[leaf]["exp_avg"].tolist(),
                "second_moment": optimiser.state[leaf]["exp_avg_sq"].tolist(),
            }
            for leaf in leaves
        ]
        report["steps"].append({"factor": factor, "groups": state})

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("adamw.json")
    target.write_text(json.dumps(report, indent=1) + "\n")
    print(target.name, [round(value, 6) for value in leaves[0].tolist()])


if __name__ == "__main__":
    main()
