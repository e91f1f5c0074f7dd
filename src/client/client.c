/* SPDX-License-Identifier: Apache-2.0 */
/* Plain blocking sockets: a command-line verb sends, waits and ends. */
#include "client/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/env.h"

enum { TIMEOUT_STANDARD_MS = 5000, READ_STEP = 64 * 1024, SEND_STEP = 256 * 1024 };

struct mp__client {
    int fd;
    uint64_t timeout_ms;
    mp__buf out, in;
    size_t used; /* bytes of `in` that the reply given last stands in */
    char address[300];
};

static const mp__reply_limits reply_limits = {
    .depth_max = 8, .items_max = 4u << 20, .bulk_max = 512u << 20};

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Wait for @events until @deadline; 0, MP_ETIMEOUT or -errno. */
static int wait_for(int fd, short events, uint64_t deadline)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        uint64_t now = now_ms();
        int n;

        if (now >= deadline)
            return MP_ETIMEOUT;
        n = poll(&p, 1, (int)(deadline - now));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static int connect_one(mp__client *client, const struct addrinfo *to)
{
    int one = 1, error = 0;
    socklen_t size = sizeof(error);
    int rc = 0;

    client->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        return -errno;
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(client->fd, to->ai_addr, to->ai_addrlen) != 0) {
        rc = errno == EINPROGRESS ? wait_for(client->fd, POLLOUT, now_ms() + client->timeout_ms)
                                  : -errno;
        if (rc == 0 && getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
            rc = -error;
    }
    if (rc) {
        (void)close(client->fd);
        client->fd = -1;
    }
    return rc;
}

static int connect_any(mp__client *client, const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *all = NULL;
    char service[8];
    int rc;

    (void)snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &all);
    if (rc)
        return rc == EAI_SYSTEM ? -errno : -ENOENT;
    rc = -ECONNREFUSED;
    for (const struct addrinfo *to = all; to && client->fd < 0; to = to->ai_next)
        rc = connect_one(client, to);
    freeaddrinfo(all);
    return rc;
}

static int refused(const char *address, int rc, mp__diag *diag)
{
    if (rc == -ECONNREFUSED)
        return mp__diag_set(diag, rc,
                            "nobody listens on %s; start the daemon with 'marketprism serve', or "
                            "say where it is with --resp or MARKETPRISM_ADDR",
                            address);
    if (rc == -ENOENT)
        return mp__diag_set(diag, rc, "the host of %s is not known", address);
    return mp__diag_set(diag, rc, "cannot connect to %s: %s", address, mp_strerror(rc));
}

int mp__client_open(const char *address, uint64_t timeout_ms, mp__client **ret_client,
                    mp__diag *diag)
{
    char host[256];
    uint16_t port;
    mp__client *client;
    int rc = mp__address_parse(address, host, sizeof(host), &port, diag);

    if (rc)
        return rc;
    client = mp__calloc(1, sizeof(*client));
    if (!client)
        return MP_ENOMEM;
    client->fd = -1;
    client->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_STANDARD_MS;
    (void)snprintf(client->address, sizeof(client->address), "%s", address);
    rc = connect_any(client, host, port);
    if (rc) {
        (void)mp__client_close(client);
        return refused(address, rc, diag);
    }
    *ret_client = client;
    return 0;
}

void mp__client_set_timeout(mp__client *client, uint64_t timeout_ms)
{
    client->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_STANDARD_MS;
}

mp__client *mp__client_close(mp__client *client)
{
    if (!client)
        return NULL;
    if (client->fd >= 0)
        (void)close(client->fd);
    mp__buf_done(&client->in);
    mp__buf_done(&client->out);
    return mp__free(client);
}

/* What has arrived without waiting, so that a long pipeline does not deadlock against a server that
 * stops reading until its answers are taken. */
static int drain(mp__client *client)
{
    ssize_t n;

    if (mp__buf_reserve(&client->in, READ_STEP) != 0)
        return MP_ENOMEM;
    n = recv(client->fd, client->in.data + client->in.size, READ_STEP, MSG_DONTWAIT);
    if (n > 0)
        client->in.size += (size_t)n;
    if (n == 0)
        return MP_ECLOSED;
    return n > 0 ? 0 : errno == EAGAIN || errno == EINTR ? MP_EAGAIN : -errno;
}

static int flush(mp__client *client)
{
    size_t sent = 0;
    int rc = 0;

    while (sent < client->out.size && rc == 0) {
        ssize_t n = send(client->fd, client->out.data + sent, client->out.size - sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        rc = drain(client);
        if (rc == MP_EAGAIN)
            rc = wait_for(client->fd, POLLIN | POLLOUT, now_ms() + client->timeout_ms);
    }
    if (rc == 0)
        mp__buf_reset(&client->out);
    return rc;
}

int mp__client_send(mp__client *client, const mp_str *arguments, size_t count)
{
    mp__resp_request(&client->out, arguments, count);
    if (client->out.error)
        return client->out.error;
    return client->out.size > SEND_STEP ? flush(client) : 0;
}

static int broken(const mp__client *client, int rc, mp__diag *diag)
{
    if (rc == MP_ETIMEOUT)
        return mp__diag_set(diag, rc, "%s did not answer within %llu ms", client->address,
                            (unsigned long long)client->timeout_ms);
    if (rc == MP_ECLOSED)
        return mp__diag_set(diag, rc, "%s closed the connection", client->address);
    if (rc == MP_EPROTO)
        return mp__diag_set(diag, rc,
                            "%s does not answer as a RESP port does; name the daemon's with --resp "
                            "or MARKETPRISM_ADDR, 7480 by default, not the one for HTTP",
                            client->address);
    return mp__diag_set(diag, rc, "%s: %s", client->address, mp_strerror(rc));
}

int mp__client_read(mp__client *client, mp__reply **ret_reply, mp__diag *diag)
{
    uint64_t deadline;
    size_t used;
    int rc;

    mp__buf_consume(&client->in, client->used);
    client->used = 0;
    rc = flush(client);
    deadline = now_ms() + client->timeout_ms;
    while (rc == 0) {
        rc = mp__reply_parse(client->in.data, client->in.size, &reply_limits, ret_reply, &used);
        if (rc == 0) {
            client->used = used;
            return 0;
        }
        if (rc != MP_EAGAIN)
            break;
        rc = wait_for(client->fd, POLLIN, deadline);
        if (rc == 0)
            rc = drain(client);
        if (rc == MP_EAGAIN)
            rc = 0;
    }
    return broken(client, rc, diag);
}

int mp__client_call(mp__client *client, const mp_str *arguments, size_t count,
                    mp__reply **ret_reply, mp__diag *diag)
{
    int rc = mp__client_send(client, arguments, count);

    return rc ? broken(client, rc, diag) : mp__client_read(client, ret_reply, diag);
}
