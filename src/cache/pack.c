/* SPDX-License-Identifier: Apache-2.0 */
/* A record as bytes for a place outside of this process, in the form that L3 writes. */
#include "cache/cache.h"
#include "cache/l3_format.h"

static mp__l3_seed seed_of(mp__hash_key secret)
{
    return (mp__l3_seed){.secret = secret};
}

size_t mp__cache_pack_size(const mp__record *record)
{
    return mp__l3_record_size(record);
}

void mp__cache_pack(const mp__record *record, mp__hash_key secret, unsigned char *out)
{
    mp__l3_seed seed = seed_of(secret);

    mp__l3_record_write(record, record->kind, 0, out);
    mp__l3_record_seal(out, &seed, 0, 0);
}

int mp__cache_unpack(const unsigned char *data, size_t size, mp__hash_key secret,
                     mp__record *ret_record)
{
    mp__l3_seed seed = seed_of(secret);
    mp__l3_found found;

    if (mp__l3_record_read(data, size, &seed, 0, &found) != 0 || found.damaged ||
        found.size != size || found.kind > MP__RECORD_ABSENT)
        return MP_ECORRUPT;
    *ret_record = found.record;
    return 0;
}
