/* SPDX-License-Identifier: Apache-2.0 */
/* A whole machine in one thread, from a seed: an mp_env whose clock, random numbers, files, loops,
 * timers, workers and sockets are simulated. What may happen next in any order happens in an order
 * that the seed chose, and the clock jumps over the time in which nothing happens, so hours take
 * moments, and a run that failed is repeated by its seed.
 *
 *     mp_sim *sim = mp_sim_new(seed);
 *     ... make loops, managers, servers on mp_sim_env(sim) ...
 *     mp_sim_run(sim, 3600 * 1000);                   // an hour passes
 *     mp_platter_power_off(mp_sim_disk(sim), MP_PLATTER_TEAR);
 *
 * The disk is mp_platter's, which says what can go wrong with it. */
#ifndef MP_SIM_H
#define MP_SIM_H

#include "core/env.h"
#include "mp_platter.h"

typedef struct mp_sim mp_sim;

mp_sim *mp_sim_new(uint64_t seed);
mp_sim *mp_sim_free(mp_sim *sim); /* everything on it closed */
mp_env *mp_sim_env(mp_sim *sim);
mp_platter *mp_sim_disk(mp_sim *sim);
uint64_t mp_sim_random(mp_sim *sim, uint64_t bound); /* below @bound, from the seed */

/* ---- letting things happen ---- */

/* The next event, with the clock moved to it; false when nothing will ever happen by itself. */
bool mp_sim_step(mp_sim *sim);
/* All that happens within @ms; the clock stands there then. */
void mp_sim_run(mp_sim *sim, uint64_t ms);
/* Until @done is true. False: it was not within @ms. */
bool mp_sim_run_until(mp_sim *sim, bool (*done)(void *context), void *context, uint64_t ms);
/* Set the wall clock forward or back; the monotonic one goes on. */
void mp_sim_jump(mp_sim *sim, int64_t ms);

/* Tell those that watch its folder that @path changed: for what a test did to the disk by itself.
 * Renaming and unlinking through the env tells them, too. */
void mp_sim_touched(mp_sim *sim, const char *path);

/* ---- what goes wrong ---- */

/* Tasks of workers whose names begin with @name take @least_ms to @most_ms longer; 0, 0 ends it. */
void mp_sim_slow(mp_sim *sim, const char *name, uint64_t least_ms, uint64_t most_ms);
/* No byte passes between any two sockets from now on, and nobody is told; false ends it. */
void mp_sim_partition(mp_sim *sim, bool on);

/* Watches of folders are refused with @error from now on (0: not), and, @silent, none is told of
 * anything. */
void mp_sim_dirwatch(mp_sim *sim, int error, bool silent);

#endif
