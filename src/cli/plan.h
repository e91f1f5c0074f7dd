/* SPDX-License-Identifier: Apache-2.0 */
/* What files want, by environment, beside what the daemon holds of the same namespaces. */
#ifndef MP_CLI_PLAN_H
#define MP_CLI_PLAN_H

#include "cli/files.h"
#include "cli/staging.h"

typedef struct mp__plan {
    char *environment;
    mp__keyset wanted, present;
    mp__buf bare; /* "namespace/" and a NUL of each file without a key */
} mp__plan;

typedef struct mp__plans {
    const mp__arguments *arguments; /* of the verb */
    mp__plan *items;
    size_t count;
} mp__plans;

void mp__plans_done(mp__plans *plans);

/* One plan for each environment of the sources; a key that two files have is said with both
 * places. 0 or an exit code. */
int mp__plans_make(const mp__sources *sources, mp__client *client, mp__plans *plans);
/* Fetch what is present of every namespace that a file stands for, in order. 0 or an exit code. */
int mp__plans_fetch(const mp__arguments *arguments, mp__client *client, mp__plans *plans);
/* For a staging of the plans, its context: the key in a file that breaks a schema. */
const mp__key *mp__plans_find(const void *plans, const mp__told *told);
/* All differences; printed if @print. 0 or MP_ENOMEM. */
int mp__plans_compare(const mp__plans *plans, bool with_removed, bool print, mp__deltas *deltas);

/* The name of the connection's environment: the caller's. NULL: said why, code in *ret_code. */
char *mp__cli_own_environment(const mp__arguments *arguments, mp__client *client, int *ret_code);
/* Let the connection be in @environment. 0 or an exit code. */
int mp__cli_environment(const mp__arguments *arguments, mp__client *client,
                        const char *environment);

#endif
