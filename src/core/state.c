/* SPDX-License-Identifier: Apache-2.0 */
#include "core/state.h"

#include <assert.h>
#include <stddef.h>

void mp__state_init(mp__state *state, const mp__state_table *table, uint8_t first,
                    mp__state_trace_fn *trace, void *context)
{
    assert(first < table->state_count);
    state->table = table;
    state->trace = trace;
    state->context = context;
    atomic_store_explicit(&state->now, first, memory_order_release);
}

static int is_allowed(const mp__state_table *table, uint8_t from, uint8_t to)
{
    for (size_t i = 0; i < table->move_count; i++)
        if (table->moves[i].from == from && table->moves[i].to == to)
            return 1;
    return 0;
}

int mp__state_move_to(mp__state *state, uint8_t to, const char *cause)
{
    uint8_t from = mp__state_now(state);

    if (from == to)
        return 0;
    if (to >= state->table->state_count || !is_allowed(state->table, from, to))
        return MP_EINVAL;
    atomic_store_explicit(&state->now, to, memory_order_release);
    if (state->trace)
        state->trace(state->context, state->table, from, to, cause);
    return 0;
}

const char *mp__state_name(const mp__state *state)
{
    return state->table->states[mp__state_now(state)];
}
