/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/circuit.h"

#define NS_PER_MS 1000000u

static const char *const state_names[] = {
    [MP__CIRCUIT_CLOSED] = "closed",
    [MP__CIRCUIT_OPEN] = "open",
    [MP__CIRCUIT_HALF_OPEN] = "half-open",
};

static const mp__state_move state_moves[] = {
    {MP__CIRCUIT_CLOSED, MP__CIRCUIT_OPEN},      {MP__CIRCUIT_OPEN, MP__CIRCUIT_HALF_OPEN},
    {MP__CIRCUIT_OPEN, MP__CIRCUIT_CLOSED},      {MP__CIRCUIT_HALF_OPEN, MP__CIRCUIT_OPEN},
    {MP__CIRCUIT_HALF_OPEN, MP__CIRCUIT_CLOSED},
};

const mp__state_table mp__circuit_states = {
    "circuit",
    state_names,
    sizeof(state_names) / sizeof(state_names[0]),
    state_moves,
    sizeof(state_moves) / sizeof(state_moves[0]),
};

void mp__circuit_init(mp__circuit *circuit)
{
    mp__state_init(&circuit->state, &mp__circuit_states, MP__CIRCUIT_CLOSED, NULL, NULL);
}

/* Up to half as long again by chance, so that the nodes of a fleet do not ask at once. */
static void open_for_a_pause(mp__circuit *circuit, uint64_t now_ns, uint64_t random)
{
    (void)mp__state_move_to(&circuit->state, MP__CIRCUIT_OPEN, "no answer in time");
    circuit->due_ns = now_ns + circuit->pause_ns + random % (circuit->pause_ns / 2 + 1);
    circuit->pause_ns *= 2;
    if (circuit->pause_ns > MP__CIRCUIT_PAUSE_LAST_MS * (uint64_t)NS_PER_MS)
        circuit->pause_ns = MP__CIRCUIT_PAUSE_LAST_MS * (uint64_t)NS_PER_MS;
}

bool mp__circuit_close(mp__circuit *circuit)
{
    bool was_open = mp__circuit_is_open(circuit);

    atomic_store_explicit(&circuit->late_now, 0, memory_order_relaxed);
    (void)mp__state_move_to(&circuit->state, MP__CIRCUIT_CLOSED, "an answer");
    return was_open;
}

bool mp__circuit_late(mp__circuit *circuit, uint64_t asked_ns, uint64_t now_ns, uint64_t random)
{
    atomic_fetch_add_explicit(&circuit->late, 1, memory_order_relaxed);
    if (mp__circuit_is_open(circuit) ||
        atomic_load_explicit(&circuit->answered_ns, memory_order_relaxed) > asked_ns)
        return false;
    if (atomic_load_explicit(&circuit->late_now, memory_order_relaxed) == 0 ||
        asked_ns < circuit->silent_since_ns)
        circuit->silent_since_ns = asked_ns;
    if (atomic_fetch_add_explicit(&circuit->late_now, 1, memory_order_relaxed) + 1 <
        MP__CIRCUIT_LATE_MAX)
        return false;
    return mp__circuit_open(circuit, circuit->silent_since_ns, now_ns, random);
}

bool mp__circuit_open(mp__circuit *circuit, uint64_t since_ns, uint64_t now_ns, uint64_t random)
{
    if (mp__circuit_is_open(circuit) ||
        atomic_load_explicit(&circuit->answered_ns, memory_order_relaxed) > since_ns)
        return false;
    circuit->silent_since_ns = since_ns;
    atomic_fetch_add_explicit(&circuit->opened, 1, memory_order_relaxed);
    circuit->pause_ns = MP__CIRCUIT_PAUSE_FIRST_MS * (uint64_t)NS_PER_MS;
    open_for_a_pause(circuit, now_ns, random);
    return true;
}

bool mp__circuit_probes(mp__circuit *circuit, uint64_t now_ns, uint64_t timeout_ns, uint64_t random)
{
    uint8_t state = mp__state_now(&circuit->state);

    if (state == MP__CIRCUIT_CLOSED || now_ns < circuit->due_ns)
        return false;
    if (state == MP__CIRCUIT_HALF_OPEN) {
        open_for_a_pause(circuit, now_ns, random);
        return false;
    }
    (void)mp__state_move_to(&circuit->state, MP__CIRCUIT_HALF_OPEN, "a probe");
    circuit->due_ns = now_ns + timeout_ns;
    return true;
}
