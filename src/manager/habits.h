/* SPDX-License-Identifier: Apache-2.0 */
/* Habits: what is read at which time of day, and what is read together, learned from samples of
 * what readers ask for, and used to have it in memory before it is asked for.
 *
 *     loops: a tap each -> groups of up to 8 reads of one connection -> mp-habits: the model
 *
 *     at the start, and before each full hour   what this and the next hour usually read
 *     after a read that found nothing in memory what is usually read with it
 *
 * The model holds at most cache.habits_keys addresses, each with 24 counts, one an hour of the day
 * (UTC), that fade by a fifth a day, and the four addresses most often read within the same group
 * (counted as by "Space Saving": Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent
 * and Top-k Elements in Data Streams", ICDT 2005). It is written to habits.json in the data
 * directory each quarter of an hour. What is brought into memory is verified at the origin, a few
 * at a time, within cache.preload_budget. */
#ifndef MP_MANAGER_HABITS_H
#define MP_MANAGER_HABITS_H

#include "manager/manager.h"

typedef struct mp__habits mp__habits;

enum { MP__HABIT_GROUP = 8, MP__HABIT_PAIRS = 4 };

/* ---- the model, pure ---- */

typedef struct mp__habit_model mp__habit_model;
MP_MUST_USE int mp__habit_model_new(size_t keys_max, uint64_t secret, mp__habit_model **ret_model);
mp__habit_model *mp__habit_model_free(mp__habit_model *model);
/* These were read together at @wall_ms. What there is no memory or room for is not learned. */
void mp__habit_model_learn(mp__habit_model *model, const mp_str *addresses, size_t count,
                           int64_t wall_ms);
/* Call @each for what is usually read in the hour of @wall_ms, most first, until it answers false:
 * @expected is how often, in samples a day. What was seen less than twice is no habit. */
void mp__habit_model_expect(const mp__habit_model *model, int64_t wall_ms,
                            bool (*each)(void *context, mp_str address, double expected),
                            void *context);
/* What is read with @address at least every other time; slices of the model. Their number. */
size_t mp__habit_model_with(const mp__habit_model *model, mp_str address,
                            mp_str ret_addresses[MP__HABIT_PAIRS]);
size_t mp__habit_model_count(const mp__habit_model *model);
/* As JSON and back; MP_ESYNTAX when it is none of ours (the model is empty then). Names that are
 * not UTF-8 are left out. */
void mp__habit_model_json(const mp__habit_model *model, mp__buf *out);
MP_MUST_USE int mp__habit_model_load(mp__habit_model *model, mp_str json);

/* ---- at work ---- */

MP_MUST_USE int mp__habits_new(mp__manager *manager, const mp__options *options);
void mp__habits_stop(mp__habits *habits); /* before the origin is closed; writes what was learned */
mp__habits *mp__habits_free(mp__habits *habits);
/* Bring what this hour usually reads, as at the start, within about 100 ms; once for all that ask
 * until then. Any thread; never blocks. */
void mp__habits_expect(mp__habits *habits);
/* A read of @address found nothing in memory. Any thread. */
void mp__habits_missed(mp__habits *habits, mp_str address);
void mp__habits_json(mp__habits *habits, mp__buf *out);

#endif
