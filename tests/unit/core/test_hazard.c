/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <marketprism/cache.h>

#include "core/alloc.h"
#include "core/hazard.h"

typedef struct thing {
    mp__retired retired;
    int value;
    size_t bytes; /* that it is retired with */
} thing;

static _Atomic size_t freed;

static size_t thing_free(mp__retired *retired)
{
    size_t bytes = ((thing *)retired)->bytes;

    atomic_fetch_add(&freed, 1);
    (void)mp__free(retired);
    return bytes;
}

static thing *thing_new(int value)
{
    thing *t = mp__calloc(1, sizeof(*t));

    assert_non_null(t);
    t->value = value;
    t->bytes = sizeof(*t);
    t->retired.pointer = t;
    t->retired.free_fn = thing_free;
    return t;
}

static void retire(thing *t, size_t bytes)
{
    t->bytes = bytes;
    mp__hazard_retire(&t->retired, bytes);
}

static void announce(thing *t)
{
    mp__hazard_record *record = mp__hazard_mine;

    atomic_store(mp__hazard_slot(record, mp__hazard_used(record)), t);
    mp__hazard_take(record);
    mp__hazard_barrier(record);
}

static void what_is_announced_is_freed_only_after_the_section(void **state)
{
    thing *held = thing_new(1), *loose = thing_new(2);

    (void)state;
    atomic_store(&freed, 0);
    assert_int_equal(mp_read_begin(), 0);
    announce(held);
    mp__hazard_retire(&held->retired, sizeof(thing));
    mp__hazard_retire(&loose->retired, sizeof(thing));
    assert_int_equal(mp__hazard_flush(), 1);
    assert_int_equal(atomic_load(&freed), 1);
    assert_int_equal(held->value, 1); /* the address sanitizer would see it */
    mp_read_end();
    assert_int_equal(mp__hazard_flush(), 0);
    assert_int_equal(atomic_load(&freed), 2);
}

static void a_section_that_ends_announces_nothing_however_much_it_did(void **state)
{
    thing *things[MP_READ_HELD_MAX];

    (void)state;
    for (size_t count = 1; count <= MP_READ_HELD_MAX; count++) {
        assert_int_equal(mp_read_begin(), 0);
        for (size_t i = 0; i < count; i++) {
            things[i] = thing_new((int)i);
            announce(things[i]);
            mp__hazard_retire(&things[i]->retired, sizeof(thing));
        }
        assert_int_equal(mp__hazard_flush(), count);
        mp_read_end();
        for (size_t i = 0; i < MP__HAZARD_SLOTS; i++)
            assert_null(atomic_load(&mp__hazard_mine->slots[i]));
        assert_int_equal(mp__hazard_flush(), 0);
    }
}

static void an_inner_section_gives_nothing_back(void **state)
{
    thing *held = thing_new(1);

    (void)state;
    assert_int_equal(mp_read_begin(), 0);
    assert_int_equal(mp_read_begin(), 0);
    announce(held);
    mp_read_end();
    mp__hazard_retire(&held->retired, sizeof(thing));
    assert_int_equal(mp__hazard_flush(), 1);
    mp_read_end();
    mp_read_end(); /* one too many is no harm */
    assert_int_equal(mp__hazard_flush(), 0);
}

/* A reader that sleeps holds back what it announced and little else, however much is retired: few
 * large objects, and of small ones no more than they are worth. */
static void retire_beside_a_sleeper(size_t bytes)
{
    enum { RETIRED = 20000 };
    size_t of_one = bytes > MP__HAZARD_LEAST ? bytes : MP__HAZARD_LEAST;
    thing *held[MP_READ_HELD_MAX];

    (void)mp__hazard_flush();
    atomic_store(&freed, 0);
    assert_int_equal(mp_read_begin(), 0);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        held[i] = thing_new((int)i);
        announce(held[i]);
        retire(held[i], bytes);
    }
    for (size_t i = 0; i < RETIRED; i++) {
        retire(thing_new(0), bytes);
        mp__hazard_tidy();
        assert_true((i + 1 - atomic_load(&freed)) * of_one <=
                    3 * MP_READ_HELD_MAX * of_one + MP__HAZARD_ENOUGH);
    }
    assert_int_equal(mp__hazard_flush(), MP_READ_HELD_MAX);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++)
        assert_int_equal(held[i]->value, (int)i);
    mp_read_end();
    assert_int_equal(mp__hazard_flush(), 0);
}

