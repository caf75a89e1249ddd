"""`python3 -B .../kernel/__main__.py ARGUMENTS` (`template.Arguments`): the template, started by the supervisor."""

import sys

_modules = dict(sys.modules)

import os  # noqa: E402

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from interpreter.recorder import Recorder  # noqa: E402

_recorder = Recorder(_modules)
with _recorder:
    from interpreter import light, template
    from interpreter.facts import Facts


def main() -> None:
    facts = Facts(_modules, _recorder)
    arguments = template.Arguments.parse(sys.argv[1:])
    connection = None
    if arguments.light_fd >= 0:
        connection = light.begin(facts, arguments)
        if connection is None:
            return
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Its pages are kept (`kernel/pages.py`); what it chooses for notebooks needs a notebook's other half.
    os.environ.setdefault("PLOTLY_RENDERER", "browser")
    facts.import_libraries(arguments.preload)
    with facts.kernel():
        from kernel.template import serve
    serve(arguments, facts, connection)


if __name__ == "__main__":
    main()
