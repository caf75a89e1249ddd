"""A pytest plugin that writes what became of each test: `-p results_plugin`, to $RESULTS as JSON."""

from __future__ import annotations

import json
import os

results: dict[str, str] = {}


def pytest_runtest_logreport(report):
    known = results.get(report.nodeid)
    if report.outcome != "passed" or known is None:
        results[report.nodeid] = "failed" if "failed" in (known, report.outcome) else report.outcome


def pytest_sessionfinish():
    with open(os.environ["RESULTS"], "w") as file:
        json.dump(results, file)
