/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a reader who is slow, or who still catches up: in the order in which it came. */
#include <string.h>

#include "core/alloc.h"
#include "server/http/watch.h"

void mp__watch_pending_init(mp__watch_waiting *waits)
{
    *waits = (mp__watch_waiting){.last = &waits->first};
}

mp__watch_pending *mp__watch_pending_free(mp__watch_pending *p)
{
    if (p)
        (void)mp__entry_unref(p->entry);
    return mp__free(p);
}

void mp__watch_pending_clear(mp__watch_waiting *waits)
{
    mp__watch_pending *p;

    while ((p = mp__watch_pending_pop(waits)) != NULL)
        (void)mp__watch_pending_free(p);
}

bool mp__watch_pending_is_any(const mp__watch_waiting *waits)
{
    return waits->first || waits->reset_due;
}

void mp__watch_pending_reset(mp__watch_waiting *waits, uint64_t revision, const char *reason)
{
    mp__watch_pending_clear(waits);
    waits->reset_due = true;
    waits->reset_revision = revision;
    waits->reset_reason = reason;
}

mp__watch_pending *mp__watch_pending_pop(mp__watch_waiting *waits)
{
    mp__watch_pending *p = waits->first;

    if (!p)
        return NULL;
    waits->first = p->next;
    if (!p->next)
        waits->last = &waits->first;
    waits->bytes -= p->bytes;
    return p;
}

bool mp__watch_is_about_keys(enum mp__watch_word word)
{
    return word == MP__WORD_PUT || word == MP__WORD_DELETE;
}

/* Whether the later one of two says all that the other does. Keys that are not named may be others:
 * of those only the same word does. */
static bool replaces(const mp__watch_message *later, const mp__watch_message *earlier)
{
    return mp__watch_is_about_keys(earlier->word) == mp__watch_is_about_keys(later->word) &&
           earlier->more == later->more && (!later->more || earlier->word == later->word) &&
           mp_str_equal(earlier->address, later->address);
}

static bool is_same(const mp__watch_pending *a, const mp__watch_pending *b)
{
    return a->hash == b->hash && replaces(&a->message, &b->message);
}

/* Take out what @link leads to. */
static void take_out(mp__watch_waiting *waits, mp__watch_pending **link)
{
    mp__watch_pending *p = *link;

    *link = p->next;
    if (!p->next)
        waits->last = link;
    waits->bytes -= p->bytes;
    (void)mp__watch_pending_free(p);
}

size_t mp__watch_pending_forget(mp__watch_waiting *waits, const mp__watch_message *m, uint64_t hash)
{
    for (mp__watch_pending **link = &waits->first; *link; link = &(*link)->next) {
        if ((*link)->hash != hash || !replaces(m, &(*link)->message))
            continue;
        take_out(waits, link);
        return 1;
    }
    return 0;
}

/* Each with each: at most MP__WATCH_PENDING_MAX bytes of them. */
size_t mp__watch_pending_forget_all(mp__watch_waiting *waits)
{
    mp__watch_pending **link = &waits->first;
    size_t forgotten = 0;

    while (*link) {
        mp__watch_pending *later = (*link)->next;

        while (later && !is_same(later, *link))
            later = later->next;
        if (later) {
            take_out(waits, link);
            forgotten++;
        } else {
            link = &(*link)->next;
        }
    }
    return forgotten;
}

bool mp__watch_pending_add(mp__watch_waiting *waits, const mp__watch_message *m, uint64_t hash,
                           const mp__entry *entry)
{
    size_t bytes = sizeof(mp__watch_pending) + m->address.size;
    size_t value = entry && m->has_value ? m->value.size : 0;
    mp__watch_pending *p;

    if (waits->bytes + bytes > MP__WATCH_PENDING_MAX)
        return false;
    p = mp__malloc(bytes);
    if (!p)
        return false;
    *p = (mp__watch_pending){.message = *m, .hash = hash, .bytes = bytes};
    if (m->address.size)
        memcpy(p->address, m->address.data, m->address.size);
    p->message.address = mp_str_new(p->address, m->address.size);
    p->message.value = p->message.media_type = mp_str_new("", 0);
    p->message.has_value = false;
    if (entry && waits->bytes + bytes + value <= MP__WATCH_PENDING_MAX) { /* else without it */
        p->entry = mp__entry_ref(entry);
        p->bytes += value;
    }
    *waits->last = p;
    waits->last = &p->next;
    waits->bytes += p->bytes;
    return true;
}
