/* Whether a program shows by its text that it imports little: nothing but common modules of the standard library.
 *
 * A guess, and both are right: a fork without the libraries is quicker for such a program, and loads from the file what
 * it imports nevertheless. Text that runs other text is not trusted.
 */
#ifndef KERNELYARD_IMPORTS_H
#define KERNELYARD_IMPORTS_H

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST_TEXT_BYTES = 256 << 10,
    MOST_NAME_BYTES = 64,
    /* Who writes a program into a pipe has mostly done so. Without its end the program could not begin anyway. */
    PIPE_WAIT_MS = 50,
};

/* In the order of `strcmp`. Not here: what loads code or values by names that it is told (`importlib`, `pickle`,
 * `runpy`, `unittest`), and what takes longer to load than a fork of all libraries takes (`asyncio`, `urllib`). */
static const char *const COMMON_MODULES[] = {
    "__future__", "abc", "argparse", "array", "ast", "atexit", "base64", "binascii", "bisect", "builtins", "bz2",
    "calendar", "cmath", "collections", "colorsys", "configparser", "contextlib", "contextvars", "copy", "copyreg",
    "csv", "ctypes", "dataclasses", "datetime", "decimal", "difflib", "dis", "enum", "errno", "faulthandler", "fcntl",
    "filecmp", "fnmatch", "fractions", "functools", "gc", "getopt", "getpass", "gettext", "glob", "graphlib", "grp",
    "gzip", "hashlib", "heapq", "hmac", "html", "inspect", "io", "ipaddress", "itertools", "json", "keyword",
    "linecache", "locale", "logging", "lzma", "math", "mimetypes", "mmap", "numbers", "operator", "os", "pathlib",
    "platform", "posixpath", "pprint", "pwd", "queue", "quopri", "random", "re", "readline", "reprlib", "resource",
    "sched", "secrets", "select", "selectors", "shlex", "shutil", "signal", "site", "socket", "sqlite3", "stat",
    "statistics", "string", "struct", "subprocess", "sys", "sysconfig", "tarfile", "tempfile", "termios", "textwrap",
    "threading", "time", "token", "tokenize", "traceback", "tracemalloc", "tty", "types", "typing", "unicodedata",
    "uuid", "warnings", "weakref", "xml", "zipfile", "zlib", "zoneinfo",
};

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static int is_common_module(const char *name)
{
    size_t count = sizeof COMMON_MODULES / sizeof *COMMON_MODULES;
    return bsearch(&name, COMMON_MODULES, count, sizeof *COMMON_MODULES, compare_names) != NULL;
}

/* A place in a text, with its end. */
struct reading {
    const char *place;
    const char *end;
};

static int is_of_word(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9')
           || letter == '_' || (unsigned char)letter >= 0x80;
}

/* Within a statement: a line may go on behind a backslash. */
static void skip_blanks(struct reading *text)
{
    while (text->place < text->end && strchr(" \t\f\r\\", *text->place) != NULL) {
        if (*text->place == '\\' && text->place + 1 < text->end && text->place[1] == '\n')
            text->place++;
        text->place++;
    }
}

/* The word that begins here, cut off where it is too long to be known; "" if there is none. */
static void read_word(struct reading *text, char word[MOST_NAME_BYTES])
{
    size_t size = 0;
    for (; text->place < text->end && is_of_word(*text->place); text->place++)
        if (size + 1 < MOST_NAME_BYTES)
            word[size++] = *text->place;
    word[size] = '\0';
}

static int next_is(struct reading *text, char letter)
{
    skip_blanks(text);
    if (text->place == text->end || *text->place != letter)
        return 0;
    text->place++;
    return 1;
}

/* `a.b.c`: the first of its names. */
static void read_module(struct reading *text, char name[MOST_NAME_BYTES])
{
    char rest[MOST_NAME_BYTES];
    skip_blanks(text);
    read_word(text, name);
    while (next_is(text, '.')) {
        skip_blanks(text);
        read_word(text, rest);
    }
}

/* Behind `import`. */
static int imports_common(struct reading *text)
{
    char name[MOST_NAME_BYTES];
    do {
        read_module(text, name);
        if (!is_common_module(name))
            return 0;
        struct reading ahead = *text;
        skip_blanks(&ahead);
        read_word(&ahead, name);
        if (strcmp(name, "as") == 0) {
            skip_blanks(&ahead);
            read_word(&ahead, name);
            *text = ahead;
        }
    } while (next_is(text, ','));
    return 1;
}

