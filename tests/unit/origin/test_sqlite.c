/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"
#include "mp_origin.h"

#include <sched.h>
#include <sqlite3.h>

#include "core/core.h"
#include "origin/sqlite.h"

static char folder[32], path[64];
static mp__origin *origin;

static void open_with(mp__origin_options options)
{
    mp__diag diag = {0};
    int rc;

    options.env = mp__env_real();
    options.path = path;
    rc = mp__origin_open("sqlite", &options, &origin, &diag);
    if (rc)
        print_error("%s\n", diag.text);
    assert_int_equal(rc, 0);
}

static void reopen(void)
{
    origin = mp__origin_close(origin);
    open_with((mp__origin_options){0});
}

static int set_up(void **state)
{
    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    open_with((mp__origin_options){0});
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
}

static void an_unknown_kind_is_refused_with_the_known_ones(void **state)
{
    mp__origin *other = NULL;
    mp__diag diag = {0};
    mp__origin_options options = {.env = mp__env_real(), .path = path};

    (void)state;
    assert_int_equal(mp__origin_open("sqlit", &options, &other, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "did you mean 'sqlite'"));
    assert_int_equal(mp__origin_open("paper", &options, &other, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "there is: sqlite"));
    options.path = "";
    assert_int_equal(mp__origin_open("sqlite", &options, &other, &diag), MP_EINVAL);
    assert_null(other);
}

static void what_was_written_is_fetched_also_after_a_restart(void **state)
{
    mp_got got;
    mp_put put;
    mp__change *change;

    (void)state;
    mp_put_begin(&put);
    change = mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "one", 0);
    change->media_type = MP_STR("text/plain");
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_true(change->changed);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
        assert_string_equal(got.value, "one");
        assert_string_equal(got.media_type, "text/plain");
        assert_int_equal(got.record.kind, MP__RECORD_VALUE);
        assert_int_equal(got.record.revision, 1);
        assert_int_equal(got.record.created_revision, 1);
        assert_int_equal(got.record.version, 1);
        assert_int_equal(got.fetch.as_of, 1);
        reopen();
    }
}

static void what_nobody_wrote_is_absent_as_of_the_newest_revision(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), 0);
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(got.record.revision, 2);
}

static void every_change_has_the_next_revision(void **state)
{
    mp_put put;

    (void)state;
    mp_put_begin(&put);
    for (int i = 0; i < 3; i++)
        mp_put_add(&put, MP__CHANGE_PUT, i == 1 ? "dev/default/b" : "dev/default/a", "x", 0);
    mp_put_add(&put, MP__CHANGE_DELETE, "dev/default/b", NULL, 0);
    assert_int_equal(mp_put_run(origin, &put), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(put.changes[i].after.revision, i + 1);
    assert_int_equal(put.changes[2].after.version, 2);
    assert_int_equal(put.changes[3].after.kind, MP__RECORD_ABSENT);
}

static void an_empty_value_and_bytes_that_are_no_text_are_kept(void **state)
{
    mp_got got;
    mp_put put;

    (void)state;
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/empty", "", 0);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/k\xff\xfe", "", 0)->value =
        mp_str_new("\0\xff\0z", 4);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(mp_get(origin, "dev/default/empty", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_VALUE);
    assert_int_equal(got.record.value.size, 0);
    assert_int_equal(mp_get(origin, "dev/default/k\xff\xfe", &got), 0);
    assert_int_equal(got.record.value.size, 4);
    assert_memory_equal(got.record.value.data, "\0\xff\0z", 4);
}

static void an_unchanged_value_is_not_sent_again(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "one"), 0);
    assert_int_equal(mp_get_since(origin, "dev/default/a", 1, &got), 0);
    assert_true(got.fetch.unchanged);
    assert_int_equal(got.record.value.size, 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "two"), 0);
    assert_int_equal(mp_get_since(origin, "dev/default/a", 1, &got), 0);
    assert_false(got.fetch.unchanged);
    assert_string_equal(got.value, "two");
}

/* ---- conditions ---- */

static int put_if(unsigned flags, uint64_t if_revision, const char *value)
{
    mp_put put;

    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", value, flags)->if_revision = if_revision;
    return mp_put_run(origin, &put);
}

