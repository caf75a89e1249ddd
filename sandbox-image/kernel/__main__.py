"""`python3 -B .../kernel/__main__.py ARGUMENTS` (`template.Arguments`): the template, started by the supervisor."""

import sys

_modules = dict(sys.modules)

import os  # noqa: E402

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from interpreter.facts import Facts  # noqa: E402


def main() -> None:
    facts = Facts(_modules)
    arguments = sys.argv[1:]
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Its pages are kept (`kernel/pages.py`); what it chooses for notebooks needs a notebook's other half.
    os.environ.setdefault("PLOTLY_RENDERER", "browser")
    facts.import_libraries(arguments[3])
    with facts.kernel():
        from kernel.template import Arguments, serve
    serve(Arguments.parse(arguments), facts)


if __name__ == "__main__":
    main()
