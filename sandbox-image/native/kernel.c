/* `kernel`: runs its argument, or its standard input, as a cell of the session's live kernel.
 *
 * The cell writes to this program's own standard output and error, whose descriptors it is given. The wire format's twin
 * is supervisor/guests.py.
 */
#define _GNU_SOURCE
#include "channel.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>

/* Given by the build. */
#ifndef SOCKET_NAME
#error "SOCKET_NAME: the supervisor's name among abstract sockets"
#endif

enum {
    MOST_CODE_BYTES = 8 << 20,
    MOST_ARGUMENT_BYTES = 1 << 20,
    MOST_TEXT_BYTES = 4096,
    USAGE = 64,
    REFUSED = 75,
};

struct __attribute__((packed)) request {
    char magic[4];
    uint32_t argument_bytes;
    uint32_t code_bytes;
};

/* `X` exit code; `N` length of a text for a person, which follows: there is no result. */
struct __attribute__((packed)) word {
    char kind;
    int32_t value;
};

static const char USAGE_TEXT[] =
    "usage: kernel CODE [ARGUMENT...]   or   kernel [- ARGUMENT...] < CODE\n"
    "Runs CODE as a cell of this session's Python kernel: its variables stay, for the next cells and calls.\n";

static int fail(const char *text)
{
    fprintf(stderr, "kernel: %s\n", text);
    return REFUSED;
}

/* NULL when it is too long or cannot be read. */
static char *read_code(size_t *size)
{
    char *code = malloc(MOST_CODE_BYTES);
    *size = 0;
    while (code != NULL && *size < MOST_CODE_BYTES) {
        ssize_t got = read(STDIN_FILENO, code + *size, MOST_CODE_BYTES - *size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        if (got == 0)
            return code;
        *size += (size_t)got;
    }
    free(code);
    return NULL;
}

static int send_request(int server, char **arguments, const char *code, size_t size)
{
    struct request request = {.magic = {'K', 'Y', 'K', '1'}, .code_bytes = (uint32_t)size};
    const int fds[] = {STDOUT_FILENO, STDERR_FILENO};
    size_t length = 0;
    for (char **argument = arguments; *argument; argument++)
        length += strlen(*argument) + 1;
    if (length > MOST_ARGUMENT_BYTES)
        return -1;
    request.argument_bytes = (uint32_t)length;
    if (send_with_fds(server, &request, sizeof request, fds, 2) != 0)
        return -1;
    for (char **argument = arguments; *argument; argument++)
        if (send_all(server, *argument, strlen(*argument) + 1) != 0)
            return -1;
    return send_all(server, code, size);
}

static int await_end(int server, int signals)
{
    static char text[MOST_TEXT_BYTES + 1];
    for (;;) {
        struct pollfd waiting[2] = {{.fd = server, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(waiting, 2, -1) < 0)
            continue;
        struct signalfd_siginfo info;
        if (waiting[1].revents && read(signals, &info, sizeof info) == (ssize_t)sizeof info)
            send_all(server, "I", 1);
        if (!waiting[0].revents)
            continue;
        struct word word;
        if (!receive_all(server, &word, sizeof word, -1))
            return fail("the sandbox does not answer any more");
        if (word.kind == 'X')
            return word.value;
        if (word.kind != 'N' || word.value <= 0 || word.value > MOST_TEXT_BYTES
            || !receive_all(server, text, (size_t)word.value, -1))
            return fail("the sandbox gave no answer");
        return fail(text);
    }
}

int main(int argc, char **argv)
{
    char *end[] = {NULL};
    char *code = argc > 1 ? argv[1] : "-";
    char **arguments = argc > 2 ? argv + 2 : end;
    size_t size = strlen(code);
    if (strcmp(code, "--help") == 0 || strcmp(code, "-h") == 0) {
        fputs(USAGE_TEXT, stdout);
        return 0;
    }
    if (strcmp(code, "-") == 0) {
        if (argc == 1 && isatty(STDIN_FILENO)) {
            fputs(USAGE_TEXT, stderr);
            return USAGE;
        }
        code = read_code(&size);
    }
    if (code == NULL || size > MOST_CODE_BYTES)
        return fail("the code cannot be read, or is longer than 8 MiB");
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, NULL);
    int signals = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
    int server = connect_to(SOCKET_NAME);
    if (server < 0 || signals < 0)
        return fail("there is no kernel here: this works in the sandbox's own calls");
    if (send_request(server, arguments, code, size) != 0)
        /* Whatever it says is why. */
        shutdown(server, SHUT_WR);
    return await_end(server, signals);
}
