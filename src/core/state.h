/* SPDX-License-Identifier: Apache-2.0 */
/* State machines as tables: states, allowed moves, and one function that moves and traces. */
#ifndef MP_CORE_STATE_H
#define MP_CORE_STATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/error.h"

typedef struct mp__state_move {
    uint8_t from, to;
} mp__state_move;

typedef struct mp__state_table {
    const char *name;          /* of the machine: "origin", "connection" */
    const char *const *states; /* their names */
    uint8_t state_count;
    const mp__state_move *moves;
    uint8_t move_count;
} mp__state_table;

/* Called for each move that is made; for logs, metrics and the audit. */
typedef void mp__state_trace_fn(void *context, const mp__state_table *table, uint8_t from,
                                uint8_t to, const char *cause);

typedef struct mp__state {
    const mp__state_table *table;
    mp__state_trace_fn *trace; /* may be NULL */
    void *context;
    _Atomic uint8_t now; /* read from any thread; moved by its owner */
} mp__state;

void mp__state_init(mp__state *state, const mp__state_table *table, uint8_t first,
                    mp__state_trace_fn *trace, void *context);

/* Move to @to because of @cause. 0; 0 without a trace when it is there already; MP_EINVAL when the
 * table does not allow it (nothing moves). The owner's thread. */
int mp__state_move_to(mp__state *state, uint8_t to, const char *cause);

static inline uint8_t mp__state_now(const mp__state *state)
{
    return atomic_load_explicit(&state->now, memory_order_acquire);
}

const char *mp__state_name(const mp__state *state);

#endif
