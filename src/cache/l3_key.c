/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3_key.h"

#include <sodium.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

enum {
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    DIGITS = 2 * MP__L3_KEY_BYTES,
};
_Static_assert(MP__L3_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "XChaCha20");

struct mp__l3_key {
    unsigned char bytes[MP__L3_KEY_BYTES];
    uint64_t id;
};

struct mp__l3_keys {
    mp__l3_key *keys; /* sodium_malloc() */
    size_t count;
};

/* ---- from text ---- */

/* The next line or item of *text, without blanks around it. */
static mp_str next_item(mp_str *text)
{
    const char *end = text->data + text->size, *at = text->data, *from, *to;

    while (at < end && *at != '\n' && *at != ',')
        at++;
    from = text->data;
    to = at;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
        to--;
    *text = at < end ? mp_str_new(at + 1, (size_t)(end - at) - 1) : mp_str_new(end, 0);
    return mp_str_new(from, (size_t)(to - from));
}

static bool key_parse(mp_str item, mp__l3_key *key)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    size_t size = 0;

    if (item.size != DIGITS ||
        sodium_hex2bin(key->bytes, sizeof(key->bytes), item.data, item.size, NULL, &size, NULL) !=
            0 ||
        size != sizeof(key->bytes))
        return false;
    (void)crypto_hash_sha256(hash, key->bytes, sizeof(key->bytes));
    key->id = mp__load_le64(hash);
    key->id += key->id == 0;
    sodium_memzero(hash, sizeof(hash));
    return true;
}

static int parse(mp_str text, mp__l3_keys *keys, mp__diag *diag)
{
    for (int line = 1; text.size; line++) {
        mp_str item = next_item(&text);

        if (item.size == 0 || item.data[0] == '#')
            continue;
        if (keys->count == MP__L3_KEYS_MAX)
            return mp__diag_at(diag, MP_EINVAL, line, 1, "there are more than %d keys",
                               MP__L3_KEYS_MAX);
        if (!key_parse(item, &keys->keys[keys->count]))
            return mp__diag_at(diag, MP_EINVAL, line, 1,
                               "a key of L3 is %d hexadecimal digits (openssl rand -hex 32)",
                               DIGITS);
        keys->count++;
    }
    if (keys->count == 0)
        return mp__diag_at(diag, MP_EINVAL, 1, 1, "there is no key of L3 (openssl rand -hex 32)");
    return 0;
}

int mp__l3_keys_parse(mp_str text, mp__l3_keys **ret_keys, mp__diag *diag)
{
    mp__l3_keys *keys = sodium_init() < 0 ? NULL : mp__calloc(1, sizeof(*keys));
    int rc;

    if (!keys)
        return MP_ENOMEM;
    keys->keys = sodium_allocarray(MP__L3_KEYS_MAX, sizeof(*keys->keys));
    rc = keys->keys ? parse(text, keys, diag) : MP_ENOMEM;
    if (rc) {
        (void)mp__l3_keys_free(keys);
        return rc;
    }
    (void)sodium_mprotect_readonly(keys->keys);
    *ret_keys = keys;
    return 0;
}

mp__l3_keys *mp__l3_keys_free(mp__l3_keys *keys)
{
    if (keys)
        sodium_free(keys->keys); /* zeroes them */
    return mp__free(keys);
}

const mp__l3_key *mp__l3_keys_first(const mp__l3_keys *keys)
{
    return keys ? &keys->keys[0] : NULL;
}

const mp__l3_key *mp__l3_keys_find(const mp__l3_keys *keys, uint64_t id)
{
    for (size_t i = 0; keys && i < keys->count; i++)
        if (keys->keys[i].id == id)
            return &keys->keys[i];
    return NULL;
}

uint64_t mp__l3_key_id(const mp__l3_key *key)
{
    return key->id;
}

/* ---- sealing ---- */

void mp__l3_key_encrypt(const mp__l3_key *key, unsigned char *data, size_t size,
                        const unsigned char *along, size_t along_size, unsigned char *tail)
{
    randombytes_buf(tail, NONCE); /* 192 bits: never the same one twice, wherever it stands */
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
        data, tail + NONCE, NULL, data, size, along, along_size, NULL, tail, key->bytes);
}

bool mp__l3_key_decrypt(const mp__l3_key *key, unsigned char *data, size_t size,
                        const unsigned char *along, size_t along_size, const unsigned char *tail)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
               data, NULL, data, size, tail + NONCE, along, along_size, tail, key->bytes) == 0;
}