static void conditions_are_judged_against_what_is_there(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(put_if(MP__IF_PRESENT, 0, "x"), MP_EABSENT);
    assert_int_equal(put_if(MP__IF_REVISION, 7, "x"), MP_ECONFLICT);
    assert_int_equal(put_if(MP__IF_ABSENT, 0, "1"), 0);
    assert_int_equal(put_if(MP__IF_ABSENT, 0, "x"), MP_EEXISTS);
    assert_int_equal(put_if(MP__IF_PRESENT, 0, "2"), 0);
    assert_int_equal(put_if(MP__IF_REVISION, 1, "x"), MP_ECONFLICT);
    assert_int_equal(put_if(MP__IF_REVISION, 2, "3"), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "3");
    assert_int_equal(got.record.revision, 3);
    assert_int_equal(got.record.version, 3);
}

static void a_conditional_write_sees_those_queued_before_it(void **state)
{
    mp_put puts[8];
    int done = 0, conflicts = 0;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        mp_put_begin(&puts[i]);
        mp_put_add(&puts[i], MP__CHANGE_PUT, "dev/default/a", "x", MP__IF_ABSENT);
    }
    for (size_t i = 0; i < 8; i++)
        mp__origin_write(origin, &puts[i].write);
    for (size_t i = 0; i < 8; i++) {
        mp_wait_for(&puts[i].wait, 1);
        done += puts[i].status == 0;
        conflicts += puts[i].status == MP_EEXISTS;
    }
    assert_int_equal(done, 1);
    assert_int_equal(conflicts, 7);
    assert_int_equal(puts[0].status, 0);
}

static void a_write_of_several_changes_is_all_or_nothing(void **state)
{
    mp_got got;
    mp_put put;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "old"), 0);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "new", 0);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", "new", 0);
    mp_put_add(&put, MP__CHANGE_DELETE, "dev/default/none", NULL, 0);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "no", MP__IF_ABSENT);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/c", "new", 0);
    assert_int_equal(mp_put_run(origin, &put), MP_EEXISTS);
    for (size_t i = 0; i < 5; i++)
        assert_false(put.changes[i].changed);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "old");
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(got.fetch.as_of, 1);
    assert_int_equal(mp_keys(origin, "dev"), 1);
    /* and the next one is not disturbed */
    assert_int_equal(mp_set(origin, "dev/default/b", "2"), 0);
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.revision, 2);
}

static void deleting_what_is_not_there_is_said_and_changes_nothing(void **state)
{
    mp_put put;
    mp_got got;

    (void)state;
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_DELETE, "dev/default/a", NULL, 0);
    mp_put_add(&put, MP__CHANGE_EXPIRE, "dev/default/a", NULL, 0)->expires_ms = 5;
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", "x", 0);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(put.changes[0].status, MP_EABSENT);
    assert_int_equal(put.changes[1].status, MP_EABSENT);
    assert_int_equal(put.changes[2].status, 0);
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.revision, 1);
}

static void the_old_value_is_given_back_when_wanted(void **state)
{
    mp_put put;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "old"), 0);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "new", MP__WANT_OLD);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_string_equal(put.old, "old");
    assert_string_equal(put.after, "new");
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", "new", MP__WANT_OLD);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_false(put.changes[0].had_old);
    /* also when the condition fails, as SET NX GET wants it */
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "x", MP__WANT_OLD | MP__IF_ABSENT);
    assert_int_equal(mp_put_run(origin, &put), MP_EEXISTS);
    assert_string_equal(put.old, "new");
}

static void the_same_value_makes_no_revision_if_asked(void **state)
{
    mp_put put;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "1", MP__IF_CHANGED);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_false(put.changes[0].changed);
    assert_int_equal(put.changes[0].after.revision, 1);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "2", MP__IF_CHANGED);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(put.changes[0].after.revision, 2);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_ROLLBACK, "dev/default/a", NULL, MP__IF_CHANGED)->to_revision = 2;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_false(put.changes[0].changed);
    assert_int_equal(put.changes[0].after.revision, 2);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_ROLLBACK, "dev/default/a", NULL, 0)->to_revision = 2;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(put.changes[0].after.revision, 3);
}

