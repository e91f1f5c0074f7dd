/* SPDX-License-Identifier: Apache-2.0 */
/* L3 over damaged files: every bit flipped, every length cut, files that are none of ours. */
#include "l3_test.h"

enum { SEGMENT = 64 << 10, ADDRESSES = 5, OLD = 2, RECORDS = ADDRESSES + OLD };
#define BYTES_MAX ((uint64_t)SEGMENT * 16)

/* ---- a small segment, byte by byte ---- */

typedef struct small {
    unsigned char bytes[8192];
    size_t size;          /* of all of it */
    size_t ends[RECORDS]; /* of the records */
    unsigned char id[64]; /* of its folder */
    mp__l3_seed seed;
    mp__hasher hasher;
} small;

/* Records 0 and 1 are old values of the addresses 0 and 1, then come the newest of all. */
static unsigned address_number(unsigned record)
{
    return record < OLD ? record : record - OLD;
}

static void name_of(unsigned address, char *text, size_t capacity)
{
    snprintf(text, capacity, "env/space/a%u", address);
}

static void value_of(unsigned record, char *text, size_t capacity)
{
    snprintf(text, capacity, "value of record %u, revision %u", record, record + 1);
}

static uint32_t add_record(small *s, unsigned n, mp__l3_row *ret_row)
{
    char address[64], value[64];
    mp__record record = {.kind = MP__RECORD_VALUE, .revision = n + 1};
    uint32_t offset = (uint32_t)s->size;

    name_of(address_number(n), address, sizeof(address));
    value_of(n, value, sizeof(value));
    record.address = mp_str_of(address);
    record.value = mp_str_of(value);
    record.media_type = MP_STR("text/plain");
    mp__l3_record_write(&record, MP__RECORD_VALUE, 0, s->bytes + s->size);
    mp__l3_record_seal(s->bytes + s->size, &s->seed, offset, 0);
    *ret_row = (mp__l3_row){mp__hasher_hash(&s->hasher, record.address), record.revision,  offset,
                            (uint32_t)mp__l3_record_size(&record),       MP__RECORD_VALUE, 0};
    s->size += ret_row->size;
    s->ends[n] = s->size;
    return ret_row->size;
}

/* @sealed: with a footer; else with a mark, as after a sync. */
static small small_make(bool sealed)
{
    mp_platter *disk = mp_platter_new(7);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    mp__l3_segment_head head = {.number = 1};
    mp__l3_row rows[RECORDS];
    small s = {0};
    size_t size;

    memcpy(s.id, mp_platter_bytes(disk, L3_DIR "/l3.id", &size), sizeof(s.id));
    assert_int_equal(size, sizeof(s.id));
    memcpy(head.folder, l3->folder, sizeof(head.folder));
    head.secret = mp__l3_hash_key(l3);
    head.made_of = l3->secret;
    s.hasher = *mp__l3_hasher(l3);
    s.seed = (mp__l3_seed){head.secret, 1, NULL, head.made_of};
    mp__l3_free(l3);
    mp_platter_free(disk);
    mp__l3_head_write(&head, s.bytes);
    s.size = MP__L3_SEGMENT_HEAD;
    for (unsigned n = 0; n < RECORDS; n++)
        (void)add_record(&s, n, &rows[n]);
    if (sealed) {
        mp__l3_footer_write(rows, RECORDS, &s.seed, s.bytes + s.size);
        s.size += mp__l3_footer_size(RECORDS);
    } else {
        mp__l3_mark_write(&s.seed, (uint32_t)s.size, s.bytes + s.size);
        s.size += MP__L3_MARK_SIZE;
    }
    return s;
}

/* What a read of each address gives: the record's number, or -1 for none. */
static void read_all(const small *s, size_t size, int got[ADDRESSES])
{
    mp_platter *disk = mp_platter_new(7);
    mp__l3 *l3;

    mp_platter_put(disk, L3_DIR "/l3.id", s->id, sizeof(s->id));
    mp_platter_put(disk, L3_SEGMENT_1, s->bytes, size);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    for (unsigned a = 0; a < ADDRESSES; a++) {
        char address[64], value[64];
        const char *text;

        name_of(a, address, sizeof(address));
        text = l3_get(l3, address);
        got[a] = -1;
        for (unsigned n = 0; n < RECORDS; n++) {
            value_of(n, value, sizeof(value));
            if (address_number(n) == a && strcmp(text, value) == 0)
                got[a] = (int)n;
        }
        if (got[a] < 0 && strncmp(text, "MP_E", 4) != 0)
            fail_msg("a wrong value: %s", text);
    }
    mp__l3_free(l3);
    mp_platter_free(disk);
}

