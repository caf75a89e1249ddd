/* What the sandbox's small programs share: a connection to one of our servers, which listen on abstract sockets. */
#ifndef KERNELYARD_CHANNEL_H
#define KERNELYARD_CHANNEL_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST_PASSED_FDS = 201 };

static inline int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path + 1, name, length);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0)
        return -1;
    if (connect(server, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) != 0) {
        close(server);
        return -1;
    }
    return server;
}

static inline int send_all(int server, const void *data, size_t size)
{
    const char *place = data;
    while (size > 0) {
        ssize_t sent = send(server, place, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        place += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* The descriptors travel with the first bytes. */
static inline int send_with_fds(int server, const void *data, size_t size, const int *fds, int count)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * MOST_PASSED_FDS)];
    } control;
    if (count > MOST_PASSED_FDS)
        return -1;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)count);
    ssize_t sent = sendmsg(server, &message, MSG_NOSIGNAL);
    if (sent <= 0)
        return -1;
    return send_all(server, (const char *)data + sent, size - (size_t)sent);
}

/* 1, or 0 at the end of the connection or when nothing came for `wait_ms` (-1: no limit). */
static inline int receive_all(int server, void *data, size_t size, int wait_ms)
{
    char *place = data;
    while (size > 0) {
        struct pollfd waiting = {.fd = server, .events = POLLIN};
        int ready = poll(&waiting, 1, wait_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return 0;
        ssize_t received = recv(server, place, size, MSG_DONTWAIT);
        if (received < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (received <= 0)
            return 0;
        place += received;
        size -= (size_t)received;
    }
    return 1;
}

#endif
