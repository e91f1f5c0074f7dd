/* SPDX-License-Identifier: Apache-2.0 */
#include "server/turn.h"

#include <stddef.h>

/* A look at the clock, the first of which begins the turn. */
static uint64_t look(mp__turn *turn)
{
    uint64_t now = mp__env_now_ns(turn->env);

    if (!turn->began_ns)
        turn->began_ns = now;
    return now;
}

/* ---- slices ---- */

void mp__slice_begin(mp__turn *turn)
{
    turn->slice_ns = turn->looked_ns = turn->told_ns;
    turn->steps = turn->left = 1;
}

/* A look at the clock costs as much as a cheap request: so where all since the last look were
 * cheap, it comes after twice as many. */
static void choose_steps(mp__turn *turn, uint64_t now)
{
    if (now - turn->looked_ns >= (uint64_t)turn->steps * MP__SLICE_CHEAP_NS)
        turn->steps = 1;
    else if (turn->steps < MP__SLICE_STEPS_MOST)
        turn->steps *= 2;
    turn->left = turn->steps;
    turn->looked_ns = now;
}

bool mp__slice_is_over(mp__turn *turn)
{
    uint64_t now, used;

    if (--turn->left)
        return false;
    now = look(turn);
    if (!turn->slice_ns) { /* what the first one took is not known */
        turn->slice_ns = turn->looked_ns = now;
        turn->left = 1;
        return false;
    }
    choose_steps(turn, now);
    used = now - turn->slice_ns;
    return used >= (now - turn->began_ns < MP__TURN_NS ? MP__SLICE_NS : MP__SLICE_LEAST_NS);
}

/* ---- the line ---- */

bool mp__turn_has_time(mp__turn *turn)
{
    return look(turn) - turn->began_ns < MP__TURN_NS;
}

static void post(mp__turn *turn)
{
    if (turn->posted)
        return;
    turn->posted = true;
    mp__loop_post(turn->loop, &turn->task);
}

/* There is time for one also where what came before has taken all of it, as it may in each turn. */
static void go_on(mp__task *task)
{
    mp__turn *turn = (mp__turn *)((char *)task - offsetof(mp__turn, task));
    mp__in_line *who;

    turn->posted = false;
    turn->before(turn->context);
    turn->told_ns = look(turn);
    while ((who = turn->first) != NULL) {
        mp__turn_leave(turn, who);
        who->go_on(who);
        turn->told_ns = look(turn);
        if (turn->told_ns - turn->began_ns >= MP__TURN_NS)
            break;
    }
    turn->told_ns = 0;
    if (turn->first)
        post(turn);
}

void mp__turn_cut(mp__turn *turn)
{
    turn->began_ns = 1; /* long ago */
}

void mp__turn_wait(mp__turn *turn, mp__in_line *who)
{
    if (who->waits)
        return;
    who->waits = true;
    who->next = NULL;
    who->previous = turn->last;
    if (turn->last)
        turn->last->next = who;
    else
        turn->first = who;
    turn->last = who;
    post(turn);
}

void mp__turn_leave(mp__turn *turn, mp__in_line *who)
{
    if (!who->waits)
        return;
    who->waits = false;
    *(who->previous ? &who->previous->next : &turn->first) = who->next;
    *(who->next ? &who->next->previous : &turn->last) = who->previous;
}

void mp__turn_init(mp__turn *turn, mp__loop *loop, void (*before)(void *context), void *context)
{
    *turn = (mp__turn){.loop = loop,
                       .env = mp__loop_env(loop),
                       .before = before,
                       .context = context,
                       .task = {NULL, go_on},
                       .steps = 1,
                       .left = 1};
}

void mp__turn_ends(mp__turn *turn)
{
    turn->began_ns = 0;
}
