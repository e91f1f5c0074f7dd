/* SPDX-License-Identifier: Apache-2.0 */
/* The write path, from top to bottom:
 *
 *   access        may this identity write these addresses?
 *     |
 *   claims        is a value that says so JSON? (claims.c)
 *     |
 *   validate      does it keep the schemas? (validate.h)
 *     |
 *   back          a namespace that is written back is answered when the write is durable here, and
 *     |           comes back to this path later (write_back.c)
 *     |
 *   origin        commits all changes of the request or none, durable before it answers; what is
 *     |           not committed nobody sees
 *   keep          still on the origin's writer, so in commit order: what now holds goes into L1 and
 *     |           L3, and reads of it under way are marked, so that they cannot bring the past back
 *   reply         posted to the writer's loop
 *     |
 *   watchers      told in commit order, after the reply was posted
 */
#include <errno.h>
#include <stdio.h>

#include "manager/internal.h"
#include "manager/validate.h"
#include "manager/write_back.h"

static void run_done(mp__task *task)
{
    mp__write_request *request =
        (mp__write_request *)((char *)task - offsetof(mp__write_request, task));

    mp__broken *broken = request->broken, *warned = request->warned;

    request->done(request); /* the request may be gone from here on */
    (void)mp__free(broken);
    (void)mp__free(warned);
}

void mp__write_reply(mp__write_request *request)
{
    if (!request->loop) { /* write_back.c's own: it goes on from here */
        request->done(request);
        return;
    }
    request->task.run = run_done;
    mp__loop_post(request->loop, &request->task);
}

/* ---- why not, for people ---- */

static const char *refusal(int status)
{
    switch (status) {
    case -ENOSPC:
        return "the disk of the origin, or of the data directory, is full; nothing was changed. "
               "Make room: writes go on by themselves";
    case MP_EDEGRADED:
        return "writes are refused while the origin is degraded; see `marketprism status`";
    case MP_EORIGINLOST:
        return "the origin's data is gone; put the database file back, or begin anew "
               "(`serve "
               "--new-origin`)";
    case MP_EORIGIN:
        return "the origin cannot be reached; nothing was changed. See `marketprism status`";
    case MP_EREADONLY:
        return "configuration comes from files here; edit the file that `marketprism explain KEY` "
               "names";
    case MP_ETIMEOUT:
        return "the origin does not answer, or another process has it locked; nothing was changed, "
               "try again. See `marketprism status`";
    default:
        return NULL;
    }
}

static bool is_the_origins_fault(int status)
{
    return refusal(status) != NULL || status == -EIO || status == MP_ECORRUPT;
}

void mp__write_set_text(mp__write_request *request, int status)
{
    const char *text = refusal(status);

    if (status)
        (void)snprintf(request->text, sizeof(request->text), "%s",
                       text ? text : mp_strerror(status));
}

/* ---- after the commit ---- */

/* What the reply needs of a change beyond this call; of one whose condition did not hold, too. */
static void take_results(mp__write_request *request, const mp__change *change)
{
    if (change->changed && change->after.revision > request->revision)
        request->revision = change->after.revision;
    if ((change->flags & MP__WANT_OLD) && change->had_old && !request->old_value &&
        mp_blob_new(change->old.value.data, change->old.value.size, &request->old_value) != 0)
        request->old_value = NULL; /* without memory the old value is not told; the write stands */
}

/* The commit came after the start; how long before its answer nobody knows, so a watch that began
 * in between did not see what came after it. */
static const mp__entry *keep(const mp__write_request *request, const mp__change *change)
{
    return mp__change_keep(request->manager, &change->after, request->generation,
                           request->started_ms);
}

/* Of each run of changes in one scope the last made the newest revision. */
static void mark_scopes(const mp__write_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        const mp__change *change = &request->changes[i], *next = change + 1;
        size_t scope = mp__scope_size(change->address);

        if (i + 1 == request->count || mp__scope_size(next->address) != scope ||
            memcmp(next->address.data, change->address.data, scope) != 0)
            mp__overlay_mark(request->manager, &change->after, request->generation,
                             request->started_ms);
    }
}

