/* `python3` and `python` of the sandbox: the same interpreter, by a fork of the template that has the libraries in memory.
 *
 * What this process is (arguments, environment, descriptors, limits, signals, group) goes to the fork server over a unix
 * socket; the fork becomes exactly that and runs in this process's place, which stays to pass signals on and to end as
 * the fork ends. Whatever cannot be done exactly, and every failure before the fork has begun, is the real interpreter's:
 * nothing has been read or changed by then.
 *
 * The wire format's twin is interpreter/request.py.
 */
#define _GNU_SOURCE
#include "channel.h"
#include "imports.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

/* Given by the build. */
#ifndef REAL_PYTHON
#error "REAL_PYTHON: path of the interpreter itself"
#endif
#ifndef SOCKET_NAME
#error "SOCKET_NAME: the fork server's name among abstract sockets"
#endif

enum {
    MOST_FDS = MOST_PASSED_FDS - 1,
    LIMITS = 16,
    AFFINITY_BYTES = 128,
    SIGNALS = 64,
    /* A fork of the template takes a tenth of a second; on a host that is short of processor time, ten times that. */
    VERDICT_MS = 10000,
    MOST_REASON_BYTES = 200,
    CANNOT_EXECUTE = 126,
    NOT_FOUND = 127,
};

struct __attribute__((packed)) request {
    char magic[4];
    uint32_t payload;
    uint32_t fds;
    uint32_t argc;
    uint32_t envc;
    uint32_t umask;
    int32_t nice;
    int32_t pid;
    int32_t group;
    int32_t session;
    uint64_t ignored;
    uint64_t blocked;
    uint64_t limits[LIMITS][2];
    uint8_t affinity[AFFINITY_BYTES];
};

/* What the server says: a letter and a number. */
struct __attribute__((packed)) word {
    char kind;
    int32_t value;
};

/* KERNELYARD_PYTHON: `plain` for the interpreter itself always, `libraries` for a fork that has them, whatever the
 * program looks like; `explain` to be told why it is the interpreter itself, `which` to be told which of the three it is. */
static int is_wanted(char **envp, const char *manner)
{
    static const char name[] = "KERNELYARD_PYTHON=";
    for (; *envp; envp++)
        if (strncmp(*envp, name, sizeof name - 1) == 0)
            return strcmp(*envp + sizeof name - 1, manner) == 0;
    return 0;
}

static int run_real_python(char **argv, char **envp, const char *reason)
{
    if (is_wanted(envp, "explain") || is_wanted(envp, "which"))
        fprintf(stderr, "python3: run by the interpreter itself: %s\n", reason);
    execve(REAL_PYTHON, argv, envp);
    fprintf(stderr, "%s: %s: %s\n", argv[0] ? argv[0] : "python3", REAL_PYTHON, strerror(errno));
    return errno == ENOENT ? NOT_FOUND : CANNOT_EXECUTE;
}

/* Options that a fork can follow exactly. The others change what happens before the first import. */
static int has_simple_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0')
            return 1;
        for (const char *letter = word + 1; *letter; letter++) {
            if (*letter == 'c' || *letter == 'm')
                return letter[1] != '\0' || i + 1 < argc;
            if (strchr("BEIPRiqsux", *letter) == NULL)
                return 0;
        }
    }
    return 1;
}

/* A terminal belongs to a session, which a fork of another process cannot enter. */
static int has_terminal(void)
{
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return 0;
    close(terminal);
    return 1;
}

/* Every open descriptor but the listing's own and the server's; -1 when there are too many. */
static int open_descriptors(int server, int *fds)
{
    DIR *listing = opendir("/proc/self/fd");
    if (listing == NULL)
        return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (*end != '\0' || end == entry->d_name || fd == dirfd(listing) || fd == server)
            continue;
        if (count == MOST_FDS) {
            count = -1;
            break;
        }
        fds[count++] = (int)fd;
    }
    closedir(listing);
    return count;
}

static uint64_t ignored_signals(void)
{
    uint64_t mask = 0;
    for (int number = 1; number <= SIGNALS; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            mask |= UINT64_C(1) << (number - 1);
    }
    return mask;
}

static uint64_t blocked_signals(void)
{
    uint64_t mask = 0;
    sigset_t blocked;
    if (sigprocmask(SIG_SETMASK, NULL, &blocked) != 0)
        return 0;
    for (int number = 1; number <= SIGNALS; number++)
        if (sigismember(&blocked, number) == 1)
            mask |= UINT64_C(1) << (number - 1);
    return mask;
}

static uint32_t count_strings(char **strings, size_t *size)
{
    uint32_t count = 0;
    for (; strings[count]; count++)
        *size += strlen(strings[count]) + 1;
    return count;
}

static char *put_strings(char *place, char **strings)
{
    for (; *strings; strings++) {
        size_t size = strlen(*strings) + 1;
        memcpy(place, *strings, size);
        place += size;
    }
    return place;
}

static int describe_process(struct request *request)
{
    cpu_set_t processors;
    memset(request, 0, sizeof *request);
    memcpy(request->magic, "KYP1", sizeof request->magic);
    request->umask = umask(0);
    umask(request->umask);
    request->nice = getpriority(PRIO_PROCESS, 0);
    request->pid = getpid();
    request->group = getpgrp();
    request->session = getsid(0);
    request->ignored = ignored_signals();
    request->blocked = blocked_signals();
    for (int kind = 0; kind < LIMITS; kind++) {
        struct rlimit limit;
        if (getrlimit(kind, &limit) != 0)
            return -1;
        request->limits[kind][0] = limit.rlim_cur;
        request->limits[kind][1] = limit.rlim_max;
    }
    if (sched_getaffinity(0, sizeof processors, &processors) != 0)
        return -1;
    memcpy(request->affinity, &processors, sizeof request->affinity);
    return 0;
}

