/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of histories is itself checked: against lies planted by hand, and against all orders
 * of small histories. */
#include "mp_history.h"
#include "mp_test.h"

static char why[256];
static mp_history *h;
static uint64_t revision; /* that the origin stands at */

static int set_up(void **state)
{
    (void)state;
    h = mp_history_new();
    revision = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    h = mp_history_free(h);
    return 0;
}

static bool holds(void)
{
    return mp_history_holds(h, why, sizeof(why));
}

static void write_whole(uint64_t value, uint64_t at_ns)
{
    mp_history_written(h, mp_history_write(h, 1, value, at_ns), at_ns);
}

static void read_whole(uint64_t value, uint64_t at_ns)
{
    mp_history_saw(h, mp_history_read(h, 1, MP_HISTORY_STRONG, at_ns), value, at_ns, at_ns);
}

static void read_as_of(uint64_t value, uint64_t claimed_ns, uint64_t at_ns)
{
    mp_history_saw(h, mp_history_read(h, 1, MP_HISTORY_BOUNDED, at_ns), value, claimed_ns, at_ns);
}

/* As the origin would tell: each change is one commit, under the next revision. */
static size_t make(size_t write, uint64_t at_ns)
{
    mp_history_committed(h, write, ++revision, at_ns);
    return write;
}

static void put_whole(uint64_t value, uint64_t at_ns)
{
    mp_history_written(h, make(mp_history_write(h, 1, value, at_ns), at_ns), at_ns);
}

static void delete_whole(uint64_t value, uint64_t at_ns)
{
    mp_history_written(h, make(mp_history_delete(h, 1, value, at_ns), at_ns), at_ns);
}

static void read_none(uint64_t as_of, uint64_t at_ns)
{
    mp_history_saw_none(h, mp_history_read(h, 1, MP_HISTORY_STRONG, at_ns), as_of, at_ns, at_ns);
}

/* A bounded read of a session. */
static void told(unsigned session, uint64_t value, uint64_t at_ns)
{
    size_t read = mp_history_read(h, 1, MP_HISTORY_BOUNDED, at_ns);

    mp_history_by(h, read, session);
    mp_history_saw(h, read, value, 0, at_ns);
}

static void told_none(unsigned session, uint64_t as_of, uint64_t claimed_ns, uint64_t at_ns)
{
    size_t read = mp_history_read(h, 1, MP_HISTORY_BOUNDED, at_ns);

    mp_history_by(h, read, session);
    mp_history_saw_none(h, read, as_of, claimed_ns, at_ns);
}

static void one_after_the_other_is_the_truth(void **state)
{
    (void)state;
    read_whole(0, 1);
    write_whole(7, 2);
    read_whole(7, 3);
    write_whole(8, 4);
    read_whole(8, 5);
    assert_true(holds());
}

static void the_value_before_an_acknowledged_write_is_a_lie(void **state)
{
    (void)state;
    write_whole(7, 1);
    write_whole(8, 2);
    read_whole(7, 3);
    assert_false(holds());
}

static void a_value_that_nobody_wrote_is_a_lie(void **state)
{
    (void)state;
    write_whole(7, 1);
    read_whole(9, 2);
    assert_false(holds());
}

static void a_value_of_another_key_is_a_lie(void **state)
{
    (void)state;
    mp_history_written(h, mp_history_write(h, 2, 7, 1), 1);
    read_whole(7, 2);
    assert_false(holds());
}

static void a_value_from_the_future_is_a_lie(void **state)
{
    (void)state;
    read_whole(7, 1);
    write_whole(7, 2);
    assert_false(holds());
}

static void a_refused_write_that_is_read_is_a_lie(void **state)
{
    (void)state;
    mp_history_refused(h, mp_history_write(h, 1, 7, 1));
    read_whole(7, 2);
    assert_false(holds());
}

/* While a write is under way either value may be seen, but not the new one and then the old. */
static void going_back_is_a_lie_also_while_the_write_is_under_way(void **state)
{
    size_t w;

    (void)state;
    w = mp_history_write(h, 1, 7, 1);
    read_whole(0, 2);
    read_whole(7, 3);
    assert_true(holds());
    read_whole(0, 4);
    mp_history_written(h, w, 5);
    assert_false(holds());
}

