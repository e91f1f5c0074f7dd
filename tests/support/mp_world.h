/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon without protocols in a simulated machine: what the tests of the manager stand on. There
 * is one at a time, which tests see whole.
 *
 *     world_begin(42, 50);
 *     option("cache.l1_size", "10");
 *     world_open("/data");
 *     ... ask the manager, mp_sim_run(sim, ...) ...
 *     world_end(); */
#ifndef MP_WORLD_H
#define MP_WORLD_H

#include "manager/manager.h"
#include "mp_sim.h"

extern const mp__identity identity;
extern mp_sim *sim;
extern mp__manager *manager; /* NULL while none is open */
extern mp__options *options; /* what it is opened with */
extern mp__loop *loop;

/* A machine from @seed; the manager is told the time each @tick_ms. Options first, then open. */
void world_begin(uint64_t seed, uint64_t tick_ms);
void world_end(void); /* closes the manager, too */

/* For tests that begin with a daemon of /data as the options are by themselves, and its end. */
int world_set_up(void **state);
int world_tear_down(void **state);
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)

void option(const char *path, const char *value);

/* With an origin of the test's own; NULL: as the options say. */
int world_try_open(const char *data_dir, bool new_origin, const mp__origin_ops *origin,
                   mp__diag *diag);
/* It must open; and what it asks the origin at its start is answered. */
void world_open(const char *data_dir);
void world_close(void); /* may be closed already */

/* /data/origin.db is moved away and back, and everybody learns of it. */
void world_origin_goes(void);
void world_origin_comes_back(void);

uint64_t world_fetches(void); /* how often the manager has asked the origin */

/* Until @done is true, which must be within a simulated minute. */
void world_wait(bool *done);
bool world_is_true(void *flag); /* for mp_sim_run_until() with another bound */

/* done() of reads and writes whose context is a bool. */
void world_read_done(mp__read *read);
void world_write_done(mp__write_request *request);

/* Write, and wait until it is done: the changes of @request, with what else it says. Its done(), if
 * it has one, gets a bool to set as its context. Returns the status. */
int world_write(mp__write_request *request);

#endif
