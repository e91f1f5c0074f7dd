/* SPDX-License-Identifier: Apache-2.0 */
#include "core/env_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or a name in the abstract namespace, which is written with @ for its first, zero byte. */
static int address_of(const char *name, struct sockaddr_un *address, socklen_t *ret_size)
{
    size_t size = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof(address->sun_path))
        return MP_EINVAL;
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, size);
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    else
        *ret_size += 1; /* a path is ended by its zero */
    return 0;
}

int mp__service_notify(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size;
    ssize_t sent;
    int fd, rc;

    if (!name || !*name)
        return 0;
    rc = address_of(name, &address, &size);
    if (rc)
        return rc;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    rc = sent < 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}