static void a_write_of_unknown_outcome_may_happen_late_but_not_twice(void **state)
{
    (void)state;
    (void)mp_history_write(h, 1, 7, 1); /* never answered */
    read_whole(0, 2);
    write_whole(8, 3);
    read_whole(8, 4);
    read_whole(7, 5); /* it comes only now */
    assert_true(holds());
    read_whole(8, 6);
    assert_false(holds());
}

/* Two writes at once: readers must agree which was the last. */
static void readers_who_disagree_on_the_order_are_lied_to(void **state)
{
    size_t a, b;

    (void)state;
    a = mp_history_write(h, 1, 7, 1);
    b = mp_history_write(h, 1, 8, 1);
    mp_history_written(h, a, 2);
    mp_history_written(h, b, 2);
    read_whole(7, 3);
    assert_true(holds());
    read_whole(8, 4);
    assert_false(holds());
}

static void a_write_inside_the_time_of_another_value_is_a_lie(void **state)
{
    size_t w;

    (void)state;
    write_whole(7, 1);
    read_whole(7, 2);
    w = mp_history_write(h, 1, 8, 3); /* there must be a moment at which it held */
    mp_history_written(h, w, 4);
    read_whole(7, 5);
    assert_false(holds());
}

static void a_bounded_read_may_be_old_but_not_older_than_it_says(void **state)
{
    (void)state;
    write_whole(7, 100);
    write_whole(8, 200);
    read_as_of(7, 200, 1000);
    assert_true(holds());
    read_as_of(7, 201, 1000);
    assert_false(holds());
    assert_non_null(strstr(why, "had replaced it"));
}

static void who_is_told_nothing_is_not_lied_to(void **state)
{
    (void)state;
    write_whole(7, 1);
    mp_history_failed(h, mp_history_read(h, 1, MP_HISTORY_STRONG, 2));
    (void)mp_history_read(h, 1, MP_HISTORY_STRONG, 3); /* never answered */
    assert_int_equal(mp_history_count(h), 3);
    assert_true(holds());
}

/* ---- deletions, and what is known by revisions ---- */

static void a_deletion_and_a_write_after_it_are_the_truth(void **state)
{
    (void)state;
    read_none(0, 1);
    put_whole(7, 2);
    read_whole(7, 3);
    delete_whole(8, 4);
    read_none(2, 5);
    put_whole(9, 6);
    read_whole(9, 7);
    assert_true(holds());
}

static void a_deleted_value_that_comes_back_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    delete_whole(8, 2);
    read_none(2, 3);
    assert_true(holds());
    read_whole(7, 4);
    assert_false(holds());
}

/* Also where nobody has seen that it was deleted. */
static void a_value_that_is_read_as_of_after_its_deletion_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    delete_whole(8, 2);
    read_as_of(7, 2, 9);
    assert_true(holds());
    read_as_of(7, 3, 9);
    assert_false(holds());
}

static void an_absence_while_a_value_is_there_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    told_none(0, 0, 0, 2); /* from before it */
    assert_true(holds());
    told_none(0, 1, 0, 3);
    assert_false(holds());
    assert_non_null(strstr(why, "was there since 1"));
}

static void an_absence_of_a_revision_that_is_still_to_come_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    told_none(0, 2, 0, 2);
    delete_whole(8, 3);
    assert_false(holds());
    assert_non_null(strstr(why, "the origin stood at 1"));
}

static void an_absence_beyond_its_bound_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 100);
    delete_whole(8, 200);
    put_whole(9, 300);
    told_none(0, 2, 300, 900);
    assert_true(holds());
    told_none(0, 2, 301, 900);
    assert_false(holds());
    assert_non_null(strstr(why, "the absence 8"));
}

static void an_absence_older_than_the_value_that_was_read_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    delete_whole(8, 2);
    put_whole(9, 3);
    told(1, 9, 4);
    told_none(2, 2, 0, 5); /* to somebody else */
    assert_true(holds());
    told_none(1, 2, 0, 6);
    assert_false(holds());
    assert_non_null(strstr(why, "after revision 3"));
}

static void a_value_older_than_the_absence_that_was_read_is_a_lie(void **state)
{
    (void)state;
    put_whole(7, 1);
    delete_whole(8, 2);
    told_none(1, 2, 0, 3);
    assert_true(holds());
    told(1, 7, 4);
    assert_false(holds());
}