static void the_same_value_that_is_to_stay_does_not_end_with_what_was_there(void **state)
{
    int64_t later = mp__env_wall_ms(mp__env_real()) + 3600000;
    mp_put put;

    (void)state;
    for (int i = 0; i < 2; i++) {
        mp_put_begin(&put);
        mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "1", 0)->expires_ms = later;
        assert_int_equal(mp_put_run(origin, &put), 0);
        mp_put_begin(&put);
        if (i == 0)
            mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "1", MP__IF_CHANGED);
        else
            mp_put_add(&put, MP__CHANGE_ROLLBACK, "dev/default/a", NULL, MP__IF_CHANGED)
                ->to_revision = 1;
        assert_int_equal(mp_put_run(origin, &put), 0);
        assert_true(put.changes[0].changed);
        assert_int_equal(put.changes[0].after.expires_ms, 0);
    }
}

static void what_no_origin_can_keep_is_refused(void **state)
{
    static char media_type[200];
    mp_put put;

    (void)state;
    memset(media_type, 'm', sizeof(media_type) - 1);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "x", 0)->media_type = mp_str_of(media_type);
    assert_int_equal(mp_put_run(origin, &put), MP_ELIMIT);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "x", 0)->expires_ms = -1;
    assert_int_equal(mp_put_run(origin, &put), MP_EINVAL);
    mp_put_begin(&put);
    mp_put_add(&put, (enum mp__change_op)99, "dev/default/a", "x", 0);
    assert_int_equal(mp_put_run(origin, &put), MP_EINVAL);
    mp_put_begin(&put); /* no change at all is none */
    assert_int_equal(mp_put_run(origin, &put), 0);
}

static void a_bad_address_is_refused_and_harms_no_other_write(void **state)
{
    char environment[80];
    mp_put put;

    (void)state;
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_PUT, "no-slashes", "x", 0);
    assert_int_equal(mp_put_run(origin, &put), MP_EINVAL);
    memset(environment, 'e', sizeof(environment));
    snprintf(environment + 70, 10, "/n/k");
    assert_int_equal(mp_set(origin, environment, "x"), MP_EINVAL);
    assert_int_equal(mp_set(origin, "dev/default/a", "x"), 0);
}

/* ---- history, rollback ---- */

static void history_is_kept_newest_first_with_who_did_it(void **state)
{
    mp_listed *l = malloc(sizeof(*l));

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "other"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), 0);
    assert_int_equal(mp_del(origin, "dev/default/a"), 0);
    assert_int_equal(mp_hist(origin, "dev/default/a", 0, 10, l), 0);
    assert_int_equal(l->count, 3);
    assert_int_equal(l->records[0].kind, MP__RECORD_ABSENT);
    assert_int_equal(l->records[0].revision, 4);
    assert_string_equal(l->values[1], "2");
    assert_string_equal(l->values[2], "1");
    assert_string_equal(l->actors[0], "tester");
    assert_int_equal(mp_hist(origin, "dev/default/a", 4, 1, l), 0);
    assert_int_equal(l->count, 1);
    assert_int_equal(l->records[0].revision, 3);
    assert_int_equal(mp_hist(origin, "dev/default/never", 0, 10, l), 0);
    assert_int_equal(l->count, 0);
    free(l);
}

static int roll_back(const char *address, uint64_t revision, mp_put *put)
{
    mp_put_begin(put);
    mp_put_add(put, MP__CHANGE_ROLLBACK, address, NULL, 0)->to_revision = revision;
    return mp_put_run(origin, put);
}

static void a_rollback_makes_an_old_value_the_newest(void **state)
{
    mp_got got;
    mp_put put;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "2"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "3"), 0);
    assert_int_equal(mp_del(origin, "dev/default/a"), 0);
    assert_int_equal(roll_back("dev/default/a", 2, &put), MP_EABSENT); /* of another key */
    assert_int_equal(roll_back("dev/default/a", 4, &put), MP_EABSENT); /* a deletion */
    assert_int_equal(roll_back("dev/default/a", 99, &put), MP_EABSENT);
    assert_int_equal(roll_back("dev/default/a", 1, &put), 0);
    assert_string_equal(put.after, "1");
    assert_int_equal(put.changes[0].after.revision, 5);
    assert_int_equal(put.changes[0].after.version, 1); /* it came into being again */
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "1");
    assert_int_equal(got.record.created_revision, 5);
}

/* ---- lists and counts ---- */

