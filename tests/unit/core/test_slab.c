/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <pthread.h>
#include <sys/mman.h>

#include "core/alloc.h"
#include "core/slab.h"

enum { SPAN = 64 * 1024, REGION = 2 * 1024 * 1024 };

static mp__slab *slab_new(size_t limit)
{
    mp__slab *slab = NULL;

    assert_int_equal(mp__slab_new(limit, &slab), 0);
    return slab;
}

static void an_object_is_as_large_as_asked_for_and_aligned(void **state)
{
    static const size_t sizes[] = {0,    1,    63,   64,    65,    1024,  1025,  1280,   1281,
                                   2048, 2049, 8191, 16000, 16368, 16369, 65536, 100000, 1 << 20};
    mp__slab *slab = slab_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *object = mp__slab_alloc(slab, sizes[i]);

        assert_non_null(object);
        assert_int_equal((uintptr_t)object % 64, 0);
        memset(object, 0xa5, sizes[i]); /* the address sanitizer watches the bounds */
        assert_true(mp__slab_round(sizes[i]) >= sizes[i]);
        assert_true(mp__slab_used_bytes(slab) == mp__slab_round(sizes[i]));
        mp__slab_free(object);
        assert_int_equal(mp__slab_used_bytes(slab), 0);
    }
    slab = mp__slab_close(slab);
}

static void rounding_never_wastes_more_than_a_quarter_above_a_line(void **state)
{
    (void)state;
    for (size_t size = 65; size < 16000; size++) {
        assert_true(mp__slab_round(size) >= size);
        assert_true(mp__slab_round(size) <= size + (size / 4 > 64 ? size / 4 : 64));
        assert_true(mp__slab_round(size) <= mp__slab_round(size + 1));
    }
}

static void objects_do_not_overlap(void **state)
{
    enum { COUNT = 3000 };
    static unsigned char *objects[COUNT];
    mp__slab *slab = slab_new(0);

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        objects[i] = mp__slab_alloc(slab, (size_t)(i % 700) + 1);
        memset(objects[i], i & 0xff, (size_t)(i % 700) + 1);
    }
    for (int i = 0; i < COUNT; i += 2) {
        mp__slab_free(objects[i]);
        objects[i] = mp__slab_alloc(slab, (size_t)(i % 700) + 1);
        memset(objects[i], i & 0xff, (size_t)(i % 700) + 1);
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j <= i % 700; j++)
            assert_int_equal(objects[i][j], i & 0xff);
        mp__slab_free(objects[i]);
    }
    slab = mp__slab_close(slab);
}

/* Fill @slab with objects of @size until it refuses; they are linked through their first bytes. */
static size_t fill(mp__slab *slab, size_t size, void **ret_first)
{
    size_t count = 0;
    void *object;

    *ret_first = NULL;
    while ((object = mp__slab_alloc(slab, size))) {
        memcpy(object, ret_first, sizeof(void *));
        *ret_first = object;
        count++;
    }
    return count;
}

static void free_list(void *first)
{
    while (first) {
        void *next;

        memcpy(&next, first, sizeof(next));
        mp__slab_free(first);
        first = next;
    }
}

static void the_limit_holds_to_the_page(void **state)
{
    static const size_t limits[] = {0x10000, 0x2ffff, 0x100000, 0x980000, 0x1010000};
    static const size_t sizes[] = {64, 200, 1000, 5000, 16000, 40000, 300000};
    void *first;

    (void)state;
    for (size_t l = 0; l < 5; l++)
        for (size_t s = 0; s < 7; s++) {
            mp__slab *slab = slab_new(limits[l]);
            size_t count = fill(slab, sizes[s], &first);

            assert_true(mp__slab_pages_bytes(slab) <= limits[l]);
            /* and it is used: what is missing is less than a span and an object's rounding */
            if (sizes[s] < 16000)
                assert_true(count * mp__slab_round(sizes[s]) + SPAN +
                                SPAN / 8 * (limits[l] / SPAN) >
                            limits[l] / SPAN * SPAN);
            free_list(first);
            slab = mp__slab_close(slab);
        }
}

