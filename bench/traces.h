/* SPDX-License-Identifier: Apache-2.0 */
/* Reading traces for the benches that replay them in process. */
#ifndef MP_BENCH_TRACES_H
#define MP_BENCH_TRACES_H

#include <stdint.h>

#include "cache/replay.h"

/* Add the requests of the uncompressed file @path to @trace, also a last line without its end. Not
 * 0: it cannot be read, and stderr says why. One thread at a time. */
int load_trace(const char *path, mp__trace *trace);

/* The hash of a key for another sample of the same requests; 0: as it is. */
uint64_t mixed_hash(uint64_t hash, unsigned seed);

#endif