static void lists_give_every_key_once_in_both_orders(void **state)
{
    static mp_listed l;
    bool seen[100] = {false};
    char address[64];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "dev/n%d/key%02d", i % 3, i);
        assert_int_equal(mp_set(origin, address, "v"), 0);
    }
    assert_int_equal(mp_set(origin, "production/n0/other", "v"), 0);
    for (int by_key = 0; by_key < 2; by_key++) {
        memset(seen, 0, sizeof(seen));
        assert_int_equal(mp_ls(origin, "dev", "", 7, by_key, &l), 0);
        assert_int_equal(l.count, 100);
        for (size_t i = 0; i < l.count; i++) {
            int number = (int)strtol(l.addresses[i] + 10, NULL, 10);

            assert_false(seen[number]);
            seen[number] = true;
            if (by_key && i)
                assert_true(strcmp(l.addresses[i - 1], l.addresses[i]) < 0);
        }
        assert_int_equal(mp_ls(origin, "dev", "n1/", 1000, by_key, &l), 0);
        assert_int_equal(l.count, 33);
        assert_int_equal(mp_ls(origin, "dev", "n1/key01", 1000, by_key, &l), 0);
        assert_int_equal(l.count, 1);
        assert_int_equal(mp_ls(origin, "dev", "zz", 1000, by_key, &l), 0);
        assert_int_equal(l.count, 0);
    }
    assert_int_equal(mp_ls(origin, "", "", 1, false, &l), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.addresses[0], "dev");
    assert_string_equal(l.addresses[1], "production");
}

static void lists_are_bounded_and_may_come_without_values(void **state)
{
    static mp_listed l;
    static char prefix[MP__ADDRESS_MAX + 1];
    static const uint32_t bad_limits[] = {0, 10001};

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "value"), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(mp_ls(origin, "dev", "", bad_limits[i], false, &l), MP_EINVAL);
        assert_int_equal(mp_hist(origin, "dev/default/a", 0, bad_limits[i], &l), MP_EINVAL);
    }
    memset(prefix, 'p', sizeof(prefix) - 1);
    assert_int_equal(mp_ls(origin, "dev", prefix, 10, false, &l), MP_ELIMIT);
    memset(&l, 0, sizeof(l));
    mp_listed_begin(&l);
    l.u.list = (mp__list){.environment = MP_STR("dev"), .limit = 10, .done = mp_listed_done};
    mp__origin_list(origin, &l.u.list);
    mp_wait_for(&l.wait, 1);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.addresses[0], "dev/default/a");
    assert_string_equal(l.values[0], "");
    assert_int_equal(l.records[0].revision, 1);
}

static void lists_by_key_go_past_bytes_of_all_ones(void **state)
{
    static mp_listed l;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/n/k\xff", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/n/k\xff\xff", "2"), 0);
    assert_int_equal(mp_set(origin, "dev/n/l", "3"), 0);
    assert_int_equal(mp_ls(origin, "dev", "n/k\xff", 1, true, &l), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.values[1], "2");
}

/* All of the environment dev at @revision in pages of two, as "key=value ...". */
static void list_at(uint64_t revision, char *text, size_t capacity)
{
    static mp_listed l;
    char after[64] = "";
    size_t used = 0;

    text[0] = '\0';
    do {
        memset(&l, 0, sizeof(l));
        mp_listed_begin(&l);
        l.u.list = (mp__list){.environment = MP_STR("dev"),
                              .prefix = MP_STR("n/"),
                              .limit = 2,
                              .with_values = true,
                              .by_key = true,
                              .after_address = mp_str_of(after),
                              .at_revision = revision,
                              .done = mp_listed_done};
        mp__origin_list(origin, &l.u.list);
        mp_wait_for(&l.wait, 1);
        assert_int_equal(l.status, 0);
        for (size_t i = 0; i < l.count; i++)
            used += (size_t)snprintf(text + used, capacity - used, "%s=%s ", l.addresses[i] + 6,
                                     l.values[i]);
        if (l.count)
            snprintf(after, sizeof(after), "%s", l.addresses[l.count - 1]);
    } while (l.next);
}