static void a_sleeping_reader_holds_back_only_what_it_borrowed(void **state)
{
    (void)state;
    retire_beside_a_sleeper(sizeof(thing));
    retire_beside_a_sleeper(4096);
    retire_beside_a_sleeper(1024 * 1024);
}

/* What was freed together with what is held counts no more: neither does a large object let as much
 * again wait, nor do many small ones hide a large one that is held. */
static void what_is_held_counts_as_what_it_is(void **state)
{
    const size_t large = 64 * 1024 * 1024;
    thing *held = thing_new(1);

    (void)state;
    (void)mp__hazard_flush();
    atomic_store(&freed, 0);
    assert_int_equal(mp_read_begin(), 0);
    announce(held);
    retire(held, 4096);
    retire(thing_new(2), large);
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 1);
    retire(thing_new(3), MP__HAZARD_ENOUGH + 2 * 4096);
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 2);
    mp_read_end();
    assert_int_equal(mp__hazard_flush(), 0);
    atomic_store(&freed, 0);
    held = thing_new(4);
    assert_int_equal(mp_read_begin(), 0);
    announce(held);
    for (size_t i = 0; i < 100; i++)
        retire(thing_new(5), 1);
    retire(held, large);
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 100);
    retire(thing_new(6), large); /* no more than what is held: not worth a scan of it */
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 100);
    mp_read_end();
    assert_int_equal(mp__hazard_flush(), 0);
}

/* Where nobody reads, a large object waits for none. */
static void a_large_object_is_freed_at_once(void **state)
{
    (void)state;
    (void)mp__hazard_flush();
    atomic_store(&freed, 0);
    mp__hazard_retire(&thing_new(1)->retired, sizeof(thing));
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 0); /* a barrier of all threads for it alone: no */
    retire(thing_new(1), 1024 * 1024);
    mp__hazard_tidy();
    assert_int_equal(atomic_load(&freed), 2);
}

static bool fail_all(size_t size)
{
    (void)size;
    return true;
}

static void without_memory_nothing_is_freed_and_nothing_lost(void **state)
{
    (void)state;
    (void)mp__hazard_flush();
    atomic_store(&freed, 0);
    mp__hazard_retire(&thing_new(1)->retired, sizeof(thing));
    mp__alloc_fail_hook = fail_all;
    assert_int_equal(mp__hazard_flush(), 1);
    mp__alloc_fail_hook = NULL;
    assert_int_equal(atomic_load(&freed), 0);
    assert_int_equal(mp__hazard_flush(), 0);
    assert_int_equal(atomic_load(&freed), 1);
}

static void *begin_without_memory(void *context)
{
    mp__alloc_fail_hook = fail_all;
    *(int *)context = mp_read_begin();
    mp__alloc_fail_hook = NULL;
    mp_read_end();
    return NULL;
}

static void a_threads_first_section_can_be_refused_for_want_of_memory(void **state)
{
    pthread_t thread;
    int rc = 0;

    (void)state;
    assert_int_equal(mp_read_begin(), 0); /* this thread's record is not free to be adopted */
    assert_int_equal(pthread_create(&thread, NULL, begin_without_memory, &rc), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    mp_read_end();
    assert_int_equal(rc, MP_ENOMEM);
}

static void *open_and_leave(void *context)
{
    assert_int_equal(mp_read_begin(), 0);
    *(uint32_t *)context = mp__hazard_mine->index;
    mp_read_end();
    return NULL;
}

static void the_record_of_a_thread_that_ended_is_used_again(void **state)
{
    uint32_t highest = 0, index;

    (void)state;
    for (int i = 0; i < 500; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, open_and_leave, &index), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        highest = index > highest ? index : highest;
    }
    assert_true(highest < 8);
}

static thing *left_behind;

static void *leave_inside_a_section(void *context)
{
    (void)context;
    assert_int_equal(mp_read_begin(), 0);
    announce(left_behind);
    return NULL;
}

