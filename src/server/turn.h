/* SPDX-License-Identifier: Apache-2.0 */
/* How much one connection may have of a loop before others come, so that no pipeline, however deep
 * and of whatever it asks, makes another client wait.
 *
 * What a connection may do in one go is a *slice*, measured in time, for requests differ a
 * thousandfold in what they cost. It always runs one request, so everybody gets on. Who has more
 * asks mp__slice_is_over() between two requests, and stands in *line* once it is: the loop looks
 * at its sockets again, then goes on with the line from its head, for the rest of a *turn*, and
 * with one in any case. So who comes with a little is answered before those who came with much.
 *
 *     bytes came --> run --> nothing left -----------------> read on
 *                     ^  \-> the slice is over --> in line    (reading pauses)
 *                     |                               |
 *                     +------ a turn has time left ---+
 *
 * All of it belongs to the worker's loop thread. */
#ifndef MP_SERVER_TURN_H
#define MP_SERVER_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/env.h"

enum {
    MP__SLICE_NS = 100 * 1000,      /* of one connection */
    MP__SLICE_LEAST_NS = 20 * 1000, /* the same where the turn has no time left */
    MP__TURN_NS = 2 * 1000 * 1000,  /* of all, before the sockets are looked at again */
    MP__SLICE_STEPS_MOST = 16,      /* cheap requests between two looks at the clock */
    MP__SLICE_CHEAP_NS = 1000,      /* a request that is cheap */
};

/* Who stands in line. Part of a connection; zeroed it stands in none. */
typedef struct mp__in_line {
    struct mp__in_line *next, *previous;
    void (*go_on)(struct mp__in_line *who); /* its time has come; it may stand in line again */
    bool waits;
} mp__in_line;

typedef struct mp__turn {
    mp__loop *loop;
    mp_env *env;
    void (*before)(void *context); /* called once before some of the line go on */
    void *context;
    mp__in_line *first, *last;
    mp__task task; /* goes on with the line */
    bool posted;
    uint64_t began_ns, slice_ns; /* since when; 0: nobody has looked at the clock yet */
    uint64_t looked_ns;          /* the last look of this slice */
    uint64_t told_ns;            /* the time, to who goes on from the line; else 0 */
    uint32_t steps, left;        /* requests from one look to the next; of them to come */
} mp__turn;

/* @before is called with @context at the beginning of each part of a turn that goes on with the
 * line. */
void mp__turn_init(mp__turn *turn, mp__loop *loop, void (*before)(void *context), void *context);
/* The loop is about to sleep, or to look at its sockets again. */
void mp__turn_ends(mp__turn *turn);
/* The requests of another connection begin. */
void mp__slice_begin(mp__turn *turn);
/* Whether the connection at work has had its share; after each request, or group of them that cost
 * next to nothing, where there is one more. */
bool mp__slice_is_over(mp__turn *turn);
/* Whether there is time left in this turn for what can wait for the next: a look at the clock. */
bool mp__turn_has_time(mp__turn *turn);
/* Who goes on from the line has taken long: the sockets are looked at before the next one does. */
void mp__turn_cut(mp__turn *turn);
/* Stand at the end of the line; nothing where @who does already. */
void mp__turn_wait(mp__turn *turn, mp__in_line *who);
/* Leave the line, for who goes; nothing where @who does not stand in it. */
void mp__turn_leave(mp__turn *turn, mp__in_line *who);

#endif