static void a_list_of_a_revision_shows_what_was_there_then(void **state)
{
    char text[256];
    static mp_listed l;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/n/a", "1"), 0); /* revision 1 */
    assert_int_equal(mp_set(origin, "dev/n/b", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/n/c", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/n/b", "2"), 0); /* 4 */
    assert_int_equal(mp_del(origin, "dev/n/c"), 0);
    assert_int_equal(mp_set(origin, "dev/n/d", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/n/c", "2"), 0); /* 7 */
    list_at(1, text, sizeof(text));
    assert_string_equal(text, "a=1 ");
    list_at(3, text, sizeof(text));
    assert_string_equal(text, "a=1 b=1 c=1 ");
    list_at(5, text, sizeof(text));
    assert_string_equal(text, "a=1 b=2 ");
    list_at(7, text, sizeof(text));
    assert_string_equal(text, "a=1 b=2 c=2 d=1 ");
    list_at(0, text, sizeof(text));
    assert_string_equal(text, "a=1 b=2 c=2 d=1 ");
    mp_listed_begin(&l);
    l.u.list = (mp__list){.environment = MP_STR("dev"),
                          .limit = 2,
                          .by_key = true,
                          .at_revision = 8,
                          .done = mp_listed_done};
    mp__origin_list(origin, &l.u.list);
    mp_wait_for(&l.wait, 1);
    assert_int_equal(l.status, MP_EINVAL);
    assert_int_equal(l.u.list.as_of, 7);
}

/* ---- a list of a revision that looks at much ---- */

static mp_listed of_past, of_present;
static unsigned turns;

static void past_done(mp__list *list, int status, const mp__record *records, size_t count,
                      uint64_t next)
{
    of_past.keys = ++turns;
    mp_listed_done(list, status, records, count, next);
}

static void present_done(mp__list *list, int status, const mp__record *records, size_t count,
                         uint64_t next)
{
    of_present.keys = ++turns;
    mp_listed_done(list, status, records, count, next);
}

/* On the reader: both come to it at once, the long one first. */
static void ask_both(mp__list *list, int status, const mp__record *records, size_t count,
                     uint64_t next)
{
    mp__origin_list(origin, &of_past.u.list);
    mp__origin_list(origin, &of_present.u.list);
    mp_listed_done(list, status, records, count, next);
}

static void many_versions(unsigned keys, unsigned versions)
{
    static char addresses[100][32];
    mp_put put;

    for (unsigned v = 0; v < versions; v++)
        for (unsigned k = 0; k < keys;) {
            mp_put_begin(&put);
            for (unsigned i = 0; i < 4 && k < keys; i++, k++) {
                snprintf(addresses[i], sizeof(addresses[i]), "dev/m/%02u", k);
                (void)mp_put_add(&put, MP__CHANGE_PUT, addresses[i], v ? "later" : "first", 0);
            }
            assert_int_equal(mp_put_run(origin, &put), 0);
        }
}

static void a_list_of_a_revision_gives_others_their_turn_and_is_whole(void **state)
{
    static mp_listed first;

    (void)state;
    many_versions(20, 2100); /* twice what one turn looks at, and cut within a key */
    memset(&first, 0, sizeof(first));
    mp_listed_begin(&first);
    first.u.list =
        (mp__list){.environment = MP_STR("dev"), .limit = 1, .by_key = true, .done = ask_both};
    mp_listed_begin(&of_past);
    of_past.u.list = (mp__list){.environment = MP_STR("dev"),
                                .limit = 1000,
                                .with_values = true,
                                .by_key = true,
                                .at_revision = 20,
                                .done = past_done};
    mp_listed_begin(&of_present);
    of_present.u.list =
        (mp__list){.environment = MP_STR("dev"), .limit = 2, .by_key = true, .done = present_done};
    mp__origin_list(origin, &first.u.list);
    mp_wait_for(&of_past.wait, 1);
    mp_wait_for(&of_present.wait, 1);
    assert_int_equal(of_past.status, 0);
    assert_int_equal(of_present.keys, 1);
    assert_int_equal(of_past.keys, 2);
    assert_int_equal(of_past.count, 20);
    assert_int_equal(of_past.next, 0);
    for (size_t i = 0; i < of_past.count; i++) {
        char address[32];

        snprintf(address, sizeof(address), "dev/m/%02u", (unsigned)i);
        assert_string_equal(of_past.addresses[i], address);
        assert_string_equal(of_past.values[i], "first");
    }
}

static void a_check_that_fails_holds_back_the_writes_beside_it(void **state)
{
    mp_put put;
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/n/a", "1"), 0);
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/n/b", "1", 0);
    mp_put_add(&put, MP__CHANGE_CHECK, "dev/n/a", NULL, MP__IF_REVISION)->if_revision = 9;
    assert_int_equal(mp_put_run(origin, &put), MP_ECONFLICT);
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/n/b", "1", 0);
    (void)mp_put_add(&put, MP__CHANGE_CHECK, "dev/n/none", NULL, MP__IF_PRESENT);
    assert_int_equal(mp_put_run(origin, &put), MP_EABSENT);
    assert_int_equal(mp_get(origin, "dev/n/b", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/n/b", "1", 0);
    mp_put_add(&put, MP__CHANGE_CHECK, "dev/n/a", NULL, MP__IF_REVISION)->if_revision = 1;
    (void)mp_put_add(&put, MP__CHANGE_CHECK, "dev/n/none", NULL, MP__IF_ABSENT);
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_false(put.changes[1].changed);
    assert_int_equal(mp_get(origin, "dev/n/b", &got), 0);
    assert_string_equal(got.value, "1");
}

static void keys_are_counted_as_they_come_and_go(void **state)
{
    mp__origin_stats stats;

    (void)state;
    assert_int_equal(mp_keys(origin, "dev"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "1"), 0);
    assert_int_equal(mp_set(origin, "staging/default/b", "1"), 0);
    assert_int_equal(mp_keys(origin, "dev"), 2);
    assert_int_equal(mp_del(origin, "dev/default/a"), 0);
    assert_int_equal(mp_keys(origin, "dev"), 1);
    reopen();
    assert_int_equal(mp_keys(origin, "dev"), 1);
    mp__origin_stats_read(origin, &stats);
    assert_int_equal(stats.keys, 2);
    assert_int_equal(stats.revision, 5);
}

/* By the statistics, without asking the database. */
static void holds_keys(uint64_t of_staging, uint64_t of_dev, uint64_t of_all)
{
    mp__origin_stats stats;

    mp__origin_stats_read(origin, &stats);
    assert_int_equal(stats.keys_of[0], of_staging);
    assert_int_equal(stats.keys_of[1], of_dev);
    assert_int_equal(stats.keys_of[2], 0);
    assert_int_equal(stats.keys, of_all);
}

static void scopes_that_are_named_are_counted_by_themselves(void **state)
{
    static char names[3][8] = {"staging", "dev", "none"};
    static char *const scopes[] = {names[0], names[1], names[2]};
    const mp__origin_options named = {.counted = scopes, .counted_count = 3, .probe_ms = 10};
    sqlite3 *other = NULL;
    mp__origin_stats stats;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    origin = mp__origin_close(origin);
    open_with(named);
    holds_keys(0, 1, 1);
    assert_int_equal(mp_set(origin, "dev/default/b", "1"), 0);
    assert_int_equal(mp_set(origin, "development/default/b", "1"), 0);
    assert_int_equal(mp_set(origin, "dev~eu/default/b", "1"), 0);
    assert_int_equal(mp_set(origin, "staging/default/b", "1"), 0);
    holds_keys(1, 2, 5); /* also of those that wait to come into the database */
    assert_int_equal(mp_del(origin, "dev/default/a"), 0);
    holds_keys(1, 1, 4);
    origin = mp__origin_close(origin);
    open_with(named);
    holds_keys(1, 1, 4);
    /* another program's changes are seen by looking */
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(other, 10000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "DELETE FROM entries WHERE address = 'staging/default/b'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    do
        mp__origin_stats_read(origin, &stats);
    while (stats.keys != 3);
    holds_keys(0, 1, 3);
}

/* ---- what a write looks at before it is acknowledged ---- */

/* A write that is in the database afterwards: how often the ends of the tables were looked at. */
static uint64_t looks_of_a_write(const char *value)
{
    mp__sqlite *s = (mp__sqlite *)origin;
    uint64_t before = mp__sqlite_get(&s->ends_touched);

    assert_int_equal(mp_set(origin, "dev/default/a", value), 0);
    while (atomic_load(&s->unflushed))
        (void)sched_yield();
    return mp__sqlite_get(&s->ends_touched) - before;
}

static void
the_ends_of_the_tables_are_looked_at_unless_the_write_before_left_them_in_memory(void **state)
{
    mp_put put;
    sqlite3 *other;

    (void)state;
    assert_int_equal(looks_of_a_write("1"), 1);
    assert_int_equal(looks_of_a_write("2"), 0);
    assert_int_equal(looks_of_a_write("3"), 0);
    /* what was rolled back is not in memory any more */
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "4", MP__IF_ABSENT);
    mp__origin_write(origin, &put.write);
    mp_wait_for(&put.wait, 1);
    assert_int_equal(put.status, MP_EEXISTS);
    assert_int_equal(looks_of_a_write("5"), 1);
    assert_int_equal(looks_of_a_write("6"), 0);
    /* nor what another program wrote */
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(other, 10000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "INSERT INTO meta VALUES('other', 1)", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(looks_of_a_write("7"), 1);
    assert_int_equal(looks_of_a_write("8"), 0);
}

/* A transaction that SQLite ends by itself, on the thread that has it: how often it looked at the
 * ends, and whether it is over before mp__sqlite_transaction_end() is called. */
typedef struct ended_by_itself {
    mp__task task;
    mp__sqlite *s;
    uint64_t looks;
    bool is_begun, is_over;
    mp_wait wait;
} ended_by_itself;

static void end_by_itself(mp__task *task)
{
    ended_by_itself *e = (ended_by_itself *)task;
    uint64_t before = mp__sqlite_get(&e->s->ends_touched);

    e->is_begun = mp__sqlite_transaction_begin(e->s) == 0;
    e->looks = mp__sqlite_get(&e->s->ends_touched) - before;
    e->is_over = mp__sqlite_exec(&e->s->write_db,
                                 "INSERT OR ROLLBACK INTO meta VALUES('revision', 0)") != 0 &&
                 !mp__sqlite_in_transaction(&e->s->write_db);
    mp__sqlite_transaction_end(e->s);
    mp_wait_signal(&e->wait);
}

/* An error of any statement may end a transaction, and what was brought in ahead goes from memory.
 */
static void the_ends_of_the_tables_are_looked_at_after_sqlite_rolled_back_by_itself(void **state)
{
    ended_by_itself e = {
        .task.run = end_by_itself, .s = (mp__sqlite *)origin, .wait = (mp_wait)MP_WAIT_INIT};

    (void)state;
    (void)looks_of_a_write("1");
    assert_int_equal(looks_of_a_write("2"), 0);
    mp__worker_post(e.s->writer, &e.task);
    mp_wait_for(&e.wait, 1);
    assert_true(e.is_begun);
    assert_int_equal(e.looks, 0);
    assert_true(e.is_over);
    assert_int_equal(looks_of_a_write("3"), 1);
    assert_int_equal(looks_of_a_write("4"), 0);
}

static void the_ends_of_the_tables_are_looked_at_where_more_was_read_than_memory_keeps(void **state)
{
    enum { LARGE = 60000, COUNT = 160 }; /* more than MP__SQLITE_CACHE */
    static char value[LARGE + 1];
    char address[64];

    (void)state;
    memset(value, 'v', LARGE);
    for (int i = 0; i < COUNT; i++) {
        snprintf(address, sizeof(address), "dev/default/large%d", i);
        assert_int_equal(mp_set(origin, address, value), 0);
    }
    (void)looks_of_a_write("1");
    assert_int_equal(looks_of_a_write("2"), 1);
    assert_int_equal(looks_of_a_write("3"), 1);
}

/* ---- damage to what is beside it ---- */

static void a_missing_database_is_lost_and_never_begun_anew_by_itself(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    origin = mp__origin_close(origin);
    assert_int_equal(unlink(path), 0);
    open_with((mp__origin_options){0});
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), MP_EORIGINLOST);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), MP_EORIGINLOST);
    assert_int_not_equal(access(path, F_OK), 0);
    origin = mp__origin_close(origin);
    open_with((mp__origin_options){.new_origin = true});
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), 0);
}

