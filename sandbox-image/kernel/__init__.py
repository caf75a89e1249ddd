"""The Python that runs user code: a template process, and kernels forked from it."""
