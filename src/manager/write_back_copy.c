/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of write-back's journal, made after a copy of the origin, cut to the moment of that: what
 * arrived later is on its way again, and what came to stand over that stands over it once more when
 * it arrives. */
#include "core/alloc.h"
#include "manager/write_back_internal.h"

typedef struct cutting {
    uint64_t revision;
    mp_str *records; /* that stay; each in memory of its own */
    size_t count, capacity, at;
} cutting;

static int take(void *context, mp_str bytes)
{
    cutting *c = context;
    mp__back_record r;
    char *copy;
    int rc = mp__back_decode(bytes, &r);

    if (rc)
        return rc;
    if (r.kind != MP__BACK_WRITE && r.base > c->revision)
        return 0;
    if (mp__grow(&c->records, c->count, &c->capacity, sizeof(*c->records)) != 0)
        return MP_ENOMEM;
    copy = mp__str_dup(bytes);
    if (!copy)
        return MP_ENOMEM;
    c->records[c->count++] = mp_str_new(copy, bytes.size);
    return 0;
}

static mp_str next(void *context)
{
    cutting *c = context;

    return c->at < c->count ? c->records[c->at++] : mp_str_new(NULL, 0);
}

static void cutting_done(cutting *c)
{
    for (size_t i = 0; i < c->count; i++) {
        char *bytes;

        memcpy(&bytes, &c->records[i].data, sizeof(bytes));
        (void)mp__free(bytes);
    }
    (void)mp__free(c->records);
}

int mp__back_cut_copy(mp_env *env, const char *path, uint64_t revision, mp__diag *diag)
{
    cutting c = {.revision = revision};
    mp__journal *journal = NULL;
    mp__journal_found found = {0};
    int rc = mp__journal_open(env, path, MP__BACK_JOURNAL_KIND, take, &c, &journal, &found, diag);

    if (rc == 0)
        rc = mp__journal_renew(journal, next, &c);
    (void)mp__journal_close(journal);
    cutting_done(&c);
    return rc;
}

static int leave_record(void *context, mp_str record)
{
    (void)context;
    (void)record;
    return 0;
}

int mp__back_examine(mp_env *env, const char *path, mp__diag *diag)
{
    int rc = mp__journal_read(env, path, MP__BACK_JOURNAL_KIND, leave_record, NULL, diag);

    return rc == MP_EABSENT ? 0 : rc;
}