/* As of an earlier revision, but of the same deletion: nothing has changed in between. */
static void the_same_absence_as_of_an_earlier_revision_is_no_step_back(void **state)
{
    size_t other;

    (void)state;
    put_whole(7, 1);
    delete_whole(8, 2);
    other = make(mp_history_write(h, 2, 9, 3), 3);
    mp_history_written(h, other, 3);
    told_none(1, 3, 0, 4);
    told_none(1, 2, 0, 5);
    assert_true(holds());
}

/* Then any that fits: but one there must be, of that time and not from before what was told. */
static void an_absence_of_no_known_revision_must_be_some_absence(void **state)
{
    (void)state;
    put_whole(7, 100);
    told_none(0, MP_HISTORY_UNSAID, 100, 150); /* the value came at that moment */
    assert_true(holds());
    told_none(0, MP_HISTORY_UNSAID, 101, 150);
    assert_false(holds());
}

static void an_absence_of_no_known_revision_is_not_older_than_what_was_told(void **state)
{
    (void)state;
    put_whole(7, 100);
    delete_whole(8, 200);
    put_whole(9, 300);
    told(1, 7, 400);
    told_none(1, MP_HISTORY_UNSAID, 0, 500);
    told(1, 9, 600);
    told_none(2, MP_HISTORY_UNSAID, 0, 700);
    assert_true(holds());
    told_none(1, MP_HISTORY_UNSAID, 0, 800);
    assert_false(holds());
}

static void who_does_not_find_what_he_wrote_is_lied_to(void **state)
{
    size_t write;

    (void)state;
    put_whole(7, 1);
    write = make(mp_history_write(h, 1, 8, 2), 2);
    mp_history_by(h, write, 1);
    mp_history_written(h, write, 2);
    told(2, 7, 3);
    assert_true(holds());
    told(1, 7, 4);
    assert_false(holds());
}

static void a_revision_that_is_not_the_value_s_is_a_lie(void **state)
{
    size_t read;

    (void)state;
    put_whole(7, 1);
    read = mp_history_read(h, 1, MP_HISTORY_BOUNDED, 2);
    mp_history_saw(h, read, 7, 0, 2);
    mp_history_told_revision(h, read, 1);
    assert_true(holds());
    mp_history_told_revision(h, read, 2);
    assert_false(holds());
}

static void a_refused_write_that_the_origin_made_is_a_lie(void **state)
{
    (void)state;
    mp_history_refused(h, make(mp_history_delete(h, 1, 7, 1), 1));
    assert_false(holds());
}

static void a_write_that_is_acknowledged_before_it_is_made_is_a_lie(void **state)
{
    size_t write;

    (void)state;
    put_whole(7, 1);
    write = mp_history_write(h, 1, 8, 2);
    mp_history_written(h, write, 3);
    assert_false(holds());
    (void)make(write, 4);
    assert_false(holds());
}

/* ---- several keys ---- */

static void read_key(unsigned key, uint64_t value, uint64_t at_ns)
{
    mp_history_saw(h, mp_history_read(h, key, MP_HISTORY_STRONG, at_ns), value, 0, at_ns);
}

/* All of it in one moment, that is: whoever saw the one key must see the other. */
static void half_of_a_transaction_is_a_lie(void **state)
{
    size_t one, two, read;

    for (unsigned first = 1; first <= 2; first++) {
        (void)tear_down(state);
        (void)set_up(state);
        one = mp_history_write(h, 1, 8, 2); /* never answered */
        two = mp_history_write(h, 2, 8, 2);
        read = mp_history_read(h, 3 - first, MP_HISTORY_STRONG, 3);
        (void)make(one, 3);
        (void)make(two, 3);
        read_key(first, 8, 3);
        mp_history_saw(h, read, 0, 0, 3); /* began before */
        assert_true(holds());
        read_key(3 - first, 0, 3);
        assert_false(holds());
        assert_non_null(strstr(why, "had replaced it"));
    }
}

/* ---- against brute force ---- */

enum { OPS = 6 };
typedef struct op {
    bool is_write;
    uint64_t value;
    int begin, end;
} op;

/* Is there an order that respects time, in which each read sees the write before it? */
static bool search(const op *ops, unsigned left, uint64_t value)
{
    if (left == 0)
        return true;
    for (int i = 0; i < OPS; i++) {
        bool first = (left & 1u << i) != 0;

        for (int k = 0; k < OPS && first; k++)
            if ((left & 1u << k) && k != i && ops[k].end < ops[i].begin)
                first = false;
        if (first && (ops[i].is_write || ops[i].value == value) &&
            search(ops, left & ~(1u << i), ops[i].value))
            return true;
    }
    return false;
}

