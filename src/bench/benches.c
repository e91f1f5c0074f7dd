/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of benches; a new one is a function in a file of its own and a row here. */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench_l1.h"
#include "bench/benches.h"
#include "core/env.h"

const mp__bench mp__benches[] = {
    {"l1-get", "hits in memory, one by one and batched, against a bare read-only table",
     mp__bench_l1_get},
    {"l1-mixed", "the same while another thread replaces values and evicts", mp__bench_l1_mixed},
    {"l2-get", "reads of compressed memory, against zstd expanding without a dictionary",
     mp__bench_l2_get},
    {"compress",
     "how small L2 makes values and what it costs, against zstd level 3 without a dictionary",
     mp__bench_compress},
    {"l3-get", "reads from disk that the system has in memory, against a bare pread and checksum",
     mp__bench_l3_get},
    {"record", "a latency recorded and a thing counted, against a bare histogram and counter",
     mp__bench_record},
    {"recover", "an L3 of 1 GB after kill -9, to its first right value", mp__bench_recover},
    {"restart", "kill -9 of a daemon with 100,000 keys, to its first right answer after a restart",
     mp__bench_restart},
    {NULL, NULL, NULL},
};

static int remove_one(void *context, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)context, name);
    if (mp__env_unlink(mp__env_real(), path) != 0) {
        (void)mp__env_list(mp__env_real(), path, remove_one, path);
        (void)rmdir(path);
    }
    return 0;
}

void mp__bench_folder_remove(char *folder)
{
    (void)mp__env_list(mp__env_real(), folder, remove_one, folder);
    (void)rmdir(folder);
}

const mp__bench *mp__bench_find(const char *name)
{
    for (const mp__bench *b = mp__benches; b->name; b++)
        if (strcmp(b->name, name) == 0)
            return b;
    return NULL;
}