/* Which record the bit is in; -1 the head; RECORDS the footer or the mark. */
static int record_at(const small *s, size_t byte)
{
    if (byte < MP__L3_SEGMENT_HEAD)
        return -1;
    for (int n = 0; n < RECORDS; n++)
        if (byte < s->ends[n])
            return n;
    return RECORDS;
}

static void check_flip(const small *s, size_t byte, bool sealed, const int got[ADDRESSES])
{
    int hit = record_at(s, byte);

    for (int a = 0; a < ADDRESSES; a++) {
        int newest = a + OLD;

        if (hit != newest) /* also in the segment's head, which is mended */
            assert_int_equal(got[a], newest);
        else if (sealed)
            assert_int_equal(got[a], -1); /* the footer knows that it was there */
        else
            assert_true(got[a] == -1 || (a < OLD && got[a] == a));
    }
    /* behind head and address a flip leaves it known whose record it is: nothing older is given */
    if (!sealed && hit >= OLD && hit < RECORDS &&
        byte >= s->ends[hit - 1] + MP__L3_RECORD_HEAD + 16)
        assert_int_equal(got[hit - OLD], -1);
}

static void flip_all(bool sealed, bool is_lazy)
{
    small s = small_make(sealed);

    l3_is_lazy = is_lazy;
    for (size_t bit = 0; bit < s.size * 8; bit++) {
        int got[ADDRESSES];

        s.bytes[bit / 8] = (unsigned char)(s.bytes[bit / 8] ^ 1u << bit % 8);
        read_all(&s, s.size, got);
        check_flip(&s, bit / 8, sealed, got);
        s.bytes[bit / 8] = (unsigned char)(s.bytes[bit / 8] ^ 1u << bit % 8);
    }
    l3_is_lazy = false;
}

static void any_flipped_bit_costs_one_record(void **state)
{
    (void)state;
    flip_all(false, false);
}

static void any_flipped_bit_of_a_sealed_segment_costs_one_record_and_no_old_one_comes_back(void **s)
{
    (void)s;
    flip_all(true, false);
    flip_all(true, true);
}

/* From a processor without AES, or a version that did not use it. */
static void nor_does_one_where_the_footer_has_other_hashes(void **state)
{
    small s;

    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    l3_hashes_plainly = true;
    s = small_make(true);
    l3_hashes_plainly = false;
    for (size_t byte = MP__L3_SEGMENT_HEAD; byte < s.ends[RECORDS - 1]; byte++) {
        int got[ADDRESSES];

        s.bytes[byte] ^= 1;
        read_all(&s, s.size, got);
        check_flip(&s, byte, true, got);
        s.bytes[byte] ^= 1;
    }
}

static void cut_all(bool sealed)
{
    small s = small_make(sealed);

    for (size_t cut = 0; cut <= s.size; cut++) {
        int got[ADDRESSES];

        read_all(&s, cut, got);
        for (int a = 0; a < ADDRESSES; a++) {
            int want = cut >= s.ends[a + OLD] ? a + OLD : a < OLD && cut >= s.ends[a] ? a : -1;

            assert_int_equal(got[a], want);
        }
    }
}

static void a_file_cut_anywhere_keeps_what_stands_before_the_cut(void **state)
{
    (void)state;
    cut_all(false);
    cut_all(true);
    l3_is_lazy = true;
    cut_all(true);
    l3_is_lazy = false;
}

/* ---- what an attacker puts into a value ---- */

/* A value that is a whole record of another address, well made but for the secret, is not found by
 * the search behind the damaged record that carried it. */
