/* SPDX-License-Identifier: Apache-2.0 */
#include "access/access.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/env.h"

struct mp__access {
    mp__identity everybody;
};

int mp__access_new(mp__access **ret_access)
{
    mp__access *access = mp__calloc(1, sizeof(*access));

    if (!access)
        return MP_ENOMEM;
    (void)snprintf(access->everybody.name, sizeof(access->everybody.name), "default");
    *ret_access = access;
    return 0;
}

mp__access *mp__access_free(mp__access *access)
{
    return mp__free(access);
}

int mp__access_check(const mp__access *access, const mp__identity *identity, enum mp__right right,
                     mp_str address, mp__diag *diag)
{
    (void)access;
    (void)identity;
    (void)right;
    (void)address;
    (void)diag;
    return 0; /* whoever reaches loopback may do everything; listen_check keeps the others out */
}

bool mp__access_is_open(const mp__access *access)
{
    (void)access;
    return true;
}

int mp__access_login(mp__access *access, mp_str user, mp_str password, mp__identity *ret_identity,
                     mp__diag *diag)
{
    (void)password;
    if (mp_str_equal(user, MP_STR("default"))) {
        *ret_identity = access->everybody;
        return 0;
    }
    if (user.size)
        return mp__diag_set(diag, MP_EDENIED,
                            "invalid username-password pair or user is disabled.");
    return mp__diag_set(diag, MP_EINVAL,
                        "AUTH <password> called without any password configured for the default "
                        "user. Are you sure your configuration is correct?");
}

int mp__access_listen_check(const mp__access *access, const char *host, mp__diag *diag)
{
    (void)access;
    if (mp__address_is_loopback(host))
        return 0;
    return mp__diag_set(
        diag, MP_EDENIED,
        "'%s' can be reached by others and there is no authentication in this version; "
        "listen on 127.0.0.1 or [::1] and let a proxy with authentication stand before it",
        host);
}