static enum mp__event_expiry expiry_of(const mp__change *change)
{
    switch (change->op) {
    case MP__CHANGE_EXPIRE:
        return change->expires_ms ? MP__EXPIRY_ONLY_SET : MP__EXPIRY_ONLY_CLEARED;
    case MP__CHANGE_PUT:
        return change->expires_ms && !(change->flags & MP__KEEP_EXPIRY) ? MP__EXPIRY_SET
                                                                        : MP__EXPIRY_KEPT;
    case MP__CHANGE_ROLLBACK:
    case MP__CHANGE_DELETE:
    case MP__CHANGE_CHECK:
        break;
    }
    return MP__EXPIRY_UNTOLD;
}

/* What watchers are told of a change when the request may be gone. */
typedef struct done_change {
    const mp__entry *entry;
    mp__record after; /* address "": nothing changed */
    enum mp__event_expiry expiry;
} done_change;

static void committed(mp__write *write, int status)
{
    mp__write_request *request =
        (mp__write_request *)((char *)write - offsetof(mp__write_request, write));
    mp__manager *manager = request->manager;
    size_t count = request->count;
    bool was_gated = request->is_gated;
    done_change *done = NULL;

    request->status = status;
    mp__write_set_text(request, status);
    for (size_t i = 0; i < count && status == 0; i++)
        mp__overlay_applies(manager, request->changes[i].address);
    if (status == 0) {
        mp__overlay_made(manager, request->changes, count);
        mark_scopes(request);
        done = mp__calloc(count, sizeof(*done));
        for (size_t i = 0; i < count; i++) {
            const mp__change *change = &request->changes[i];

            take_results(request, change);
            if (!change->changed)
                continue;
            if (done) {
                const mp__entry *entry = keep(request, change);

                done[i] = (done_change){entry, change->after, expiry_of(change)};
                /* the request's own bytes may go with the reply; the entry's stay */
                done[i].after.address = entry ? mp__entry_address(entry) : mp_str_new("?", 1);
            } else {
                (void)mp__entry_unref(keep(request, change));
            }
        }
    } else if (is_the_origins_fault(status)) {
        mp__monitor_count(manager->monitor, MP__EVENT_WRITES_REFUSED, 1);
    } else if (status == MP_EEXISTS) {
        take_results(request, &request->changes[0]);
    }
    for (size_t i = 0; i < count && status == 0; i++)
        mp__overlay_applied(manager, request->changes[i].address);
    for (size_t i = 0; i < count; i++)
        mp__overlay_was_answered(manager, request->changes[i].address);
    atomic_store_explicit(&manager->writes_moved_ns, mp__env_now_ns(manager->env),
                          memory_order_relaxed);
    atomic_fetch_sub_explicit(&manager->writes_under_way, 1, memory_order_release);
    if (status != MP_ETIMEOUT) /* as of a question: it could not say in its time */
        mp__origin_answered(manager);
    mp__monitor_record(manager->monitor, MP__OP_COMMIT, MP__TIER_ORIGIN,
                       mp__env_now_ns(manager->env) - request->started_ns, 1);
    if (request->counted)
        mp__back_went_through(manager->back, request);
    mp__write_reply(request); /* the request may be gone from here on */
    for (size_t i = 0; done && i < count; i++) {
        if (done[i].after.address.size)
            mp__change_publish(manager, &done[i].after, done[i].entry, done[i].expiry);
        (void)mp__entry_unref(done[i].entry);
    }
    (void)mp__free(done);
    if (was_gated)
        mp__validate_leaves(manager);
}

/* ---- the path ---- */

void mp__write_answer(mp__write_request *request, int status)
{
    request->status = status;
    mp__write_set_text(request, status);
    if (is_the_origins_fault(status))
        mp__monitor_count(request->manager->monitor, MP__EVENT_WRITES_REFUSED, 1);
    mp__write_reply(request);
}

void mp__write_through(mp__manager *manager, mp__write_request *request)
{
    request->started_ms = mp__manager_wall_ms(manager);
    request->generation = atomic_load(&manager->generation);
    request->write = (mp__write){
        .changes = request->changes,
        .count = request->count,
        .actor = mp_str_of(request->identity ? request->identity->name : ""),
        .done = committed,
    };
    for (size_t i = 0; i < request->count; i++) {
        mp__overlay_asks(manager, request->changes[i].address);
        mp__count_sees(manager, &request->changes[i]);
    }
    if (atomic_load_explicit(&manager->writes_under_way, memory_order_acquire) == 0)
        atomic_store_explicit(&manager->writes_moved_ns, mp__env_now_ns(manager->env),
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&manager->writes_under_way, 1, memory_order_release);
    mp__origin_write(manager->origin, &request->write);
}

