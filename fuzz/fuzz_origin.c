/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of changes in the origin's journal: whatever the bytes are, what is read lies inside them,
 * and written again is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "origin/sqlite_group.h"

enum { CHANGES_MAX = 64 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(mp_str part, mp_str whole)
{
    must(part.size == 0 || (part.data >= whole.data && part.size <= whole.size &&
                            (size_t)(part.data - whole.data) <= whole.size - part.size));
}

/* All of it was read: so it is what would be written. */
static void write_again(const mp__sqlite_group *group, mp__sqlite_staged *staged, size_t count,
                        mp_str record)
{
    char epoch[33] = "", *bytes = malloc(record.size);

    must(bytes != NULL);
    must(mp__sqlite_group_size(staged, count) == record.size);
    memcpy(epoch, group->epoch.data, 32);
    mp__sqlite_group_encode(epoch, group->base, group->revision, staged, count, bytes);
    must(memcmp(bytes, record.data, record.size) == 0);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mp__sqlite_staged staged[CHANGES_MAX];
    mp_str record = mp_str_new((const char *)data, size);
    mp__sqlite_group group;
    mp__sqlite_row row;
    size_t count = 0;
    int rc = mp__sqlite_group_decode(record, &group);

    while (rc >= 0 && (rc = mp__sqlite_group_next(&group, &row)) == 1) {
        inside(row.record.address, record);
        inside(row.record.media_type, record);
        inside(row.actor, record);
        inside(row.record.value, record);
        must(row.record.revision > group.base && row.record.revision <= group.revision);
        if (count < CHANGES_MAX)
            staged[count] = (mp__sqlite_staged){.row = row};
        count++;
    }
    if (rc == 0 && count <= CHANGES_MAX)
        write_again(&group, staged, count, record);
    return 0;
}
