"""A writer process for the crash tests: appends patterned rows and reports the total after each `append`.

Arguments: path, capacity, width of the token, total at which it ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from replay_rows import open_replay, patterned_row, wide


def main(path: str, capacity: str, width: str, last: str) -> None:
    shapes = wide(int(width))
    with open_replay(Path(path), capacity=int(capacity), shapes=shapes) as replay:
        while replay.total < int(last):
            count = 1 + replay.total % 3
            replay.append(patterned_row(replay.total + ahead, shapes) for ahead in range(count))
            print(replay.total, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
