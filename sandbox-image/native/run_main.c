/* Lets a fork of the template begin again as `python3 ARGUMENTS`, with no Python frame below it.
 *
 * `run_main` is called by the interpreter's own end, where no Python code is running any more: it prepares what is to be
 * run and then does what the `python3` program does. Loaded by ctypes; the interpreter provides the rest.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct _object PyObject;

int Py_RunMain(void);
PyObject *PyObject_CallNoArgs(PyObject *callable);
void Py_IncRef(PyObject *object);
void Py_DecRef(PyObject *object);
void PyErr_Print(void);
void Py_LeaveRecursiveCall(void);

enum { INTERNAL_ERROR = 70 };

static PyObject *prepare;

/* `callable`: called once, without arguments, before the program runs. */
void set_preparation(PyObject *callable)
{
    Py_IncRef(callable);
    prepare = callable;
}

/* The interpreter has ended. The streams of C are ended as usual; what libraries would do now concerns memory that goes anyway. */
static void leave(int status, void *unused)
{
    (void)unused;
    fcloseall();
    _exit(status);
}

void run_main(void)
{
    PyObject *callable = prepare;
    if (callable == NULL)
        return;
    prepare = NULL;
    PyObject *result = PyObject_CallNoArgs(callable);
    if (result == NULL) {
        PyErr_Print();
        _exit(INTERNAL_ERROR);
    }
    Py_DecRef(result);
    /* The call that brought us here does not count for the program, and is never returned to. */
    Py_LeaveRecursiveCall();
    if (on_exit(leave, NULL) != 0)
        _exit(INTERNAL_ERROR);
    exit(Py_RunMain());
}
