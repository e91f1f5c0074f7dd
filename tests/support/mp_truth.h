/* SPDX-License-Identifier: Apache-2.0 */
/* An origin far away, for the simulator: one server that holds the truth, asked by many nodes over
 * a network that is slow, reorders, loses and breaks.
 *
 * Values expire by the clock of all, whenever the server is asked and with its heartbeats.
 *
 * A request happens at the server at one instant between its start and its answer; answers and
 * changes travel apart, so either may come first. Changes are numbered, so that a node finds out
 * what was lost from the next one, or from a heartbeat; a node that hears nothing for
 * MP_TRUTH_LEASE_MS calls its origin down.
 *
 *     mp_truth *truth = mp_truth_new(sim);
 *     mp__manager_config config = {.origin = mp_truth_origin(truth), ...};   // any number of nodes
 *     mp_truth_cut(truth, 0, true);                  // the first node's wire is cut
 *     mp_sim_slow(sim, "net-answer-1", 0, 3000);     // also "net-request", "net-change" */
#ifndef MP_TRUTH_H
#define MP_TRUTH_H

#include "mp_sim.h"
#include "origin/origin.h"

enum { MP_TRUTH_HEARTBEAT_MS = 250, MP_TRUTH_LEASE_MS = 1000, MP_TRUTH_NODES = 4 };

typedef struct mp_truth mp_truth;

/* One at a time. */
mp_truth *mp_truth_new(mp_sim *sim);
mp_truth *mp_truth_free(mp_truth *truth);
const mp__origin_ops *mp_truth_origin(mp_truth *truth);

/* ---- the network; nodes count from 0 in the order in which they were opened first ---- */

/* Nothing passes between the node and the server, and nobody is told; false mends it. */
void mp_truth_cut(mp_truth *truth, unsigned node, bool on);
/* Requests of the node lie where they are, as if it or its peer were stopped; false: they go on. */
void mp_truth_stop(mp_truth *truth, unsigned node, bool on);
/* So many of a hundred changes are lost on their way. */
void mp_truth_lose(mp_truth *truth, unsigned percent);

/* ---- the server ---- */

uint64_t mp_truth_fetches(const mp_truth *truth); /* that reached it */
/* Another writer's: put @value under @address. */
void mp_truth_put(mp_truth *truth, const char *address, const char *value);
void mp_truth_delete(mp_truth *truth, const char *address); /* likewise */
/* Tell of each change at the moment in which it happens, in the order of the revisions. @change is
 * the one that a node asked for; NULL: another writer's, or an expiry. */
void mp_truth_on_commit(mp_truth *truth,
                        void (*told)(void *context, const mp__change *change,
                                     const mp__record *after),
                        void *context);

#endif
