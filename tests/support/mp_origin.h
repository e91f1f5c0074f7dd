/* SPDX-License-Identifier: Apache-2.0 */
/* An origin asked as if it answered at once: posts a request, waits for its callback, and keeps
 * what it brought. For tests on the real env, whose workers are threads. */
#ifndef MP_TEST_ORIGIN_H
#define MP_TEST_ORIGIN_H

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "mp_test.h"
#include "origin/origin.h"

/* ---- waiting ---- */

typedef struct mp_wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
} mp_wait;
#define MP_WAIT_INIT                                                                               \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

static inline void mp_wait_signal(mp_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    wait->count++;
    pthread_cond_broadcast(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
}

/* Wait until it was signalled @count times in all; fails the test after 30 s. */
static inline void mp_wait_for(mp_wait *wait, int count)
{
    struct timespec end;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    pthread_mutex_lock(&wait->lock);
    while (wait->count < count && rc == 0)
        rc = pthread_cond_timedwait(&wait->changed, &wait->lock, &end);
    pthread_mutex_unlock(&wait->lock);
    assert_int_equal(rc, 0);
}

/* The path of @name in @folder; it holds for the next three, too. */
static inline const char *mp_beside(const char *folder, const char *name)
{
    static char names[4][96];
    static int next;
    char *at = names[next++ % 4];

    snprintf(at, 96, "%s/%s", folder, name);
    return at;
}

/* Bytes of a file up to the last one that is not zero, in steps of 8: a journal without the room
 * that it keeps. 0: there is no such file. */
static inline size_t mp_used(const char *file)
{
    FILE *in = fopen(file, "rb");
    size_t used = 0, at = 0;

    if (!in)
        return 0;
    for (int c = fgetc(in); c != EOF; c = fgetc(in)) {
        at++;
        if (c)
            used = at;
    }
    fclose(in);
    return (used + 7) / 8 * 8;
}

/* ---- one fetch ---- */

typedef struct mp_got {
    mp__fetch fetch;
    mp_wait wait;
    int status;
    mp__record record; /* its value and media type below */
    char value[70000], media_type[128];
} mp_got;

static inline void mp_got_done(mp__fetch *fetch, int status, const mp__record *record)
{
    mp_got *got = (mp_got *)fetch;

    got->status = status;
    if (record) {
        size_t size = record->value.size < sizeof(got->value) - 1 ? record->value.size
                                                                  : sizeof(got->value) - 1;
        got->record = *record;
        if (size)
            memcpy(got->value, record->value.data, size);
        got->value[size] = '\0';
        got->record.value = mp_str_new(got->value, record->value.size);
        snprintf(got->media_type, sizeof(got->media_type), "%.*s", (int)record->media_type.size,
                 record->media_type.data ? record->media_type.data : "");
    }
    mp_wait_signal(&got->wait);
}

/* The status; *got is filled in. */
static inline int mp_get_since(mp__origin *origin, const char *address, uint64_t if_revision,
                               mp_got *got)
{
    memset(got, 0, sizeof(*got));
    got->wait = (mp_wait)MP_WAIT_INIT;
    got->fetch.address = mp_str_of(address);
    got->fetch.if_revision = if_revision;
    got->fetch.done = mp_got_done;
    mp__origin_fetch(origin, &got->fetch);
    mp_wait_for(&got->wait, 1);
    return got->status;
}

static inline int mp_get(mp__origin *origin, const char *address, mp_got *got)
{
    return mp_get_since(origin, address, 0, got);
}

/* ---- one write ---- */

typedef struct mp_put {
    mp__write write;
    mp__change changes[8];
    mp_wait wait;
    int status;
    char old[256]; /* of the first change that has one */
    char after[256];
} mp_put;

static inline void mp_put_done(mp__write *write, int status)
{
    mp_put *put = (mp_put *)write;

    put->status = status;
    for (size_t i = 0; i < write->count; i++)
        if (write->changes[i].had_old)
            snprintf(put->old, sizeof(put->old), "%.*s", (int)write->changes[i].old.value.size,
                     write->changes[i].old.value.data);
    if (write->count)
        snprintf(put->after, sizeof(put->after), "%.*s", (int)write->changes[0].after.value.size,
                 write->changes[0].after.value.data ? write->changes[0].after.value.data : "");
    mp_wait_signal(&put->wait);
}

static inline mp__change *mp_put_begin(mp_put *put)
{
    memset(put, 0, sizeof(*put));
    put->wait = (mp_wait)MP_WAIT_INIT;
    put->write.changes = put->changes;
    put->write.actor = MP_STR("tester");
    put->write.done = mp_put_done;
    return put->changes;
}

static inline mp__change *mp_put_add(mp_put *put, enum mp__change_op op, const char *address,
                                     const char *value, unsigned flags)
{
    mp__change *change = &put->changes[put->write.count++];

    change->op = op;
    change->flags = flags;
    change->address = mp_str_of(address);
    change->value = mp_str_of(value ? value : "");
    return change;
}

static inline int mp_put_run(mp__origin *origin, mp_put *put)
{
    mp__origin_write(origin, &put->write);
    mp_wait_for(&put->wait, 1);
    return put->status;
}

/* Write one value: the status. */
static inline int mp_set(mp__origin *origin, const char *address, const char *value)
{
    mp_put put;

    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, address, value, 0);
    return mp_put_run(origin, &put);
}