void mp__write_prepare(mp__manager *manager, mp__write_request *request)
{
    request->manager = manager;
    request->revision = 0;
    request->pending = request->counted = false;
    request->old_value = NULL;
    request->text[0] = '\0';
    request->started_ns = mp__env_now_ns(manager->env);
    request->started_ms = mp__manager_wall_ms(manager);
    request->generation = atomic_load(&manager->generation);
    request->broken = request->warned = NULL;
    request->broken_count = request->warned_count = 0;
    request->is_gated = false;
}

/* The origin is silent. Questions alone say nothing of writes, which may have a thread of their
 * own: one goes out, and its answer closes the circuit. Behind one that stands each would wait for
 * nobody knows how long; and what a schema is about would be judged by an old one. */
static bool must_not_wait(const mp__manager *manager, const mp__write_request *request)
{
    return !mp__origin_takes_writes(manager) ||
           (request->is_gated && mp__circuit_is_open(&manager->circuit));
}

/* What the origin would say before it looked at the changes. */
static int origin_refusal(const mp__manager *manager, const mp__write_request *request)
{
    if (manager->origin->ops->read_only)
        return MP_EREADONLY;
    switch ((enum mp__origin_state)mp__state_now(&manager->origin->state)) {
    case MP__ORIGIN_LIVE:
        return must_not_wait(manager, request) ? MP_ETIMEOUT : 0;
    case MP__ORIGIN_DEGRADED:
        return MP_EDEGRADED;
    case MP__ORIGIN_LOST:
        return MP_EORIGINLOST;
    case MP__ORIGIN_OPENING:
    case MP__ORIGIN_DOWN:
        break;
    }
    return atomic_load_explicit(&manager->origin->is_full, memory_order_relaxed) ? -ENOSPC
                                                                                 : MP_EORIGIN;
}

static void refuse(mp__manager *manager, mp__write_request *request)
{
    bool was_gated = request->is_gated;

    mp__write_answer(request, MP_ETIMEOUT); /* the request may be gone from here on */
    if (was_gated)
        mp__validate_leaves(manager);
}

void mp__write_go(mp__manager *manager, mp__write_request *request)
{
    if (request->dry_run) {
        request->pending = manager->back && mp__back_would_take(manager->back, request);
        request->status = request->pending ? 0 : origin_refusal(manager, request);
        mp__write_set_text(request, request->status);
        mp__write_reply(request);
        return;
    }
    if (must_not_wait(manager, request) &&
        !(manager->back && mp__back_would_take(manager->back, request)))
        refuse(manager, request);
    else if (manager->back)
        mp__back_start(manager->back, request);
    else
        mp__write_through(manager, request);
}

void mp__write_claimed(mp__manager *manager, mp__write_request *request, int status)
{
    if (status || request->broken_count) {
        request->status = status ? status : MP_EINVALID;
        mp__write_set_text(request, request->status);
        if (status == 0)
            mp__violations_say(request);
        mp__write_reply(request);
    } else if (!mp__validate_takes(manager, request)) {
        mp__write_go(manager, request);
    }
}

void mp__write_start(mp__manager *manager, mp__write_request *request)
{
    mp__diag diag = {0};
    int rc = request->count ? 0 : MP_EINVAL;

    mp__write_prepare(manager, request);
    for (size_t i = 0; i < request->count && rc == 0; i++)
        rc = mp__access_check(manager->access, request->identity,
                              request->changes[i].op == MP__CHANGE_CHECK ? MP__RIGHT_READ
                                                                         : MP__RIGHT_WRITE,
                              request->changes[i].address, &diag);
    if (rc) {
        request->status = rc;
        (void)snprintf(request->text, sizeof(request->text), "%s",
                       diag.text[0] ? diag.text : mp_strerror(rc));
        mp__write_reply(request);
        return;
    }
    mp__claims_start(manager, request);
}