/* Behind `from`, which is also a word of other statements. */
static int imports_from_common(struct reading *text)
{
    char name[MOST_NAME_BYTES], word[MOST_NAME_BYTES];
    struct reading ahead = *text;
    read_module(&ahead, name);
    skip_blanks(&ahead);
    read_word(&ahead, word);
    if (strcmp(word, "import") != 0)
        return 1;
    *text = ahead;
    return is_common_module(name);
}

static int text_imports_little(const char *start, size_t size)
{
    struct reading text = {start, start + size};
    if (memchr(start, '\0', size) != NULL)
        return 0;
    while (text.place < text.end) {
        char word[MOST_NAME_BYTES];
        if (!is_of_word(*text.place)) {
            text.place++;
            continue;
        }
        read_word(&text, word);
        if (strcmp(word, "exec") == 0 || strcmp(word, "__import__") == 0 || strcmp(word, "__loader__") == 0)
            return 0;
        if (strcmp(word, "import") == 0 && !imports_common(&text))
            return 0;
        if (strcmp(word, "from") == 0 && !imports_from_common(&text))
            return 0;
    }
    return 1;
}

/* From where the file is, which stays where it is. */
static int file_imports_little(int fd, off_t place)
{
    char *text = malloc(MOST_TEXT_BYTES);
    ssize_t size = text == NULL || place < 0 ? -1 : pread(fd, text, MOST_TEXT_BYTES, place);
    int little = size >= 0 && size < MOST_TEXT_BYTES && text_imports_little(text, (size_t)size);
    free(text);
    return little;
}

/* Whether the other end is closed already, or soon. */
static int pipe_is_complete(int fd)
{
    struct pollfd end = {.fd = fd, .events = 0};
    int held = 0, room = fcntl(fd, F_GETPIPE_SZ);
    if (poll(&end, 1, 0) == 0) {
        /* One that is full is not closed before somebody reads. */
        if (ioctl(fd, FIONREAD, &held) != 0 || room <= 0 || held >= room / 2)
            return 0;
        poll(&end, 1, PIPE_WAIT_MS);
    }
    return (end.revents & POLLHUP) != 0;
}

/* By a copy of what is in the pipe, which stays there. */
static int pipe_imports_little(int fd)
{
    int copy[2], little = 0;
    char *text = malloc(MOST_TEXT_BYTES);
    if (text == NULL || !pipe_is_complete(fd) || pipe2(copy, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(text);
        return 0;
    }
    int held = 0;
    ssize_t size = 0, more = tee(fd, copy[1], MOST_TEXT_BYTES, SPLICE_F_NONBLOCK);
    if (more >= 0 && ioctl(fd, FIONREAD, &held) == 0 && more == held) {
        while (size < MOST_TEXT_BYTES && (more = read(copy[0], text + size, (size_t)(MOST_TEXT_BYTES - size))) > 0)
            size += more;
        little = size == held && text_imports_little(text, (size_t)size);
    }
    close(copy[0]);
    close(copy[1]);
    free(text);
    return little;
}

static int input_imports_little(void)
{
    struct stat status;
    if (fstat(STDIN_FILENO, &status) != 0)
        return 0;
    if (S_ISREG(status.st_mode))
        return file_imports_little(STDIN_FILENO, lseek(STDIN_FILENO, 0, SEEK_CUR));
    return S_ISFIFO(status.st_mode) && pipe_imports_little(STDIN_FILENO);
}

static int script_imports_little(const char *path)
{
    struct stat status;
    /* A pipe's other end would notice that it is opened and closed. */
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return 0;
    int little = file_imports_little(fd, 0);
    close(fd);
    return little;
}

static int module_imports_little(const char *module)
{
    struct reading text = {module, module + strlen(module)};
    char name[MOST_NAME_BYTES];
    read_module(&text, name);
    return is_common_module(name);
}

/* For a command line of simple options. */
static int imports_little(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-')
            return script_imports_little(word);
        if (word[1] == '\0')
            return input_imports_little();
        for (const char *letter = word + 1; *letter; letter++) {
            if (*letter == 'i')
                return 0;
            if (*letter != 'c' && *letter != 'm')
                continue;
            const char *value = letter[1] != '\0' ? letter + 1 : argv[i + 1];
            return *letter == 'c' ? text_imports_little(value, strlen(value)) : module_imports_little(value);
        }
    }
    return input_imports_little();
}

#endif