static void a_thread_that_ends_inside_a_section_holds_nothing(void **state)
{
    pthread_t thread;

    (void)state;
    left_behind = thing_new(1);
    assert_int_equal(pthread_create(&thread, NULL, leave_inside_a_section, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    mp__hazard_retire(&left_behind->retired, sizeof(thing));
    assert_int_equal(mp__hazard_flush(), 0);
}

/* ---- fork ---- */

static pthread_barrier_t both_ready, may_end;

static void *hold_while_forking(void *context)
{
    assert_int_equal(mp_read_begin(), 0);
    announce(context);
    pthread_barrier_wait(&both_ready);
    pthread_barrier_wait(&may_end);
    mp_read_end();
    return NULL;
}

static int child_main(thing *of_other, thing *mine)
{
    int bad = 0;

    mp__hazard_retire(&of_other->retired, sizeof(thing)); /* its reader does not exist here */
    mp__hazard_retire(&mine->retired, sizeof(thing));
    bad += mp__hazard_flush() != 1;
    bad += mine->value != 2;
    mp_read_end();
    bad += mp__hazard_flush() != 0;
    bad += mp_read_begin() != 0;
    mp_read_end();
    return bad;
}

static void a_child_keeps_its_own_announcements_and_drops_those_of_other_threads(void **state)
{
    thing *of_other = thing_new(1), *mine = thing_new(2);
    pthread_t thread;
    int status = -1;
    pid_t pid;

    (void)state;
    pthread_barrier_init(&both_ready, NULL, 2);
    pthread_barrier_init(&may_end, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hold_while_forking, of_other), 0);
    pthread_barrier_wait(&both_ready);
    assert_int_equal(mp_read_begin(), 0);
    announce(mine);
    pid = fork();
    if (pid == 0)
        _exit(child_main(of_other, mine));
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    mp__hazard_retire(&of_other->retired, sizeof(thing)); /* here it is still held */
    mp__hazard_retire(&mine->retired, sizeof(thing));
    assert_int_equal(mp__hazard_flush(), 2);
    mp_read_end();
    pthread_barrier_wait(&may_end);
    pthread_join(thread, NULL);
    assert_int_equal(mp__hazard_flush(), 0);
}

/* ---- many threads ---- */

enum { CELLS = 8, SWAPS = 20000 };

static _Atomic(thing *) cells[CELLS];
static _Atomic bool stop;

static void *read_cells(void *context)
{
    size_t wrong = 0;

    for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
        _Atomic(thing *) *cell = &cells[i % CELLS];
        mp__hazard_record *record;
        thing *t;

        if (mp_read_begin() != 0)
            break;
        record = mp__hazard_mine;
        do {
            t = atomic_load_explicit(cell, memory_order_acquire);
            atomic_store_explicit(mp__hazard_slot(record, mp__hazard_used(record)), t,
                                  memory_order_release);
            mp__hazard_barrier(record);
        } while (t != atomic_load_explicit(cell, memory_order_acquire));
        mp__hazard_take(record);
        wrong += t->value != (int)(i % CELLS);
        mp_read_end();
    }
    *(size_t *)context = wrong;
    return NULL;
}

static void readers_never_see_what_was_freed(void **state)
{
    pthread_t threads[2];
    size_t wrong[2];

    (void)state;
    for (int i = 0; i < CELLS; i++)
        atomic_store(&cells[i], thing_new(i));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_cells, &wrong[i]), 0);
    for (int i = 0; i < SWAPS; i++) {
        thing *old = atomic_exchange(&cells[i % CELLS], thing_new(i % CELLS));

        mp__hazard_retire(&old->retired, sizeof(thing));
        mp__hazard_tidy();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
    for (int i = 0; i < CELLS; i++)
        mp__hazard_retire(&atomic_load(&cells[i])->retired, sizeof(thing));
    assert_int_equal(mp__hazard_flush(), 0);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_threads_first_section_can_be_refused_for_want_of_memory),
    MP_TEST(what_is_announced_is_freed_only_after_the_section),
    MP_TEST(a_section_that_ends_announces_nothing_however_much_it_did),
    MP_TEST(an_inner_section_gives_nothing_back),
    MP_TEST(a_sleeping_reader_holds_back_only_what_it_borrowed),
    MP_TEST(what_is_held_counts_as_what_it_is),
    MP_TEST(a_large_object_is_freed_at_once),
    MP_TEST(without_memory_nothing_is_freed_and_nothing_lost),
    MP_TEST(the_record_of_a_thread_that_ended_is_used_again),
    MP_TEST(a_thread_that_ends_inside_a_section_holds_nothing),
    MP_TEST(a_child_keeps_its_own_announcements_and_drops_those_of_other_threads),
    MP_TEST(readers_never_see_what_was_freed),
};

MP_TEST_MAIN(tests)
