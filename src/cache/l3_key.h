/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of L3: the first one seals what is written, the others open what was sealed with them
 * before. They lie in memory that is locked, guarded and zeroed at the end (libsodium). */
#ifndef MP_CACHE_L3_KEY_H
#define MP_CACHE_L3_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { MP__L3_KEY_BYTES = 32, MP__L3_KEYS_MAX = 16 };

typedef struct mp__l3_key mp__l3_key;
typedef struct mp__l3_keys mp__l3_keys;

/* From text: a key a line (or after a comma), 64 hexadecimal digits, the newest first; lines that
 * begin with # say nothing. MP_EINVAL with the line in @diag, which never has any of a key. */
MP_MUST_USE int mp__l3_keys_parse(mp_str text, mp__l3_keys **ret_keys, mp__diag *diag);
mp__l3_keys *mp__l3_keys_free(mp__l3_keys *keys);             /* accepts NULL, returns NULL */
const mp__l3_key *mp__l3_keys_first(const mp__l3_keys *keys); /* NULL for NULL */
const mp__l3_key *mp__l3_keys_find(const mp__l3_keys *keys, uint64_t id); /* or NULL */
/* A name of the key from which it cannot be told; never 0. */
uint64_t mp__l3_key_id(const mp__l3_key *key);

/* In place; @tail gets a random nonce of 24 bytes and the tag of 16. */
void mp__l3_key_encrypt(const mp__l3_key *key, unsigned char *data, size_t size,
                        const unsigned char *along, size_t along_size, unsigned char *tail);
/* In place. False: it was not written so, with this key; then nothing is changed. */
bool mp__l3_key_decrypt(const mp__l3_key *key, unsigned char *data, size_t size,
                        const unsigned char *along, size_t along_size, const unsigned char *tail);

#endif
