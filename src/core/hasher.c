/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hasher.h"

bool mp__hasher_may_be_fast(void)
{
#ifdef MP__HASHER_WITH_AES
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
    return false;
#endif
}

/* Word @number of what is made of @secret, by SipHash as a pseudorandom function. */
static uint64_t derived(mp__hash_key secret, uint64_t number)
{
    unsigned char bytes[8];

    mp__store_le64(bytes, number);
    return mp__siphash13(secret, bytes, sizeof(bytes));
}

mp__hash_key mp__hasher_secret(mp__hash_key secret, bool is_fast)
{
    const uint64_t number = 2 * MP__HASHER_KEYS; /* none of the keys' */

    if (!is_fast)
        return secret;
    return (mp__hash_key){derived(secret, number), derived(secret, number + 1)};
}

void mp__hasher_init(mp__hasher *hasher, mp__hash_key secret, bool is_fast)
{
    *hasher = (mp__hasher){.sip = mp__hash_state_of(secret)};
#ifdef MP__HASHER_WITH_AES
    for (uint64_t i = 0; i < MP__HASHER_KEYS; i++) {
        uint64_t words[2] = {derived(secret, 2 * i), derived(secret, 2 * i + 1)};
        __m128i key;

        memcpy(&key, words, sizeof(key));
        if (i < MP__HASHER_ROUNDS)
            hasher->rounds[i] = key;
        else if (i == MP__HASHER_ROUNDS)
            hasher->size = key;
        else
            hasher->blocks[i - MP__HASHER_ROUNDS - 1] = key;
    }
    hasher->is_fast = is_fast;
#else
    (void)is_fast;
#endif
}
