/* SPDX-License-Identifier: Apache-2.0 */
/* L3 on a disk that loses power, tears and fails. Whatever happens, a read gives a value that was
 * put under that address, or none; within a process the newest, after a crash nothing older than
 * what was synced. */
#include "l3_test.h"

#include <errno.h>
#include <inttypes.h>

#include "mp_fail.h"

enum { SEGMENT = 64 << 10 };
#define ROOMY ((uint64_t)SEGMENT * 1000)
#define TIGHT ((uint64_t)SEGMENT * 6)

static uint64_t life;                 /* the seed */
static const mp__l3_keys *other_keys; /* that may take the place of l3_keys between two rounds */

/* ---- a model: what may be read ---- */

enum { ADDRESSES = 40, REVISIONS = 4000 };

typedef struct model {
    uint64_t newest[ADDRESSES];  /* accepted in this process's life; 0: none */
    uint64_t certain[ADDRESSES]; /* synced for sure */
    uint64_t highest[ADDRESSES]; /* ever put */
    uint64_t early[ADDRESSES];   /* put in this life before anything was read; 0: none */
    bool is_lost[ADDRESSES];     /* the newest was not taken: nothing may be read */
    bool absent[REVISIONS];      /* what was put at the revision */
    uint64_t revision;
} model;

static void address_of(unsigned i, char *address, size_t capacity)
{
    snprintf(address, capacity, "env/space/key-%u", i);
}

/* Long and short ones, from address and revision alone. */
static void value_of(unsigned i, uint64_t revision, char *value, size_t capacity)
{
    size_t n = (size_t)snprintf(value, capacity, "%u:%" PRIu64 ":", i, revision);
    size_t fill = (revision * 7919 + i * 31) % 700;

    for (size_t j = 0; j < fill && n + 1 < capacity; j++)
        value[n++] = (char)('a' + (revision + j) % 26);
    value[n] = '\0';
}

/* What the index has, without the disk; 0: nothing. */
static unsigned kept_kind(mp__l3 *l3, const char *address)
{
    uint64_t hash = l3_hash(l3, address);
    mp__l3_slot *slot = mp__l3_shard_find(mp__l3_index_shard(&l3->index, hash), hash);

    return slot ? mp__l3_slot_kind(slot) : 0;
}

static void model_put(model *m, mp__l3 *l3, unsigned i, bool absent)
{
    char address[64], value[1024];
    bool was_absent;
    int rc;

    address_of(i, address, sizeof(address));
    value_of(i, ++m->revision, value, sizeof(value));
    assert_true(m->revision < REVISIONS);
    m->absent[m->revision] = absent;
    was_absent = kept_kind(l3, address) == MP__RECORD_ABSENT;
    rc = l3_put(l3, address, absent ? NULL : value, m->revision);
    if (absent && rc == 0 && kept_kind(l3, address) == 0)
        return; /* nothing was there to bury */
    m->highest[i] = m->revision;
    if (absent && was_absent && rc == 0)
        return; /* it only holds longer now, which is not written */
    m->is_lost[i] = rc != 0;
    if (rc == 0)
        m->newest[i] = m->revision;
}

/* What is read is right, and not older than @least. Returns its revision, 0 when there is none. */
static uint64_t model_read(const model *m, mp__l3 *l3, unsigned i, uint64_t least)
{
    char address[64], value[1024];
    uint64_t revision = 0;
    const char *got;

    address_of(i, address, sizeof(address));
    got = l3_get_as(l3, address, &revision, false);
    if (strncmp(got, "MP_E", 4) == 0 || strcmp(got, "ENOMEM") == 0)
        return 0;
    if (revision < least || revision > m->highest[i])
        fail_msg("seed %" PRIu64 ", address %u: revision %" PRIu64 " is not in %" PRIu64
                 " to %" PRIu64,
                 life, i, revision, least, m->highest[i]);
    if (m->absent[revision]) {
        assert_string_equal(got, "-");
    } else {
        value_of(i, revision, value, sizeof(value));
        assert_string_equal(got, value);
    }
    return revision;
}

/* In the life of a process: exactly the newest, unless it was forgotten for want of space. */
static void model_check_alive(const model *m, mp__l3 *l3, bool may_forget)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        uint64_t got = model_read(m, l3, i, m->newest[i]);

        if (m->is_lost[i])
            assert_true(got == 0);
        else if (!may_forget && m->newest[i])
            assert_true(got >= m->newest[i]);
    }
}

/* After a crash: what was certain, or newer. */
static void model_check_crashed(model *m, mp__l3 *l3, bool may_forget)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        uint64_t least = m->early[i] > m->certain[i] ? m->early[i] : m->certain[i];
        uint64_t got = model_read(m, l3, i, least);

        if (m->is_lost[i] && m->early[i])
            assert_true(got == 0);
        else if (!may_forget && got < m->early[i])
            fail_msg("seed %" PRIu64 ", address %u: %" PRIu64
                     " was put before the index was whole, not %" PRIu64,
                     life, i, least, got);
        if (!may_forget && m->certain[i] && got < m->certain[i])
            fail_msg("seed %" PRIu64 ", address %u: %" PRIu64
                     " after a crash, certain was %" PRIu64,
                     life, i, got, m->certain[i]);
        /* a tombstone that was put twice holds longer, but only until a crash */
        m->newest[i] = got && m->early[i] ? m->early[i] : got;
        m->is_lost[i] = false;
    }
}

static void model_synced(model *m)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        m->certain[i] = m->newest[i];
        if (m->is_lost[i])
            m->certain[i] = 0;
    }
}

