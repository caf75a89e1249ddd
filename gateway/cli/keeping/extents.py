"""Prints where a file has data, as JSON: [[offset, length], ...]. Node cannot ask for holes."""

import json
import os
import sys


def extents(path: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        end = os.fstat(descriptor).st_size
        at = 0
        while at < end:
            try:
                start = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:
                break  # ENXIO: nothing but a hole up to the end.
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            found.append((start, at - start))
    finally:
        os.close(descriptor)
    return found


json.dump(extents(sys.argv[1]), sys.stdout)
