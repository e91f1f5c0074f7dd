/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of histories is itself checked: against lies planted by hand, and against all orders
 * of small histories. */
#include "mp_history.h"
#include "mp_test.h"

static char why[256];
static mp_history *h;

static int set_up(void **state)
{
    (void)state;
    h = mp_history_new();
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
    FRESH(it_agrees_with_trying_every_order),
};
MP_TEST_MAIN(tests)