static void what_is_freed_serves_every_size_again(void **state)
{
    mp__slab *slab = slab_new(8 * REGION);
    void *first;
    size_t small, large;

    (void)state;
    for (int round = 0; round < 3; round++) {
        small = fill(slab, 300, &first);
        assert_true(small > 40000);
        free_list(first);
        large = fill(slab, 300000, &first);
        assert_true(large >= 8 * REGION / 320000 - 8);
        assert_true(mp__slab_pages_bytes(slab) <= 8 * REGION);
        free_list(first);
        assert_int_equal(mp__slab_used_bytes(slab), 0);
    }
    slab = mp__slab_close(slab);
}

static void a_lower_limit_gives_idle_pages_back(void **state)
{
    mp__slab *slab = slab_new(16 * REGION);
    void *first, *kept = mp__slab_alloc(slab, 100);

    (void)state;
    assert_true(fill(slab, 1000, &first) > 20000);
    mp__slab_limit_set(slab, 4 * SPAN);
    assert_null(mp__slab_alloc(slab, 2000)); /* everything is in use and far over the limit */
    free_list(first);
    assert_true(mp__slab_pages_bytes(slab) <= 4 * SPAN);
    assert_non_null(kept);
    mp__slab_free(kept);
    mp__slab_limit_set(slab, 0);
    assert_non_null(kept = mp__slab_alloc(slab, 1 << 20)); /* no limit again */
    mp__slab_free(kept);
    slab = mp__slab_close(slab);
}

/* Linux 6.1; not in every header yet. */
enum { COLLAPSE = 25 };

/* The system must not be able to fill with a huge page what was given back of a region, which it
 * does by itself after some seconds where it may. */
static void what_a_region_gave_back_is_not_filled_again(void **state)
{
    enum { COUNT = 8 * REGION / SPAN };
    static void *objects[COUNT * 4];
    mp__slab *slab = slab_new(0);
    uintptr_t base;
    size_t held;

    (void)state;
    for (size_t i = 0; i < COUNT * 4; i++) {
        objects[i] = mp__slab_alloc(slab, 15 * 1024); /* four a span */
        assert_non_null(objects[i]);
        memset(objects[i], 1, 15 * 1024);
    }
    base = (uintptr_t)objects[COUNT * 4 - 1] & ~(uintptr_t)(REGION - 1);
    for (size_t i = 0; i < COUNT * 4; i++)
        if (i % 64 != 63) { /* one in sixteen spans stays */
            mp__slab_free(objects[i]);
            objects[i] = NULL;
        }
    mp__slab_limit_set(slab, 1); /* the idle ones, too */
    held = mp__slab_pages_bytes(slab);
    assert_true(held < (size_t)COUNT * SPAN / 2);
    assert_int_equal(madvise((void *)base, REGION, COLLAPSE), -1);
    for (size_t i = 0; i < COUNT * 4; i++)
        if (objects[i])
            mp__slab_free(objects[i]);
    slab = mp__slab_close(slab);
}

static void a_closed_slab_lives_until_its_last_object_is_freed(void **state)
{
    mp__slab *slab = slab_new(0);
    char *a = mp__slab_alloc(slab, 10), *b = mp__slab_alloc(slab, 100000);

    (void)state;
    slab = mp__slab_close(slab);
    memset(b, 1, 100000);
    mp__slab_free(b);
    memset(a, 1, 10);
    mp__slab_free(a); /* the leak sanitizer sees it if the slab stays */
    assert_null(slab);
    assert_null(mp__slab_close(NULL));
}

static void blocks_serve_again_and_do_not_overlap(void **state)
{
    mp__slab *slab = slab_new(0);
    unsigned char *blocks[MP__SLAB_BLOCKS + 1];

    (void)state;
    assert_int_equal(mp__slab_keep_blocks(slab), 0);
    assert_int_equal(mp__slab_used_bytes(slab), 0);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i <= MP__SLAB_BLOCKS;
             i++) { /* the last one finds none, and comes as else */
            blocks[i] = mp__slab_alloc(slab, MP__SLAB_BLOCK);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 64, 0);
            memset(blocks[i], i, MP__SLAB_BLOCK);
        }
        assert_int_equal(mp__slab_used_bytes(slab), (MP__SLAB_BLOCKS + 1) * MP__SLAB_BLOCK);
        for (int i = 0; i <= MP__SLAB_BLOCKS; i++) {
            for (int n = 0; n < MP__SLAB_BLOCK; n++)
                assert_int_equal(blocks[i][n], i);
            mp__slab_free(blocks[i]);
        }
        assert_int_equal(mp__slab_used_bytes(slab), 0);
    }
    slab = mp__slab_close(slab);
}

