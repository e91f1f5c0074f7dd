/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: environment / namespace / key as one canonical run of bytes.
 *
 * The canonical form is "environment/namespace/key", for example "production/default/db.host" or
 * "staging/billing/tls/cert". It is what the cache hashes, L3 stores and messages show. The first
 * slash ends the environment, the second the namespace; the key may hold further slashes.
 *
 * What stands for the environment is a scope, "environment", "environment~region" or
 * "environment~region~instance": it names a layer, whose own values these are, and who reads it,
 * gets the value of the nearest layer that has one (manager/overlay.c). No plain name has a '~'. */
#ifndef MP_CORE_ADDRESS_H
#define MP_CORE_ADDRESS_H

#include <string.h>

#include "core/error.h"

#define MP__ENVIRONMENT_MAX 64u   /* bytes: a-z A-Z 0-9 . _ -, not beginning with . or - */
#define MP__SCOPE_MAX       194u  /* bytes: three such names and two '~' */
#define MP__NAMESPACE_MAX   128u  /* bytes: printable, no slash */
#define MP__KEY_MAX         1024u /* bytes: no control characters (below 0x20, 0x7f) */
#define MP__ADDRESS_MAX     (MP__SCOPE_MAX + MP__NAMESPACE_MAX + MP__KEY_MAX + 2)

/* Write the canonical address of what a RESP or CLI client calls @name ("namespace/key", or "key"
 * of the namespace "default") in @environment into @out. Returns its size, or MP_EINVAL/MP_ELIMIT
 * with a text in @diag (may be NULL). Does not check @environment. Pure, no allocation. */
int mp__address_from_name(mp_str environment, mp_str name, char out[MP__ADDRESS_MAX],
                          mp__diag *diag);

/* The same from the three parts. */
int mp__address_join(mp_str environment, mp_str namespace_, mp_str key, char out[MP__ADDRESS_MAX],
                     mp__diag *diag);

/* Split a canonical address. MP_EINVAL when it is none. */
int mp__address_split(mp_str address, mp_str *ret_environment, mp_str *ret_namespace,
                      mp_str *ret_key);

/* What a RESP client calls it: "key" for the namespace default when the key has no slash, else
 * "namespace/key". A slice of @address. */
mp_str mp__address_name(mp_str address);

/* A plain name of an environment, a region or an instance: 0, or MP_EINVAL or MP_ELIMIT with a text
 * in @diag. */
int mp__environment_check(mp_str environment, mp__diag *diag);

/* ---- scopes ---- */

enum { MP__LAYERS_MAX = 4 }; /* instance, region, environment, base */

/* The same of a scope: one to three plain names with '~' between them. */
int mp__scope_check(mp_str scope, mp__diag *diag);

/* The scope of what a client names apart, "" or NULL for what it does not name, in @out. Returns
 * its size, or an error with a text in @diag: a name that is none, an instance without its region.
 */
int mp__scope_build(mp_str environment, mp_str region, mp_str instance, char out[MP__SCOPE_MAX],
                    mp__diag *diag);

/* Bytes of the scope that @address begins with: up to its first slash. */
static inline size_t mp__scope_size(mp_str address)
{
    const char *slash = address.size ? memchr(address.data, '/', address.size) : NULL;

    return slash ? (size_t)(slash - address.data) : address.size;
}

/* What follows the scope: "/namespace/key". */
static inline mp_str mp__scope_rest(mp_str address)
{
    size_t scope = mp__scope_size(address);

    return mp_str_new(address.data + scope, address.size - scope);
}

/* Bytes that both begin with. */
static inline size_t mp__common_size(mp_str a, mp_str b)
{
    size_t most = a.size < b.size ? a.size : b.size, n = 0;

    while (n < most && a.data[n] == b.data[n])
        n++;
    return n;
}

/* The layer that @scope falls back to: without its last name, at last @base ("": there is none),
 * and "" behind that. A slice of one of the two. */
mp_str mp__scope_up(mp_str scope, mp_str base);

#endif