static inline int mp_del(mp__origin *origin, const char *address)
{
    mp_put put;

    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_DELETE, address, NULL, 0);
    return mp_put_run(origin, &put);
}

/* ---- lists, history, count ---- */

typedef struct mp_listed {
    union {
        mp__list list;
        mp__history history;
        mp__count count;
        mp__changed changed;
    } u;
    mp_wait wait;
    int status;
    size_t count;
    uint64_t next, keys;
    char addresses[1000][64], values[1000][64], actors[1000][32];
    mp__record records[1000]; /* without slices */
} mp_listed;

static inline void mp_listed_take(mp_listed *l, const mp__record *records, const mp_str *actors,
                                  size_t count)
{
    for (size_t i = 0; i < count && l->count < 1000; i++, l->count++) {
        snprintf(l->addresses[l->count], 64, "%.*s", (int)records[i].address.size,
                 records[i].address.data);
        snprintf(l->values[l->count], 64, "%.*s", (int)records[i].value.size,
                 records[i].value.data ? records[i].value.data : "");
        if (actors)
            snprintf(l->actors[l->count], 32, "%.*s", (int)actors[i].size, actors[i].data);
        l->records[l->count] = records[i];
    }
}

static inline void mp_listed_done(mp__list *list, int status, const mp__record *records,
                                  size_t count, uint64_t next)
{
    mp_listed *l = (mp_listed *)list;

    l->status = status;
    l->next = next;
    mp_listed_take(l, records, NULL, count);
    mp_wait_signal(&l->wait);
}

static inline void mp_listed_begin(mp_listed *l)
{
    l->wait = (mp_wait)MP_WAIT_INIT;
    l->status = 0;
}

/* All pages, by cursor or by key. */
static inline int mp_ls(mp__origin *origin, const char *environment, const char *prefix,
                        uint32_t limit, bool by_key, mp_listed *l)
{
    char after[64] = "";
    uint64_t cursor = 0;

    memset(l, 0, sizeof(*l));
    do {
        mp_listed_begin(l);
        l->u.list = (mp__list){.environment = mp_str_of(environment),
                               .prefix = mp_str_of(prefix),
                               .after = cursor,
                               .limit = limit,
                               .with_values = true,
                               .by_key = by_key,
                               .after_address = mp_str_of(after),
                               .done = mp_listed_done};
        mp__origin_list(origin, &l->u.list);
        mp_wait_for(&l->wait, 1);
        cursor = l->next;
        if (l->count)
            snprintf(after, sizeof(after), "%s", l->addresses[l->count - 1]);
    } while (cursor && l->status == 0);
    return l->status;
}

static inline void mp_history_done(mp__history *history, int status, const mp__record *records,
                                   const mp_str *actors, size_t count)
{
    mp_listed *l = (mp_listed *)history;

    l->status = status;
    mp_listed_take(l, records, actors, count);
    mp_wait_signal(&l->wait);
}

static inline int mp_hist(mp__origin *origin, const char *address, uint64_t before, uint32_t limit,
                          mp_listed *l)
{
    memset(l, 0, sizeof(*l));
    mp_listed_begin(l);
    l->u.history = (mp__history){.address = mp_str_of(address),
                                 .before = before,
                                 .limit = limit,
                                 .with_values = true,
                                 .done = mp_history_done};
    mp__origin_history(origin, &l->u.history);
    mp_wait_for(&l->wait, 1);
    return l->status;
}

static inline void mp_count_done(mp__count *count, int status, uint64_t keys)
{
    mp_listed *l = (mp_listed *)count;

    l->status = status;
    l->keys = keys;
    mp_wait_signal(&l->wait);
}

static inline uint64_t mp_keys(mp__origin *origin, const char *environment)
{
    static mp_listed l;

    mp_listed_begin(&l);
    l.u.count = (mp__count){.environment = mp_str_of(environment), .done = mp_count_done};
    mp__origin_count(origin, &l.u.count);
    mp_wait_for(&l.wait, 1);
    assert_int_equal(l.status, 0);
    return l.keys;
}

static inline void mp_changed_done(mp__changed *changed, int status, const mp__record *records,
                                   size_t count, uint64_t through)
{
    mp_listed *l = (mp_listed *)changed;

    l->status = status;
    l->next = through;
    mp_listed_take(l, records, NULL, count);
    mp_wait_signal(&l->wait);
}

/* One page of what changed after @after under @prefix; l->next is through where. */
static inline int mp_changes(mp__origin *origin, const char *prefix, uint64_t after, uint32_t limit,
                             mp_listed *l)
{
    memset(l, 0, sizeof(*l));
    mp_listed_begin(l);
    l->u.changed = (mp__changed){.prefixes = {mp_str_of(prefix)},
                                 .prefix_count = 1,
                                 .after = after,
                                 .limit = limit,
                                 .done = mp_changed_done};
    mp__origin_changed(origin, &l->u.changed);
    mp_wait_for(&l->wait, 1);
    return l->status;
}

/* ---- folders ---- */

/* A new folder under /tmp in @folder (32 bytes). */
static inline void mp_folder_new(char *folder)
{
    snprintf(folder, 32, "/tmp/mp-origin-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static inline void mp_folder_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[400];

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

#endif