static void what_is_larger_than_a_block_comes_without_one(void **state)
{
    mp__slab *slab = slab_new(0);
    char *large;

    (void)state;
    assert_int_equal(mp__slab_keep_blocks(slab), 0);
    large = mp__slab_alloc(slab, MP__SLAB_BLOCK + 1);
    assert_int_equal(mp__slab_used_bytes(slab), mp__slab_round(MP__SLAB_BLOCK + 1));
    memset(large, 1, MP__SLAB_BLOCK + 1);
    mp__slab_free(large);
    slab = mp__slab_close(slab);
}

/* In each order the leak sanitizer sees it if the slab stays, and the address sanitizer if it goes
 * too early. */
static void a_closed_slab_lives_until_its_last_block_is_freed(void **state)
{
    static const unsigned char orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    enum { OTHER = 100000 };

    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        mp__slab *slab = slab_new(0);
        char *objects[3];

        assert_int_equal(mp__slab_keep_blocks(slab), 0);
        objects[0] = mp__slab_alloc(slab, 10);
        objects[1] = mp__slab_alloc(slab, 10);
        objects[2] = mp__slab_alloc(slab, OTHER);
        (void)mp__slab_close(slab);
        for (int n = 0; n < 3; n++) {
            memset(objects[orders[i][n]], 1, orders[i][n] == 2 ? OTHER : 10);
            mp__slab_free(objects[orders[i][n]]);
        }
    }
}

static void without_memory_for_blocks_a_slab_does_without(void **state)
{
    mp__slab *slab = slab_new(1); /* not even one span */

    (void)state;
    assert_int_equal(mp__slab_keep_blocks(slab), MP_ENOMEM);
    assert_null(mp__slab_alloc(slab, 10));
    slab = mp__slab_close(slab);
}

typedef struct taking {
    mp__slab *slab;
    unsigned char mark;
    bool is_wrong;
} taking;

static void *take_and_give(void *argument)
{
    enum { TURNS = 20000, HELD = 12 };
    taking *t = argument;
    unsigned char *held[HELD] = {0};

    for (size_t i = 0; i < TURNS; i++) {
        unsigned char **one = &held[i * 7 % HELD];

        if (*one) {
            t->is_wrong = t->is_wrong || (*one)[0] != t->mark || (*one)[99] != t->mark;
            mp__slab_free(*one);
        }
        *one = mp__slab_alloc(t->slab, 100);
        memset(*one, t->mark, 100);
    }
    for (size_t i = 0; i < HELD; i++)
        mp__slab_free(held[i]);
    return NULL;
}

