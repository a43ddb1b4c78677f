"""What folding leaves of the implicit knowledge of every published model, and how exact it is.

``python -m benchmarks.folding`` folds each model with drawn weights, in float64, and compares it
with itself before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.process import write_result
from yolor_deploy import families
from yolor_deploy.families.catalogue import CATALOGUE
from yolor_deploy.proof import fold_with_proof


def main() -> None:
    """Fold every published model and write the result."""
    results: dict[str, Any] = {}
    for model in CATALOGUE:
        results[model.name] = measure(model.name)
        print(model.name, results[model.name])
    write_result("folding", "python -m benchmarks.folding", results)


def measure(name: str) -> dict[str, Any]:
    """Return the sites of one model by kind, those that stayed, and the largest error."""
    checkpoint = families.random_checkpoint(name)
    family = families.family_of(checkpoint)
    spec = family.spec(checkpoint)
    _, sites, parities = fold_with_proof(family.module(checkpoint), spec, fold_implicit=True)
    return {
        "sites": dict(Counter(site.kind for site in sites)),
        "kept": dict(Counter(site.kind for site in sites if site.kept is not None)),
        "largest_relative_error": max(p.max_error / p.max_expected for p in parities),
    }


if __name__ == "__main__":
    main()
