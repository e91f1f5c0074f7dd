/* SPDX-License-Identifier: Apache-2.0 */
/* Slices, turns, and the line of those who have more than a slice. */
#include "server/turn.h"

#include "core/env_ops.h"
#include "mp_sim.h"
#include "mp_test.h"

enum { ALL = 4 };

static uint64_t now_ns;

static uint64_t told_now(mp_env *env)
{
    (void)env;
    return now_ns;
}

typedef struct crowd {
    mp_sim *sim;
    mp__loop *loop;
    mp__env_ops ops;
    mp_env env;
    mp__turn turn;
    struct member {
        mp__in_line line; /* first */
        struct crowd *crowd;
        int left; /* requests */
    } members[ALL];
    int order[64], count; /* whose requests ran */
    int begun;            /* parts of turns */
    uint64_t cost_ns;     /* of a request */
} crowd;

static void part_begins(void *context)
{
    ((crowd *)context)->begun++;
}

/* Run its requests as a connection does. */
static void run(mp__in_line *line)
{
    struct member *m = (struct member *)line;
    crowd *c = m->crowd;

    mp__slice_begin(&c->turn);
    while (m->left) {
        m->left--;
        now_ns += c->cost_ns;
        if (c->count < 64)
            c->order[c->count++] = (int)(m - c->members);
        if (m->left && mp__slice_is_over(&c->turn)) {
            mp__turn_wait(&c->turn, line);
            return;
        }
    }
}

static void begin(crowd *c, uint64_t cost_ns)
{
    *c = (crowd){.sim = mp_sim_new(1), .cost_ns = cost_ns};
    assert_int_equal(mp__loop_new(mp_sim_env(c->sim), "loop", &c->loop), 0);
    mp__turn_init(&c->turn, c->loop, part_begins, c);
    c->ops.now_ns = told_now;
    c->env.ops = &c->ops;
    c->turn.env = &c->env;
    now_ns = 1;
    for (int i = 0; i < ALL; i++) {
        c->members[i].line.go_on = run;
        c->members[i].crowd = c;
    }
}

static void end(crowd *c)
{
    c->loop = mp__loop_free(c->loop);
    c->sim = mp_sim_free(c->sim);
}

static void go_on(crowd *c)
{
    for (int i = 0; i < 1000 && c->turn.first; i++) {
        mp__turn_ends(&c->turn);
        (void)mp_sim_step(c->sim);
    }
    assert_null(c->turn.first);
}

static void who_asks_little_has_it_in_one_go(void **state)
{
    crowd c;

    (void)state;
    begin(&c, 100);
    c.members[0].left = 60;
    run(&c.members[0].line);
    assert_int_equal(c.members[0].left, 0);
    assert_false(c.members[0].line.waits);
    end(&c);
}

static void who_asks_much_goes_on_in_its_turn_until_all_is_done(void **state)
{
    crowd c;

    (void)state;
    begin(&c, MP__SLICE_NS);
    for (int i = 0; i < ALL; i++) {
        c.members[i].left = 6;
        run(&c.members[i].line);
        assert_true(c.members[i].left > 0 && c.members[i].line.waits);
    }
    go_on(&c);
    assert_int_equal(c.count, ALL * 6);
    for (int i = 0; i < ALL; i++)
        assert_int_equal(c.members[i].left, 0);
    for (int i = 2 * ALL; i + 1 < c.count; i++) /* round by round; the first had no clock yet */
        assert_int_not_equal(c.order[i], c.order[i + 1]);
    end(&c);
}

static void the_sockets_are_looked_at_again_after_each_turn(void **state)
{
    crowd c;

    (void)state;
    begin(&c, MP__TURN_NS);
    c.members[0].left = c.members[1].left = 5;
    run(&c.members[0].line);
    run(&c.members[1].line);
    go_on(&c);
    assert_true(c.begun >= 6); /* no part of a turn went on with more than one or two of them */
    end(&c);
}

static void where_the_turn_has_no_time_left_one_request_still_runs(void **state)
{
    crowd c;

    (void)state;
    begin(&c, 2 * MP__TURN_NS);
    c.members[0].left = 2;
    run(&c.members[0].line); /* the turn is over */
    c.members[1].left = 1;
    run(&c.members[1].line);
    assert_int_equal(c.members[1].left, 0);
    go_on(&c);
    end(&c);
}

static void the_head_of_the_line_goes_on_where_others_took_the_turn(void **state)
{
    crowd c;

    (void)state;
    begin(&c, MP__SLICE_NS);
    for (int i = 0; i < 2; i++) {
        c.members[i].left = 5;
        mp__turn_wait(&c.turn, &c.members[i].line);
    }
    for (int i = 0; i < 10; i++) {
        mp__turn_ends(&c.turn);
        assert_true(mp__turn_has_time(&c.turn)); /* somebody's work that came before the line's */
        now_ns += MP__TURN_NS;
        (void)mp_sim_step(c.sim);
    }
    assert_int_equal(c.members[0].left + c.members[1].left, 0);
    end(&c);
}

static void a_look_at_the_turn_does_not_make_requests_cheap(void **state)
{
    enum { COST_NS = 14 * 1000 };
    crowd c;
    int count = 0;

    (void)state;
    begin(&c, 0);
    mp__slice_begin(&c.turn);
    do {
        now_ns += COST_NS;
        assert_true(mp__turn_has_time(&c.turn)); /* as for an answer that is there at once */
        count++;
    } while (!mp__slice_is_over(&c.turn));
    assert_int_equal(count, 1 + MP__SLICE_NS / COST_NS + 1); /* of the first nobody knew */
    end(&c);
}

static void who_leaves_the_line_is_not_called(void **state)
{
    crowd c;

    (void)state;
    begin(&c, MP__SLICE_NS);
    for (int i = 0; i < 3; i++) {
        c.members[i].left = 3;
        mp__turn_wait(&c.turn, &c.members[i].line);
        mp__turn_wait(&c.turn, &c.members[i].line); /* stands in it once */
    }
    mp__turn_leave(&c.turn, &c.members[1].line);
    mp__turn_leave(&c.turn, &c.members[1].line);
    go_on(&c);
    assert_int_equal(c.members[1].left, 3);
    assert_int_equal(c.members[0].left + c.members[2].left, 0);
    for (int i = 0; i < 3; i++) {
        c.members[i].left = 1;
        mp__turn_wait(&c.turn, &c.members[i].line);
    }
    mp__turn_leave(&c.turn, &c.members[2].line);
    mp__turn_leave(&c.turn, &c.members[0].line);
    mp__turn_leave(&c.turn, &c.members[1].line);
    assert_null(c.turn.first);
    assert_null(c.turn.last);
    (void)mp_sim_step(c.sim);
    end(&c);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(who_asks_little_has_it_in_one_go),
    MP_TEST(who_asks_much_goes_on_in_its_turn_until_all_is_done),
    MP_TEST(the_sockets_are_looked_at_again_after_each_turn),
    MP_TEST(where_the_turn_has_no_time_left_one_request_still_runs),
    MP_TEST(the_head_of_the_line_goes_on_where_others_took_the_turn),
    MP_TEST(a_look_at_the_turn_does_not_make_requests_cheap),
    MP_TEST(who_leaves_the_line_is_not_called),
};

MP_TEST_MAIN(tests)
