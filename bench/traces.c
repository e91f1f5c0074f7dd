/* SPDX-License-Identifier: Apache-2.0 */
#include "traces.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int load_trace(const char *path, mp__trace *trace)
{
    static char text[1 << 20];
    size_t have = 0, n, used = 0;
    FILE *file = fopen(path, "rbe");
    mp__diag diag = {0};
    int rc = file ? 0 : -1;

    for (bool is_last = false; rc == 0 && !is_last;) {
        n = fread(text + have, 1, sizeof(text) - have, file);
        is_last = n == 0; /* what is left may be a line without its end */
        have += n;
        rc = mp__trace_add(trace, mp_str_new(text, have), is_last, &used, &diag);
        if (rc == 0) {
            memmove(text, text + used, have - used);
            have -= used;
        }
    }
    if (file)
        (void)fclose(file);
    if (rc)
        (void)fprintf(stderr, "cannot read %s: %s\n", path, diag.text);
    return rc;
}

uint64_t mixed_hash(uint64_t hash, unsigned seed)
{
    if (seed == 0)
        return hash;
    hash += seed * 0x9e3779b97f4a7c15ULL; /* splitmix64 (Steele et al., 2014) */
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebULL;
    return hash ^ hash >> 31;
}