static void a_record_inside_a_value_is_never_believed(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    unsigned char inner[512];
    mp__record forged = {.address = MP_STR("env/space/victim"),
                         .value = MP_STR("forged"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 99};
    mp__record outer = {
        .address = MP_STR("env/space/mine___"), .kind = MP__RECORD_VALUE, .revision = 5};
    size_t size = mp__l3_record_size(&forged), file_size;
    uint32_t offset = MP__L3_SEGMENT_HEAD + MP__L3_RECORD_HEAD + 24;
    mp__l3_seed guess = {{0, 0}, 1};
    char value[600];
    unsigned char *file;

    (void)state;
    mp__l3_record_write(&forged, MP__RECORD_VALUE, 0, inner);
    mp__l3_record_seal(inner, &guess, offset, 0);
    memset(value, ' ', sizeof(value));
    memcpy(value + 7, inner, size); /* address 17 + 7: aligned to 8 */
    outer.value = mp_str_new(value, sizeof(value));
    assert_int_equal(
        mp__l3_put(l3, mp__hasher_hash(mp__l3_hasher(l3), outer.address), &outer, false, 0, 0), 0);
    l3 = mp__l3_free(l3);
    file = mp_platter_bytes(disk, L3_SEGMENT_1, &file_size);
    assert_memory_equal(file + offset, inner, size);
    file[MP__L3_SEGMENT_HEAD + 4] ^= 8; /* the outer record's size */
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/victim"), "MP_EUNKNOWN");
    assert_string_equal(l3_get(l3, "env/space/mine___"), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- files that are none of ours ---- */

static void put_some(mp_platter *disk)
{
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    assert_int_equal(l3_put(l3, "env/space/a", "one", 1), 0);
    assert_int_equal(l3_put(l3, "env/space/b", "two", 2), 0);
    mp__l3_free(l3);
}

static void what_is_no_segment_is_set_aside_and_counted(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3;
    size_t size;

    (void)state;
    put_some(disk);
    mp_platter_put(disk, L3_DIR "/l3-0000000007.seg", "hello", 5);
    mp_platter_put(disk, L3_DIR "/l3-0000000008.seg", "", 0);
    mp_platter_put(disk, L3_DIR "/l3-9.txt", "leave me", 8);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/a"), "one");
    assert_int_equal(l3_stats(l3).corrupt, 2);
    assert_non_null(mp_platter_bytes(disk, L3_DIR "/l3-0000000007.seg.bad", &size));
    assert_int_equal(size, 5);
    assert_non_null(mp_platter_bytes(disk, L3_DIR "/l3-9.txt", &size));
    /* their numbers are not used again, so that nothing is written over */
    assert_int_equal(l3_put(l3, "env/space/c", "three", 3), 0);
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_true(l3->next_number > 8);
    assert_string_equal(l3_get(l3, "env/space/c"), "three");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_segment_of_another_folder_is_refused(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    small foreign = small_make(true);
    mp__l3 *l3;

    (void)state;
    put_some(disk);
    mp_platter_put(disk, L3_DIR "/l3-0000000001.seg.copy", foreign.bytes, foreign.size);
    mp_platter_put(disk, L3_SEGMENT_1, foreign.bytes, foreign.size);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/a1"), "MP_EUNKNOWN");
    assert_int_equal(l3_stats(l3).corrupt, 1);
    assert_int_equal(mp_platter_count(disk, ".bad"), 1);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_segment_under_another_number_is_refused(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    unsigned char copy[SEGMENT];
    unsigned char *file;
    mp__l3 *l3;
    size_t size;

    (void)state;
    put_some(disk);
    file = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    memcpy(copy, file, size);
    mp_platter_put(disk, L3_DIR "/l3-0000000005.seg", copy, size);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(l3_stats(l3).corrupt, 1);
    assert_string_equal(l3_get(l3, "env/space/a"), "one");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_damaged_or_missing_id_costs_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        mp_platter *disk = mp_platter_new(1);
        mp__hash_key key;
        mp__l3 *l3;
        size_t size;

        put_some(disk);
        memcpy(&key, mp_platter_bytes(disk, L3_DIR "/l3.id", &size) + 32, sizeof(key));
        if (kind == 0)
            mp_platter_bytes(disk, L3_DIR "/l3.id", &size)[40] ^= 1;
        else
            mp_platter_put(disk, L3_DIR "/l3.id", "", 0);
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        assert_memory_equal(&key, &l3->secret, sizeof(key));
        for (const mp__l3_segment *s = l3->segments; s; s = s->next)
            assert_true(s->is_ours);
        assert_string_equal(l3_get(l3, "env/space/a"), "one");
        assert_string_equal(l3_get(l3, "env/space/b"), "two");
        l3 = mp__l3_free(l3);
        mp_platter_free(disk);
    }
}

static void refused(mp_platter *disk)
{
    mp__diag diag = {0};
    mp__l3 *l3 = NULL;

    assert_int_equal(l3_try_open(mp_platter_env(disk), L3_DIR, BYTES_MAX, SEGMENT, &l3, &diag),
                     MP_EVERSION);
    assert_null(l3);
    assert_non_null(strstr(diag.text, "newer version"));
    assert_non_null(strstr(diag.text, "move the folder away"));
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    unsigned char *file;
    uint64_t sum;
    size_t size;

    (void)state;
    put_some(disk);
    file = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    file[8] = MP__L3_VERSION + 1;
    sum = mp__checksum(0, file, MP__L3_SEGMENT_HEAD - 8);
    memcpy(file + MP__L3_SEGMENT_HEAD - 8, &sum, 8);
    refused(disk);
    assert_non_null(mp_platter_bytes(disk, L3_SEGMENT_1, &size));
    file = mp_platter_bytes(disk, L3_DIR "/l3.id", &size);
    file[8]++;
    sum = mp__checksum(0, file, 56);
    memcpy(file + 56, &sum, 8);
    refused(disk);
    mp_platter_free(disk);
}

static void set_aside_files_are_bounded(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    static unsigned char junk[SEGMENT];
    mp__l3 *l3;

    (void)state;
    for (int i = 1; i < 20; i++) {
        char path[64];

        snprintf(path, sizeof(path), L3_DIR "/l3-%010d.seg.bad", i);
        mp_platter_put(disk, path, junk, sizeof(junk));
    }
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(mp_platter_count(disk, ".bad"), 2); /* an eighth of 16 */
    assert_int_equal(mp_platter_count(disk, "l3-0000000019.seg.bad"), 1);
    assert_int_equal(l3_stats(l3).bytes, 2 * SEGMENT);
    assert_int_equal(l3_stats(l3).forgotten, 17);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- damage that a read finds ---- */

static void what_a_read_finds_damaged_is_unknown_from_then_on_and_after_a_restart(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    unsigned char *file;
    size_t size, at;

    (void)state;
    assert_int_equal(l3_put(l3, "env/space/a", "the old one", 1), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_put(l3, "env/space/a", "the new one", 2), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    file = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    for (at = 0; memcmp(file + at, "the new one", 11) != 0; at++)
        assert_true(at + 11 < size);
    file[at] ^= 32;
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_ECORRUPT");
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    assert_int_equal(l3_stats(l3).corrupt, 1);
    assert_false(mp__l3_has(l3, MP_STR("env/space/a"), l3_hash(l3, "env/space/a")));
    /* an older revision does not take its place, the same one does */
    assert_int_equal(l3_put(l3, "env/space/a", "the old one", 1), 0);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    assert_int_equal(l3_put(l3, "env/space/a", "the new one", 2), 0);
    assert_string_equal(l3_get(l3, "env/space/a"), "the new one");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(any_flipped_bit_costs_one_record),
    MP_TEST(any_flipped_bit_of_a_sealed_segment_costs_one_record_and_no_old_one_comes_back),
    MP_TEST(nor_does_one_where_the_footer_has_other_hashes),
    MP_TEST(a_file_cut_anywhere_keeps_what_stands_before_the_cut),
    MP_TEST(a_record_inside_a_value_is_never_believed),
    MP_TEST(what_is_no_segment_is_set_aside_and_counted),
    MP_TEST(a_segment_of_another_folder_is_refused),
    MP_TEST(a_segment_under_another_number_is_refused),
    MP_TEST(a_damaged_or_missing_id_costs_nothing),
    MP_TEST(a_newer_version_is_refused_and_left_alone),
    MP_TEST(set_aside_files_are_bounded),
    MP_TEST(what_a_read_finds_damaged_is_unknown_from_then_on_and_after_a_restart),
};

MP_TEST_MAIN(tests)