/* ---- what changed ---- */

static void what_changed_behind_a_revision_comes_in_its_order_as_it_was_made(void **state)
{
    static mp_listed l;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/app/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/other/x", "2"), 0);
    assert_int_equal(mp_set(origin, "dev/app/a", "3"), 0);
    assert_int_equal(mp_del(origin, "dev/app/a"), 0);
    assert_int_equal(mp_set(origin, "dev/app/b", "5"), 0);
    assert_int_equal(mp_changes(origin, "dev/app/", 0, 100, &l), 0);
    assert_int_equal(l.count, 4);
    assert_string_equal(l.values[0], "1");
    assert_string_equal(l.values[1], "3");
    assert_int_equal(l.records[2].kind, MP__RECORD_ABSENT);
    assert_int_equal(l.records[2].revision, 4);
    assert_string_equal(l.addresses[3], "dev/app/b");
    assert_int_equal(l.next, 5);
    assert_int_equal(l.u.changed.as_of, 5);
    assert_int_equal(mp_changes(origin, "dev/app/a", 3, 100, &l), 0);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.next, 5);
    assert_int_equal(mp_changes(origin, "dev/app/", 5, 100, &l), 0);
    assert_int_equal(l.count, 0);
    assert_int_equal(l.next, 5);
    assert_int_equal(mp_changes(origin, "dev/app/", 6, 100, &l), MP_EINVAL);
}

