/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the hook that the read, write and list paths ask, before anything else.
 *
 * For now everybody who reaches a loopback address may do everything; an address that others reach
 * is refused at start as long as there is no authentication. */
#ifndef MP_ACCESS_ACCESS_H
#define MP_ACCESS_ACCESS_H

#include "core/error.h"

enum mp__right { MP__RIGHT_READ = 1, MP__RIGHT_WRITE = 2, MP__RIGHT_LIST = 4, MP__RIGHT_ADMIN = 8 };

typedef struct mp__identity {
    char name[64]; /* "default" for those who did not log in */
} mp__identity;

typedef struct mp__access mp__access;

MP_MUST_USE int mp__access_new(mp__access **ret_access);
mp__access *mp__access_free(mp__access *access);

/* 0, or MP_EDENIED with a text. @address may be a prefix for LIST. Any thread; never blocks. */
MP_MUST_USE int mp__access_check(const mp__access *access, const mp__identity *identity,
                                 enum mp__right right, mp_str address, mp__diag *diag);

/* Whether everybody may do everything, so that the hot path need not ask for each read. It does not
 * change while the daemon runs. */
bool mp__access_is_open(const mp__access *access);

/* Log in as @user; "": a password alone. There are no passwords yet, so that "default", who may do
 * everything anyway, takes any: clients that have a name and a password in their address reach us.
 * MP_EINVAL: a password alone, for which there is no use; MP_EDENIED: there is no such user. The
 * texts are those that clients know. */
MP_MUST_USE int mp__access_login(mp__access *access, mp_str user, mp_str password,
                                 mp__identity *ret_identity, mp__diag *diag);

/* Whether the daemon may listen on @host ("127.0.0.1", "::1", "0.0.0.0"): 0, or MP_EDENIED with the
 * remedy. Pure. */
MP_MUST_USE int mp__access_listen_check(const mp__access *access, const char *host, mp__diag *diag);

#endif
