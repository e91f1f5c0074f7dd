/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls the disk under L3 is said once, in the log and among the events: that it takes no
 * writes, that it does again, and that records were damaged. The origin tells of itself
 * (change_path.c). */
#include <inttypes.h>

#include "manager/internal.h"

enum {
    PAUSE_S = 60
}; /* between two troubles, or two of damage: on a full disk L3 comes and goes */

static void note_trouble(mp__manager *manager, uint32_t now_s)
{
    mp__disk_notes *notes = &manager->disk_notes;
    mp__diag diag = {0};
    int trouble = mp__cache_l3_trouble(manager->cache, &diag);

    if ((trouble != 0) == notes->is_trouble || (trouble && now_s < notes->trouble_after_s))
        return;
    notes->is_trouble = trouble != 0;
    notes->trouble_after_s = trouble ? now_s + PAUSE_S : notes->trouble_after_s;
    mp__event_note(manager, trouble ? "l3-degraded" : "l3-live", "%s",
                   trouble ? diag.text : "the disk takes writes again");
    if (trouble)
        mp__log(manager->log, MP__LOG_ERROR, "cache", "l3-degraded",
                "%s; make room or mend the disk, it recovers by itself", diag.text);
    else
        mp__log(manager->log, MP__LOG_INFO, "cache", "l3-live", "the disk takes writes again");
}

static void note_damage(mp__manager *manager, uint32_t now_s)
{
    mp__disk_notes *notes = &manager->disk_notes;
    uint64_t damaged = mp__cache_l3_damaged(manager->cache);

    if (damaged == notes->damaged || now_s < notes->damaged_after_s)
        return;
    notes->damaged = damaged;
    notes->damaged_after_s = now_s + PAUSE_S;
    mp__event_note(manager, "l3-damaged",
                   "%" PRIu64 " records since the start; nothing of them was served", damaged);
    mp__log(manager->log, MP__LOG_WARN, "cache", "l3-damaged",
            "%" PRIu64 " damaged records of L3 were found since the start, and nothing of them was "
            "served; look at the disk (smartctl, dmesg)",
            damaged);
}

void mp__disk_notes_turn(mp__manager *manager, uint32_t now_s)
{
    if (atomic_flag_test_and_set_explicit(&manager->disk_notes.turning, memory_order_acquire))
        return;
    note_trouble(manager, now_s);
    note_damage(manager, now_s);
    atomic_flag_clear_explicit(&manager->disk_notes.turning, memory_order_release);
}
