"""Proves inside a sandbox that the image's libraries work: imports, arithmetic, figures, threads, processes.

Usage: smoke.py DISTRIBUTION... Prints one JSON line per check: {"check", "ok", "seconds", "detail"}.
"""

import functools
import glob
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkContext, SpawnContext
from typing import Any

PROFILE = "/opt/kernelyard/profile"
ELSEWHERE = "/opt/kernelyard/elsewhere.txt"
#: More than the slowest first task of any library.
CHECK_SECONDS = 120
# Folders that some distributions put beside their package by mistake.
NOT_LIBRARIES = {"test", "tests", "doc", "docs", "example", "examples", "benchmarks"}
# duckdb's driver for ADBC comes with it and needs a manager that does not.
NOT_LIBRARIES |= {"adbc_driver_duckdb"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def import_names(distribution: str) -> list[str]:
    """What a distribution lets one import, from its own metadata."""
    wanted = normalized(distribution)
    found = [
        name
        for name, owners in importlib.metadata.packages_distributions().items()
        if wanted in {normalized(owner) for owner in owners}
        and name.isidentifier()
        and not name.startswith("_")
        and name not in NOT_LIBRARIES
    ]
    if not found:
        # Present but without modules (a collection of others, for instance) is fine; absent raises.
        importlib.metadata.distribution(distribution)
    return sorted(found)


def import_distribution(distribution: str) -> str:
    names = import_names(distribution)
    for name in names:
        importlib.import_module(name)
    return ", ".join(names)


def numpy_works() -> str:
    import numpy as np

    matrix = np.random.default_rng(1).random((300, 300)) + 300 * np.eye(300)
    inverse = np.linalg.inv(matrix)
    assert np.allclose(matrix @ inverse, np.eye(300))
    # Many threads in one numeric library: what fails when thread creation is denied.
    code = (
        "import numpy as np; a = np.ones((600, 600)); assert (a @ a)[0, 0] == 600; "
        "assert np.linalg.svd(a, compute_uv=False)[0] > 599"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"},
    )
    return np.__version__


def scipy_works() -> str:
    import scipy  # type: ignore[import-untyped]
    from scipy import integrate, linalg, optimize, sparse, stats

    area, _ = integrate.quad(lambda x: x * x, 0, 3)
    assert abs(area - 9) < 1e-9
    assert abs(optimize.brentq(lambda x: x * x - 2, 0, 2) - 2**0.5) < 1e-9
    assert abs(linalg.det([[2, 0], [0, 3]]) - 6) < 1e-9
    assert sparse.eye(5).nnz == 5
    assert abs(stats.norm.cdf(0) - 0.5) < 1e-12
    return str(scipy.__version__)


def pandas_works() -> str:
    import io

    import pandas as pd  # type: ignore[import-untyped]

    frame = pd.DataFrame({"key": ["a", "b", "a"], "value": [1, 2, 3]})
    assert frame.groupby("key").value.sum().to_dict() == {"a": 4, "b": 2}
    assert pd.read_csv(io.StringIO(frame.to_csv(index=False))).equals(frame)
    assert len(pd.date_range("2026-01-01", periods=3, tz="Asia/Tokyo")) == 3
    return str(pd.__version__)


def matplotlib_works() -> str:
    import matplotlib
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        # A missing glyph or font is only a warning there, and a box in the user's figure.
        warnings.simplefilter("error")
        # The default, and families as code written on other systems names them.
        for families in (plt.rcParams["font.family"], ["Hiragino Sans"], ["SimHei"], ["Malgun Gothic"]):
            with plt.rc_context({"font.family": families}):
                figure, axes = plt.subplots()
                axes.plot([-1, 0, 1], label="日本語のラベル")
                axes.set_title("東京 北京 서울 한국어 简体中文 繁體中文 −1.5 ×", fontweight="bold")
                axes.legend()
                figure.savefig("/tmp/smoke.png")
                plt.close(figure)
    assert os.path.getsize("/tmp/smoke.png") > 1000
    return f"{matplotlib.__version__} {matplotlib.get_backend()}"


def threads_work() -> str:
    seen: set[int] = set()
    barrier = threading.Barrier(8, timeout=30)

    def meet() -> None:
        barrier.wait()
        seen.add(threading.get_ident())

    workers = [threading.Thread(target=meet) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(seen) == 8
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(abs, range(100))) == 4950
    return "8"


def put_square(queue: "multiprocessing.Queue[int]", number: int) -> None:
    queue.put(number * number)


def processes_work(context: ForkContext | SpawnContext) -> str:
    with context.Pool(2) as pool:
        assert pool.map_async(abs, [-1, -2, -3]).get(60) == [1, 2, 3]
    queue: multiprocessing.Queue[int] = context.Queue()
    process = context.Process(target=put_square, args=(queue, 7))
    process.start()
    assert queue.get(timeout=60) == 49
    process.join(60)
    assert process.exitcode == 0
    with context.Manager() as manager:
        shared = manager.dict()
        shared["a"] = 1
        assert shared["a"] == 1
    return context.get_start_method()


def programs_work() -> str:
    bash = subprocess.run(
        ["bash", "-c", "set -e; echo '{\"a\": [1, 2]}' | jq -c .a; python3 -c 'print(6 * 7)'"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert bash.stdout == "[1,2]\n42\n", bash.stdout
    return "bash, jq, python3"


def language_works(language: dict[str, Any]) -> str:
    """Runs the profile's own sample as the supervisor would run a call's code."""
    sample = f"{PROFILE}/smoke/hello{language['extension']}"
    command = [*language["command"], sample, "yard"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd="/mnt/data")
    assert done.stdout == "hello yard 2\n", f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-1000:]}"
    return str(language["version"])


def data_directory_works() -> str:
    assert os.getcwd() == "/mnt/data", os.getcwd()
    with open("/mnt/data/smoke.txt", "w", encoding="utf-8") as file:
        file.write("ok")
    os.unlink("smoke.txt")
    return f"user {os.getuid()}"


SMOKES: dict[str, Callable[[], str]] = {
    "numpy": numpy_works,
    "scipy": scipy_works,
    "pandas": pandas_works,
    "matplotlib": matplotlib_works,
}


def table_is_true(distributions: list[str]) -> str:
    """What other images say of these libraries: by which name code imports each."""
    try:
        with open(ELSEWHERE, encoding="utf-8") as file:
            entries = [line.split() for line in file]
    except FileNotFoundError:
        return "an image of the operator's own, without a table"
    imports = {name for kind, name, _ in entries if kind == "import"}
    listed = {name for kind, name, _ in entries if kind == "pip"}
    wrong = [
        name for name in distributions if normalized(name) in listed and not imports.intersection(import_names(name))
    ]
    assert not wrong, f"the list does not say by which name code imports {', '.join(wrong)} (# import NAME)"
    return f"{len(listed)} libraries"


def profile_tasks() -> dict[str, Callable[[], str]]:
    """One real task for each library and program that a profile adds: TASKS of its smoke files, by name."""
    tasks: dict[str, Callable[[], str]] = {}
    for path in sorted(glob.glob(f"{PROFILE}/smoke/*.py")):
        if os.path.basename(path).startswith("hello."):
            continue
        tasks.update(runpy.run_path(path)["TASKS"])
    return tasks


def check(name: str, proof: Callable[[], str]) -> bool:
    """In a process of its own: all libraries together take more memory than a sandbox has."""
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        signal.alarm(CHECK_SECONDS)
        try:
            ok, detail = True, proof()
        except BaseException:
            ok, detail = False, traceback.format_exc(limit=-3)[-2000:]
        say(name, ok, started, detail)
        os._exit(0 if ok else 1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        how = signal.Signals(os.WTERMSIG(status)).name
        say(name, False, started, f"ended by {how} (SIGALRM: after {CHECK_SECONDS} s; SIGKILL: no memory)")
    return status == 0


def say(name: str, ok: bool, started: float, detail: str) -> None:
    seconds = round(time.monotonic() - started, 3)
    print(json.dumps({"check": name, "ok": ok, "seconds": seconds, "detail": detail}), flush=True)


def main() -> int:
    distributions = sys.argv[1:]
    listed = {normalized(name) for name in distributions}
    with open("/opt/kernelyard/languages.json", encoding="utf-8") as file:
        # Python is the live kernel: an empty command, proven by everything else here.
        languages = [language for language in json.load(file) if language["command"]]
    proofs: list[tuple[str, Callable[[], str]]] = [
        ("data directory", data_directory_works),
        ("bash and jq", programs_work),
        ("names of libraries", lambda: table_is_true(distributions)),
        ("threads", threads_work),
        ("processes by fork", lambda: processes_work(multiprocessing.get_context("fork"))),
        ("processes by spawn", lambda: processes_work(multiprocessing.get_context("spawn"))),
    ]
    for name in distributions:
        proofs.append((f"import {name}", functools.partial(import_distribution, name)))
    for language in languages:
        proofs.append((f"language {language['id']}", functools.partial(language_works, language)))
    tasks = {**{name: smoke for name, smoke in SMOKES.items() if name in listed}, **profile_tasks()}
    proofs += [(f"{name} works", task) for name, task in tasks.items()]
    results = [check(name, proof) for name, proof in proofs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
