/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics and knobs: what a module shows and what it lets be turned, each in one table beside the
 * code. /metrics, the dashboard, docs, `marketprism knobs` and the optimizer read these tables. */
#ifndef MP_CORE_KNOB_H
#define MP_CORE_KNOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum mp__metric_kind { MP__METRIC_COUNTER, MP__METRIC_GAUGE, MP__METRIC_HISTOGRAM };

/* Prometheus naming: marketprism_<module>_<what>_<unit>[_total]. */
typedef struct mp__metric {
    const char *name; /* without the prefix "marketprism_" */
    const char *unit; /* "seconds", "bytes", "ratio", "" */
    const char *help; /* one sentence */
    enum mp__metric_kind kind;
    const char *labels; /* "tier,operation"; "" for none */
} mp__metric;

typedef struct mp__knob {
    const char *name; /* the option's path: "cache.l1_size" */
    const char *unit;
    const char *help; /* what a change does and costs */
    double low, high, standard;
    bool safe;                  /* may be turned without a person */
    const char *const *choices; /* NULL: a number; else NULL-ended names, value = index */
    double (*get)(void *module);
    int (*set)(void *module, double value, mp__diag *diag); /* 0, MP_EINVAL, MP_ENOMEM */
    /* Effect on named metrics with an interval; NULL where the module has no model. */
    int (*predict)(void *module, double value, const char *metric, double *ret_low,
                   double *ret_mean, double *ret_high);
} mp__knob;

typedef struct mp__knob_table {
    const char *module;
    const mp__knob *knobs;
    size_t count;
} mp__knob_table;

/* The knob called @name, or NULL. Pure. */
const mp__knob *mp__knob_find(const mp__knob_table *table, const char *name);
/* Check the range, then set. MP_EINVAL with a text that names the range. */
int mp__knob_set(const mp__knob *knob, void *module, double value, mp__diag *diag);

#endif