static void no_two_threads_have_the_same_block(void **state)
{
    enum { THREADS = 4 }; /* more together than there are */
    mp__slab *slab = slab_new(0);
    taking all[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(mp__slab_keep_blocks(slab), 0);
    for (int i = 0; i < THREADS; i++) {
        all[i] = (taking){.slab = slab, .mark = (unsigned char)(i + 1)};
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &all[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(all[i].is_wrong);
    }
    assert_int_equal(mp__slab_used_bytes(slab), 0);
    slab = mp__slab_close(slab);
}

typedef struct seen {
    unsigned char *objects[1100];
    size_t count;
} seen;

/* The same place in each object would otherwise meet in a part of the processor's caches: of 384
 * bytes, six lines, in half of it. */
static void objects_of_a_size_begin_at_all_lines_of_a_page_alike(void **state)
{
    enum { COUNT = 16 * 1024, LINES = 64 };
    static const size_t sizes[] = {64, 128, 256, 320, 384, 512, 640, 768, 896, 1024};
    static void *objects[COUNT];
    mp__slab *slab = slab_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned begin[LINES] = {0};

        for (size_t n = 0; n < COUNT; n++) {
            objects[n] = mp__slab_alloc(slab, sizes[i]);
            assert_non_null(objects[n]);
            begin[(uintptr_t)objects[n] / 64 % LINES]++;
        }
        for (size_t line = 0; line < LINES; line++) {
            assert_true(begin[line] > COUNT / LINES / 2);
            assert_true(begin[line] < COUNT / LINES * 2);
        }
        for (size_t n = 0; n < COUNT; n++)
            mp__slab_free(objects[n]);
    }
    slab = mp__slab_close(slab);
}

static void see(void *context, void *object)
{
    seen *s = context;

    s->objects[s->count++] = object;
}

static void exactly_the_living_are_beside_each_other(void **state)
{
    enum { COUNT = 2000 };
    static unsigned char *objects[COUNT];
    static const size_t sizes[] = {60, 300, 5000, 100000};
    mp__slab *slab = slab_new(0);

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        size_t count = sizes[s] > 10000 ? 3 : COUNT, living = 0;
        static seen around;

        for (size_t i = 0; i < count; i++) {
            objects[i] = mp__slab_alloc(slab, sizes[s]);
            objects[i][0] = 'l';
        }
        for (size_t i = 1; i < count; i += 3) {
            mp__slab_free(objects[i]);
            objects[i] = NULL;
        }
        around.count = 0;
        mp__slab_each_beside(slab, objects[0], see, &around);
        for (size_t i = 0; i < around.count; i++)
            assert_int_equal(around.objects[i][0], 'l');
        for (size_t i = 0; i < count; i++)
            living += objects[i] && (uintptr_t)objects[i] / SPAN == (uintptr_t)objects[0] / SPAN;
        assert_int_equal(around.count, living);
        for (size_t i = 0; i < count; i++)
            if (objects[i])
                mp__slab_free(objects[i]);
    }
    slab = mp__slab_close(slab);
}

static int fail_at;

static bool fail_nth(size_t size)
{
    (void)size;
    return fail_at && --fail_at == 0;
}

static void every_failing_allocation_leaves_the_slab_whole(void **state)
{
    int n, refused = 0;

    (void)state;
    for (n = 1; n < 200; n++) {
        mp__slab *slab = NULL;
        void *first = NULL;

        fail_at = n;
        mp__alloc_fail_hook = fail_nth;
        if (mp__slab_new(0, &slab) != 0) {
            mp__alloc_fail_hook = NULL;
            assert_null(slab);
            refused++;
            continue;
        }
        for (int i = 0; i < 800; i++) { /* more than 6 MiB, so that regions come too */
            void *object = mp__slab_alloc(slab, i % 100 ? 8000 : 70000);

            if (!object) {
                refused++;
                continue;
            }
            memcpy(object, &first, sizeof(first));
            first = object;
        }
        mp__alloc_fail_hook = NULL;
        free_list(first);
        assert_int_equal(mp__slab_used_bytes(slab), 0);
        slab = mp__slab_close(slab);
        if (fail_at > 0) /* it never came to that many */
            break;
    }
    assert_true(n > 10 && n < 200);
    assert_true(refused > 10);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(an_object_is_as_large_as_asked_for_and_aligned),
    MP_TEST(rounding_never_wastes_more_than_a_quarter_above_a_line),
    MP_TEST(objects_do_not_overlap),
    MP_TEST(the_limit_holds_to_the_page),
    MP_TEST(what_is_freed_serves_every_size_again),
    MP_TEST(a_lower_limit_gives_idle_pages_back),
    MP_TEST(what_a_region_gave_back_is_not_filled_again),
    MP_TEST(a_closed_slab_lives_until_its_last_object_is_freed),
    MP_TEST(blocks_serve_again_and_do_not_overlap),
    MP_TEST(what_is_larger_than_a_block_comes_without_one),
    MP_TEST(a_closed_slab_lives_until_its_last_block_is_freed),
    MP_TEST(without_memory_for_blocks_a_slab_does_without),
    MP_TEST(no_two_threads_have_the_same_block),
    MP_TEST(objects_of_a_size_begin_at_all_lines_of_a_page_alike),
    MP_TEST(exactly_the_living_are_beside_each_other),
    MP_TEST(every_failing_allocation_leaves_the_slab_whole),
};

MP_TEST_MAIN(tests)
