/* SPDX-License-Identifier: Apache-2.0 */
/* The benches of the memory tier. */
#ifndef MP_BENCH_BENCH_L1_H
#define MP_BENCH_BENCH_L1_H

#include "bench/bench.h"

int mp__bench_l1_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_l1_mixed(const mp__bench_options *options, mp__buf *out, mp__diag *diag);

#endif
