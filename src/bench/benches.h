/* SPDX-License-Identifier: Apache-2.0 */
/* The benches that benches.c lists, each in the file of its name. */
#ifndef MP_BENCH_BENCHES_H
#define MP_BENCH_BENCHES_H

#include "bench/bench.h"

int mp__bench_l2_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_compress(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_l3_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_record(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_recover(const mp__bench_options *options, mp__buf *out, mp__diag *diag);
int mp__bench_restart(const mp__bench_options *options, mp__buf *out, mp__diag *diag);

/* Remove @folder and all that is in it. */
void mp__bench_folder_remove(char *folder);

#endif
