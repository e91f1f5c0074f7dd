/* SPDX-License-Identifier: Apache-2.0 */
/* A write of an earlier life that finds something else than it was to stand over: it may have
 * arrived in that life, and have expired or been written over since. Its history says, which is
 * asked for piece by piece. One that has ended is not sent before that was asked: it would come
 * once more, over whatever stands there by now. */
#include "manager/write_back_internal.h"

enum { REVISIONS_MOST = 1000, BYTES_MOST = 4 << 20 };

bool mp__back_is_there(const mp__pending *p, const mp__change *change)
{
    if (p->entry->kind == MP__RECORD_ABSENT)
        return change->after.revision != 0 && change->after.kind == MP__RECORD_ABSENT;
    return change->after.revision != 0 && change->after.kind == MP__RECORD_VALUE &&
           change->after.expires_ms == change->expires_ms &&
           mp_str_equal(change->after.value, change->value) &&
           mp_str_equal(change->after.media_type, change->media_type);
}

bool mp__back_looks_first(mp__pending *p, int64_t now_ms)
{
    p->looks_first = p->may_have_come && !p->knows_past && p->entry->kind == MP__RECORD_VALUE &&
                     p->entry->expires_ms && p->entry->expires_ms <= now_ms;
    if (p->looks_first)
        p->status = MP_ECONFLICT; /* until its history says that it has come */
    return p->looks_first;
}

bool mp__back_has_not_come(mp__pending *p)
{
    bool has_not = p->looks_first && p->knows_past && p->status;

    p->looks_first = p->looks_first && !p->knows_past && p->past_before;
    return has_not;
}

bool mp__back_may_have_come(const mp__pending *p)
{
    return p->may_have_come && !p->knows_past && p->status == MP_ECONFLICT &&
           (p->base_known || p->past_before);
}

static bool is_it(const mp__pending *p, const mp__record *record, mp_str actor)
{
    if (record->revision <= p->base || record->kind != p->entry->kind ||
        !mp_str_equal(actor, mp_str_of(p->identity.name)))
        return false;
    return record->kind == MP__RECORD_ABSENT ||
           (record->expires_ms == p->entry->expires_ms &&
            mp_str_equal(record->value, mp_blob_str(&p->entry->blob.pub)) &&
            mp_str_equal(record->media_type, mp__entry_media_type(p->entry)));
}

/* Below which revision it goes on, where it may lie behind what was looked at; 0: it does not. */
static uint64_t goes_on_before(const mp__history *history, const mp__pending *p,
                               const mp__record *records, size_t count)
{
    bool is_whole = count == 0 || (count < history->limit && !history->cut);

    return is_whole || records[count - 1].revision <= p->base ? 0 : records[count - 1].revision;
}

/* On the origin's reader. What cannot be said of a history that is damaged, or that the origin does
 * not keep, leaves the write a conflict; of an origin that is gone it is asked again. */
static void came(mp__history *history, int status, const mp__record *records, const mp_str *actors,
                 size_t count)
{
    mp__pending *p = (mp__pending *)((char *)history - offsetof(mp__pending, past));

    p->past_before = status == 0 ? goes_on_before(history, p, records, count) : 0;
    p->knows_past =
        (status == 0 && !p->past_before) || status == MP_ECORRUPT || status == MP_EUNSUPPORTED;
    if (!p->knows_past && status)
        p->status = status;
    for (size_t i = 0; i < count && status == 0; i++)
        if (is_it(p, &records[i], actors[i])) {
            p->status = 0;
            p->past_before = 0;
            p->revision = records[i].revision;
            break;
        }
    mp__worker_post(p->past_worker, &p->task);
}

void mp__back_ask_past(mp__pending *p, mp__origin *origin, mp__worker *worker)
{
    p->past_worker = worker;
    p->past = (mp__history){
        .address = mp__entry_address(p->entry),
        .before = p->past_before,
        .limit = REVISIONS_MOST,
        .with_values = true,
        .bytes_max = BYTES_MOST,
        .done = came,
    };
    mp__origin_history(origin, &p->past);
}
