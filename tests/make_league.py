"""`make league`: grade every explanation on every toy net anew and write data/toy/explanations.json.

One thread, about five minutes. The same code and the same weights give the same table, up to rounding.
"""

import hashlib
import json
import time
from datetime import date
from pathlib import Path

import torch

import netwright
from netwright import paths
from netwright.bench import hardware
from netwright.explain.league import FILE, PICTURES, grade
from netwright.nets.zoo import TOYS

ROOT = Path(__file__).parents[1]


def main() -> None:
    torch.set_num_threads(1)
    start = time.process_time()
    table = grade(tell=lambda name: print(f"{name}: {time.process_time() - start:.0f} s", flush=True))
    record = {
        "date": date.today().isoformat(),
        "netwright": netwright.__version__,
        **hardware(),
        "processor_seconds": round(time.process_time() - start, 1),
        "seed": "the index of each picture",
        "weights": {name: digest(paths.data(f"toy/{name}.safetensors")) for name in TOYS},
        **table,
    }
    rows = record.pop("rows")
    head = json.dumps(record, indent=1)[:-2]
    lines = ",\n".join(
        "  " + json.dumps(row, separators=(",", ":")) for row in rows
    )  # a row a line: differences read well
    path = ROOT / "data" / FILE
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    print(f"{path}: {len(rows)} rows, {PICTURES} pictures a group, {path.stat().st_size / 1000:.0f} kB")


def digest(path: Path) -> str:
    """The first half of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


if __name__ == "__main__":
    main()