static void pages_of_changes_meet_without_a_gap(void **state)
{
    static mp_listed l;
    uint64_t after = 0, expected = 1;

    (void)state;
    for (int i = 0; i < 50; i++)
        assert_int_equal(mp_set(origin, i % 5 ? "dev/other/x" : "dev/app/a", "v"), 0);
    while (after < 50) {
        assert_int_equal(mp_changes(origin, "dev/app/", after, 3, &l), 0);
        assert_in_range(l.count, 0, 3);
        for (size_t i = 0; i < l.count; i++, expected += 5)
            assert_int_equal(l.records[i].revision, expected);
        assert_true(l.next > after);
        after = l.next;
    }
    assert_int_equal(expected, 51);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(an_unknown_kind_is_refused_with_the_known_ones),
    FRESH(what_was_written_is_fetched_also_after_a_restart),
    FRESH(what_nobody_wrote_is_absent_as_of_the_newest_revision),
    FRESH(every_change_has_the_next_revision),
    FRESH(an_empty_value_and_bytes_that_are_no_text_are_kept),
    FRESH(an_unchanged_value_is_not_sent_again),
    FRESH(conditions_are_judged_against_what_is_there),
    FRESH(a_conditional_write_sees_those_queued_before_it),
    FRESH(a_write_of_several_changes_is_all_or_nothing),
    FRESH(deleting_what_is_not_there_is_said_and_changes_nothing),
    FRESH(the_old_value_is_given_back_when_wanted),
    FRESH(the_same_value_makes_no_revision_if_asked),
    FRESH(the_same_value_that_is_to_stay_does_not_end_with_what_was_there),
    FRESH(what_no_origin_can_keep_is_refused),
    FRESH(a_bad_address_is_refused_and_harms_no_other_write),
    FRESH(history_is_kept_newest_first_with_who_did_it),
    FRESH(a_rollback_makes_an_old_value_the_newest),
    FRESH(lists_give_every_key_once_in_both_orders),
    FRESH(lists_are_bounded_and_may_come_without_values),
    FRESH(lists_by_key_go_past_bytes_of_all_ones),
    FRESH(a_list_of_a_revision_shows_what_was_there_then),
    FRESH(a_list_of_a_revision_gives_others_their_turn_and_is_whole),
    FRESH(a_check_that_fails_holds_back_the_writes_beside_it),
    FRESH(keys_are_counted_as_they_come_and_go),
    FRESH(scopes_that_are_named_are_counted_by_themselves),
    FRESH(what_changed_behind_a_revision_comes_in_its_order_as_it_was_made),
    FRESH(pages_of_changes_meet_without_a_gap),
    FRESH(the_ends_of_the_tables_are_looked_at_unless_the_write_before_left_them_in_memory),
    FRESH(the_ends_of_the_tables_are_looked_at_after_sqlite_rolled_back_by_itself),
    FRESH(the_ends_of_the_tables_are_looked_at_where_more_was_read_than_memory_keeps),
    FRESH(a_missing_database_is_lost_and_never_begun_anew_by_itself),
};
MP_TEST_MAIN(tests)
