/* SPDX-License-Identifier: Apache-2.0 */
/* What `marketprism bench NAME` runs: each bench measures a part of the product beside a reference
 * in the same run, since ratios travel between machines and nanoseconds do not. */
#ifndef MP_BENCH_BENCH_H
#define MP_BENCH_BENCH_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/error.h"

typedef struct mp__bench_options {
    unsigned rounds;  /* turns of ours and of the reference, in alternation; 0: the bench's own */
    unsigned threads; /* most threads at once; 0: as many as cores, at most 2 */
    bool json;        /* one JSON object instead of a table for people */
} mp__bench_options;

typedef struct mp__bench {
    const char *name; /* "l1-get" */
    const char *text; /* one sentence for --help */
    /* Measure and print to @out. 0, MP_ENOMEM, MP_EINVAL or -errno with a text in @diag. Takes
     * seconds; uses only the threads it starts itself. */
    int (*run)(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
} mp__bench;

extern const mp__bench mp__benches[];              /* ended by one without a name */
const mp__bench *mp__bench_find(const char *name); /* or NULL */

#endif
