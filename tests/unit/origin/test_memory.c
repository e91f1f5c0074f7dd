/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at every single allocation, ours and SQLite's: every request is answered,
 * with what is right or with an error, and nothing is half done. */
#include "mp_origin.h"

#include <sqlite3.h>
#include <stdatomic.h>

#include "core/core.h"
#include "mp_disk.h"
#include "mp_fail.h"

static mp__origin *origin;
static mp_disk *disk;

/* ---- SQLite's allocations ---- */

static sqlite3_mem_methods real_memory;
static _Atomic size_t sqlite_left; /* as mp_fail_left */

static bool sqlite_fails(void)
{
    return atomic_load(&sqlite_left) > 0 && atomic_fetch_sub(&sqlite_left, 1) == 1;
}

static void *sqlite_malloc(int size)
{
    return sqlite_fails() ? NULL : real_memory.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
    return sqlite_fails() ? NULL : real_memory.xRealloc(old, size);
}

static int hook_sqlite(void **state)
{
    sqlite3_mem_methods hooked;

    (void)state;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
        return -1;
    hooked = real_memory;
    hooked.xMalloc = sqlite_malloc;
    hooked.xRealloc = sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &hooked) == SQLITE_OK ? 0 : -1;
}

/* Whose n-th allocation is to fail. */
enum whose { OURS, SQLITES };

static void fail_begin(enum whose whose, size_t n)
{
    if (whose == OURS)
        mp_fail_begin(n);
    else
        atomic_store(&sqlite_left, n);
}

static bool fail_end(enum whose whose)
{
    bool failed = atomic_load(&sqlite_left) == 0;

    atomic_store(&sqlite_left, 0);
    return whose == OURS ? mp_fail_end() : failed;
}

static size_t step(enum whose whose)
{
    return whose == OURS || getenv("MP_THOROUGH") ? 1 : 23;
}

/* ---- the promises ---- */

static int open_here(void)
{
    mp__origin_options options = {
        .env = &disk->env, .path = "/data/origin.db", .probe_ms = 3600000, .sweep_ms = 3600000};

    origin = NULL;
    return mp__origin_open("sqlite", &options, &origin, NULL);
}

static void opening_without_memory(enum whose whose)
{
    size_t n;

    for (n = 1;; n += step(whose)) {
        bool failed;
        int rc;

        disk = mp_disk_new(1);
        fail_begin(whose, n);
        rc = open_here();
        failed = fail_end(whose);
        if (rc)
            assert_int_equal(rc, MP_ENOMEM);
        origin = mp__origin_close(origin);
        /* and with memory it opens what was left, whole */
        assert_int_equal(open_here(), 0);
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
        origin = mp__origin_close(origin);
        disk = mp_disk_free(disk);
        if (!failed)
            break;
    }
    print_message("# opening: %zu allocations\n", n - 1);
}

static void opening_fails_for_want_of_memory_and_works_afterwards(void **state)
{
    (void)state;
    opening_without_memory(OURS);
    opening_without_memory(SQLITES);
}

/* All kinds of requests once. Returns whether all were answered with success. */
static bool ask_everything(int round, bool *ret_written)
{
    static mp_listed l;
    static mp_got got;
    mp_put put;
    char value[32];
    bool well = true;

    snprintf(value, sizeof(value), "%d", round);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", value, MP__WANT_OLD);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", value, 0);
    mp_put_add(&put, MP__CHANGE_ROLLBACK, "dev/default/fixed", NULL, 0)->to_revision = 1;
    *ret_written = mp_put_run(origin, &put) == 0;
    well &= *ret_written;
    well &= mp_get(origin, "dev/default/a", &got) == 0;
    for (int by_key = 0; by_key < 2; by_key++)
        well &= mp_ls(origin, "dev", "", 10, by_key, &l) == 0;
    well &= mp_ls(origin, "", "", 10, false, &l) == 0;
    well &= mp_hist(origin, "dev/default/fixed", 0, 5, &l) == 0;
    return well;
}

static void asking_without_memory(enum whose whose)
{
    static mp_got a, b;
    char last[32] = "none";
    size_t n;

    disk = mp_disk_new(1);
    assert_int_equal(open_here(), 0);
    assert_int_equal(mp_set(origin, "dev/default/fixed", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", last), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", last), 0);
    for (n = 1;; n += step(whose)) {
        bool failed, well, written;

        fail_begin(whose, n);
        well = ask_everything((int)n, &written);
        failed = fail_end(whose);
        if (written)
            snprintf(last, sizeof(last), "%d", (int)n);
        /* all or nothing, and as it was said */
        assert_int_equal(mp_get(origin, "dev/default/a", &a), 0);
        assert_int_equal(mp_get(origin, "dev/default/b", &b), 0);
        assert_string_equal(a.value, last);
        assert_string_equal(b.value, last);
        if (!failed) {
            assert_true(well);
            break;
        }
    }
    print_message("# asking: %zu allocations\n", n - 1);
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    origin = mp__origin_close(origin);
    disk = mp_disk_free(disk);
}

static void requests_without_memory_are_answered_and_leave_nothing_half_done(void **state)
{
    (void)state;
    asking_without_memory(OURS);
    asking_without_memory(SQLITES);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(opening_fails_for_want_of_memory_and_works_afterwards),
    MP_TEST(requests_without_memory_are_answered_and_leave_nothing_half_done),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, hook_sqlite, NULL);
}