/* The working directory's descriptor goes first, then the open ones; their numbers, arguments and environment follow. */
static int send_request(int server, char **argv, char **envp, const int *fds, int count)
{
    struct request request;
    int passed[MOST_PASSED_FDS];
    passed[0] = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (passed[0] < 0 || describe_process(&request) != 0)
        return -1;
    memcpy(passed + 1, fds, sizeof(int) * (size_t)count);

    size_t size = sizeof(int32_t) * (size_t)count;
    request.argc = count_strings(argv, &size);
    request.envc = count_strings(envp, &size);
    request.payload = (uint32_t)size;
    request.fds = (uint32_t)count;
    char *payload = malloc(size + 1);
    if (payload == NULL)
        return -1;
    char *place = payload;
    for (int i = 0; i < count; i++) {
        int32_t number = fds[i];
        memcpy(place, &number, sizeof number);
        place += sizeof number;
    }
    put_strings(put_strings(place, argv), envp);
    int failed = send_with_fds(server, &request, sizeof request, passed, count + 1) || send_all(server, payload, size);
    free(payload);
    close(passed[0]);
    return failed;
}

static void end_by(int number)
{
    sigset_t one;
    signal(number, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    kill(getpid(), number);
    _exit(128 + number);
}

static void pass_signal_on(int server, int signals)
{
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof info) != (ssize_t)sizeof info || info.ssi_signo == SIGCHLD)
        return;
    char message[2] = {'S', (char)info.ssi_signo};
    send_all(server, message, sizeof message);
}

/* From here on the fork is the program. Ends as it ends. */
static void stand_in(int server, int signals)
{
    for (;;) {
        struct pollfd waiting[2] = {{.fd = server, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(waiting, 2, -1) < 0)
            continue;
        if (waiting[1].revents)
            pass_signal_on(server, signals);
        if (!waiting[0].revents)
            continue;
        struct word word;
        if (!receive_all(server, &word, sizeof word, -1))
            end_by(SIGKILL);
        if (word.kind == 'X')
            _exit(word.value);
        if (word.kind == 'K')
            end_by(word.value);
        if (word.kind == 'T')
            kill(getpid(), SIGSTOP);
    }
}

/* The server has said yes and waits for our word. Returns only when the fork has not begun.
 *
 * `has_joined`: the fork is in our process group, and we leave it: a signal to the group reaches the program, and once.
 */
static void hand_over(int server, int has_joined, const int *fds, int count)
{
    sigset_t all, before;
    pid_t group = getpgrp();
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &before) != 0)
        return;
    int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (has_joined)
        setpgid(0, 0);
    if (signals < 0 || send_all(server, "G", 1) != 0) {
        setpgid(0, group);
        if (signals >= 0)
            close(signals);
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    /* What is ignored would not be noticed; whether it is ignored is the fork's business now. */
    for (int number = 1; number <= SIGNALS; number++)
        if (number != SIGKILL && number != SIGSTOP && number != SIGCHLD)
            signal(number, SIG_DFL);
    /* Whoever is at the other end of the program's pipes waits for its ends alone. */
    for (int i = 0; i < count; i++)
        close(fds[i]);
    stand_in(server, signals);
}

/* The template with the libraries, or the light one, which may be missing without the other. */
static int connect_to_template(int argc, char **argv, char **envp)
{
    int server = -1;
    if (!is_wanted(envp, "libraries") && imports_little(argc, argv))
        server = connect_to(SOCKET_NAME "-light");
    if (is_wanted(envp, "which"))
        fprintf(stderr, "python3: run by a fork %s\n", server < 0 ? "with the libraries" : "without libraries");
    return server < 0 ? connect_to(SOCKET_NAME) : server;
}

/* Returns why the interpreter itself has to do it. */
static const char *ask_server(int argc, char **argv, char **envp)
{
    static char refusal[MOST_REASON_BYTES + 1];
    int fds[MOST_FDS];
    struct word verdict;
    int server = connect_to_template(argc, argv, envp);
    if (server < 0)
        return "there is no template to fork";
    int count = open_descriptors(server, fds);
    const char *reason = "it has more descriptors than can be passed on";
    if (count >= 0 && send_request(server, argv, envp, fds, count) == 0) {
        reason = "the template does not answer";
        if (receive_all(server, &verdict, sizeof verdict, VERDICT_MS)) {
            if (verdict.kind == 'Y') {
                hand_over(server, verdict.value, fds, count);
            } else if (verdict.kind == 'N' && verdict.value > 0 && verdict.value <= MOST_REASON_BYTES
                       && receive_all(server, refusal, (size_t)verdict.value, VERDICT_MS)) {
                reason = refusal;
            }
        }
    }
    close(server);
    return reason;
}

int main(int argc, char **argv, char **envp)
{
    const char *reason;
    if (argc < 1 || is_wanted(envp, "plain"))
        reason = "as is wanted";
    else if (!has_simple_options(argc, argv))
        reason = "its options";
    else if (has_terminal())
        reason = "it has a terminal";
    else
        reason = ask_server(argc, argv, envp);
    return run_real_python(argv, envp, reason);
}