/* Puts while nothing of what is on disk is in the index yet. */
static void model_put_early(model *m, mp_platter *disk, mp__l3 *l3)
{
    memset(m->early, 0, sizeof(m->early));
    memset(m->newest, 0, sizeof(m->newest)); /* it is to be read again */
    memset(m->is_lost, 0, sizeof(m->is_lost));
    for (uint64_t n = l3_is_lazy ? mp_platter_random(disk, 20) : 0; n; n--) {
        unsigned i = (unsigned)mp_platter_random(disk, ADDRESSES);

        model_put(m, l3, i, mp_platter_random(disk, 4) == 0);
        m->early[i] = m->is_lost[i] ? m->revision : m->newest[i];
    }
}

/* ---- lives of a disk, from a seed ---- */

static void step(mp_platter *disk, mp__l3 *l3, model *m)
{
    switch (mp_platter_random(disk, 12)) {
    case 0:
        model_put(m, l3, (unsigned)mp_platter_random(disk, ADDRESSES), true);
        break;
    case 1:
        mp_platter_turn(disk, mp_platter_random(disk, 1500));
        mp_platter_run(disk, true);
        break;
    case 2:
        mp_platter_run(disk, false);
        break;
    case 3:
        (void)model_read(m, l3, (unsigned)mp_platter_random(disk, ADDRESSES), 0);
        break;
    case 4:
        if (mp__l3_flush(l3) == 0)
            model_synced(m);
        break;
    default:
        model_put(m, l3, (unsigned)mp_platter_random(disk, ADDRESSES), false);
    }
}

static void fault(mp_platter *disk)
{
    static const unsigned calls[] = {MP_PLATTER_WRITE, MP_PLATTER_SYNC,     MP_PLATTER_OPEN,
                                     MP_PLATTER_NAME,  MP_PLATTER_SYNC_DIR, MP_PLATTER_TRUNCATE,
                                     MP_PLATTER_READ,  MP_PLATTER_ANY};
    static const int errors[] = {-EIO, -ENOSPC, -EIO, -EROFS};

    unsigned call = calls[mp_platter_random(disk, 8)];
    size_t nth = 1 + mp_platter_random(disk, 20), count = 1 + mp_platter_random(disk, 5);
    int error = errors[mp_platter_random(disk, 4)];

    if (mp_platter_random(disk, 3) == 0)
        mp_platter_fail(disk, call, nth, count, error);
}

static void live(uint64_t seed, uint64_t bytes_max, bool faults)
{
    mp_platter *disk = mp_platter_new(seed);
    model *m = calloc(1, sizeof(*m));
    bool may_forget = bytes_max != ROOMY || faults;

    for (int round = 0; round < 12; round++) {
        const mp__l3_keys *keys = l3_keys;
        mp__l3 *l3;
        unsigned steps = (unsigned)mp_platter_random(disk, 250);

        if (other_keys && mp_platter_random(disk, 3) == 0) {
            l3_keys = other_keys;
            other_keys = keys;
        }
        l3_is_lazy = mp_platter_random(disk, 2);
        l3 = l3_open(disk, bytes_max, SEGMENT);
        model_put_early(m, disk, l3);
        model_check_crashed(m, l3, may_forget);
        for (unsigned i = 0; i < steps; i++) {
            if (faults && i % 16 == 0)
                fault(disk);
            step(disk, l3, m);
            if (i % 50 == 0 && !faults)
                model_check_alive(m, l3, may_forget);
        }
        mp_platter_fail(disk, 0, 0, 0, 0);
        model_check_alive(m, l3, may_forget);
        assert_true(mp_platter_used(disk) <= bytes_max + (1 << 10));
        mp_platter_power_off(disk, (enum mp_platter_crash)mp_platter_random(disk, 3));
        l3 = mp__l3_free(l3);
        mp_platter_power_on(disk);
    }
    free(m);
    mp_platter_free(disk);
}

/* As many lives as MP_SEEDS says; few by default. The seed of a life that fails is in its message.
 */
static void lives(uint64_t first, uint64_t bytes_max, bool faults)
{
    const char *text = getenv("MP_SEEDS");
    uint64_t count = text ? strtoull(text, NULL, 10) : 40;

    l3_scrub_rate = 16 << 10;
    for (life = first; life < first + count; life++)
        live(life, bytes_max, faults);
}

static void what_was_synced_survives_any_crash(void **state)
{
    (void)state;
    lives(1000000, ROOMY, false);
}

static void no_old_value_comes_back_where_room_is_scarce(void **state)
{
    (void)state;
    lives(2000000, TIGHT, false);
}

static void failing_calls_never_bring_a_wrong_or_an_older_value(void **state)
{
    (void)state;
    lives(3000000, ROOMY, true);
    lives(4000000, TIGHT, true);
}

#define KEY_1 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_2 "a0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* The same lives where every record is sealed, and the newest key is now this one and now that. */
static void sealing_loses_nothing_and_brings_nothing_back(void **state)
{
    mp__l3_keys *one = NULL, *two = NULL;

    (void)state;
    assert_int_equal(mp__l3_keys_parse(MP_STR(KEY_1 "\n" KEY_2), &one, NULL), 0);
    assert_int_equal(mp__l3_keys_parse(MP_STR(KEY_2 "\n" KEY_1), &two, NULL), 0);
    l3_keys = one;
    other_keys = two;
    lives(5000000, ROOMY, false);
    lives(6000000, TIGHT, false);
    lives(7000000, ROOMY, true);
    lives(8000000, TIGHT, true);
    l3_keys = other_keys = NULL;
    mp__l3_keys_free(one);
    mp__l3_keys_free(two);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_was_synced_survives_any_crash),
    MP_TEST(no_old_value_comes_back_where_room_is_scarce),
    MP_TEST(failing_calls_never_bring_a_wrong_or_an_older_value),
    MP_TEST(sealing_loses_nothing_and_brings_nothing_back),
};

MP_TEST_MAIN(tests)