static void plant(op *ops, unsigned seed)
{
    size_t id[OPS];
    int open[2 * OPS], count = 0;

    for (int i = 0; i < OPS; i++) {
        open[count++] = i;
        open[count++] = i;
    }
    for (int i = count - 1; i > 0; i--) {
        int k, swap = open[i];

        seed = seed * 1103515245u + 12345u;
        k = (int)(seed >> 8) % (i + 1);
        open[i] = open[k];
        open[k] = swap;
    }
    for (int i = 0; i < OPS; i++) {
        seed = seed * 1103515245u + 12345u;
        ops[i] = (op){.is_write = i < 3, .begin = -1};
        ops[i].value = i < 3 ? (uint64_t)i + 1 : (seed >> 8) % 4;
    }
    for (int at = 0; at < count; at++) {
        op *o = &ops[open[at]];
        uint64_t ns = (uint64_t)at + 1;

        if (o->begin < 0) {
            o->begin = at;
            id[open[at]] = o->is_write ? mp_history_write(h, 1, o->value, ns)
                                       : mp_history_read(h, 1, MP_HISTORY_STRONG, ns);
        } else {
            o->end = at;
            if (o->is_write)
                mp_history_written(h, id[open[at]], ns);
            else
                mp_history_saw(h, id[open[at]], o->value, (uint64_t)o->begin + 1, ns);
        }
    }
}

static void it_agrees_with_trying_every_order(void **state)
{
    int truths = 0, lies = 0;

    for (unsigned seed = 1; seed <= 20000; seed++) {
        op ops[OPS];
        bool want;

        (void)tear_down(state);
        (void)set_up(state);
        plant(ops, seed * 2654435761u);
        want = search(ops, (1u << OPS) - 1, 0);
        if (holds() != want)
            fail_msg("seed %u: brute force says %d", seed, want);
        truths += want;
        lies += !want;
    }
    assert_true(truths > 500 && lies > 500);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(one_after_the_other_is_the_truth),
    FRESH(the_value_before_an_acknowledged_write_is_a_lie),
    FRESH(a_value_that_nobody_wrote_is_a_lie),
    FRESH(a_value_of_another_key_is_a_lie),
    FRESH(a_value_from_the_future_is_a_lie),
    FRESH(a_refused_write_that_is_read_is_a_lie),
    FRESH(going_back_is_a_lie_also_while_the_write_is_under_way),
    FRESH(a_write_of_unknown_outcome_may_happen_late_but_not_twice),
    FRESH(readers_who_disagree_on_the_order_are_lied_to),
    FRESH(a_write_inside_the_time_of_another_value_is_a_lie),
    FRESH(a_bounded_read_may_be_old_but_not_older_than_it_says),
    FRESH(who_is_told_nothing_is_not_lied_to),
    FRESH(a_deletion_and_a_write_after_it_are_the_truth),
    FRESH(a_deleted_value_that_comes_back_is_a_lie),
    FRESH(a_value_that_is_read_as_of_after_its_deletion_is_a_lie),
    FRESH(an_absence_while_a_value_is_there_is_a_lie),
    FRESH(an_absence_of_a_revision_that_is_still_to_come_is_a_lie),
    FRESH(an_absence_beyond_its_bound_is_a_lie),
    FRESH(an_absence_older_than_the_value_that_was_read_is_a_lie),
    FRESH(a_value_older_than_the_absence_that_was_read_is_a_lie),
    FRESH(the_same_absence_as_of_an_earlier_revision_is_no_step_back),
    FRESH(an_absence_of_no_known_revision_must_be_some_absence),
    FRESH(an_absence_of_no_known_revision_is_not_older_than_what_was_told),
    FRESH(who_does_not_find_what_he_wrote_is_lied_to),
    FRESH(a_revision_that_is_not_the_value_s_is_a_lie),
    FRESH(a_refused_write_that_the_origin_made_is_a_lie),
    FRESH(a_write_that_is_acknowledged_before_it_is_made_is_a_lie),
    FRESH(half_of_a_transaction_is_a_lie),
    FRESH(it_agrees_with_trying_every_order),
};
MP_TEST_MAIN(tests)
