/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/batch-get: many values in one request. */
#include <stdio.h>

#include "server/http/collect.h"

enum {
    ANSWER_MAX = 16 * 1024 * 1024,
    LARGE = 256 * 1024, /* bytes of values; what is less is answered whatever waits */
};

static void add_read(mp__buf *body, const mp__read *read)
{
    const mp__entry *entry = read->entry;

    mp__json_begin(body, '{');
    mp__http_json_name(body, mp__http_name_of(read->address));
    mp__json_add_bool(body, "found", read->status == 0);
    if (read->status) {
        mp__json_add_text(body, "problem",
                          read->status == MP_EABSENT    ? "absent"
                          : read->status == MP_EUNKNOWN ? "unknown"
                                                        : mp_strerror(read->status));
    } else {
        mp__json_add_u64(body, "revision", entry->revision);
        mp__json_add_string(body, "media_type", mp__entry_media_type(entry));
        mp__json_add_bytes(body, "value", mp_blob_str(&entry->blob.pub));
        if (!mp_str_equal(mp__entry_address(entry), read->address))
            mp__json_add_string(body, "layer", read->layer);
        mp__json_add_text(body, "level", mp__level_name(read->level));
        mp__json_add_text(body, "tier", mp__tier_name(read->tier));
        mp__json_add_i64(body, "age_ms", read->age_ms);
        mp__json_add_bool(body, "stale", read->stale);
        if (read->stale)
            mp__json_add_text(body, "reason", mp__reason_name(read->reason));
    }
    mp__json_end(body, '}');
}

static void gathered(mp__gather *gather)
{
    mp__buf body = {.size_max = ANSWER_MAX};
    mp__exchange *x = gather->x;
    bool is_too_much = gather->bytes > ANSWER_MAX;

    if (gather->bytes > LARGE && !is_too_much && !mp__worker_has_room(x->worker)) {
        mp__gather_release(gather);
        mp__http_answer_no_room(x);
        return;
    }

    mp__json_begin(&body, '{');
    mp__json_key(&body, "values");
    mp__json_begin(&body, '[');
    for (size_t i = 0; i < gather->count && !is_too_much; i++)
        add_read(&body, &gather->reads[i]);
    mp__json_end(&body, ']');
    mp__json_end(&body, '}');
    mp__gather_release(gather);
    if (is_too_much || body.error == MP_ELIMIT) {
        mp__buf_done(&body);
        mp__answer_problem(x, &(mp__problem){.status = 413,
                                             .type = "limit",
                                             .detail = "the values together are more than 16 MiB",
                                             .remedy = "ask for fewer keys at once"});
        return;
    }
    mp__answer_json(x, 200, &body);
}

/* The parts of a read that all keys share. False: answered. */
static bool take_level(mp__exchange *x, const json_t *body, mp__read *like)
{
    const json_t *level = json_object_get(body, "level"), *age = json_object_get(body, "max_age");
    const json_t *effective = json_object_get(body, "effective");
    const mp__parameter duration = {"max_age", mp__http_json_text(age)};

    if (level &&
        (!json_is_string(level) || mp__level_parse(mp__http_json_text(level), &like->level) != 0)) {
        mp__answer_invalid(x, "level is strong, eventual or weak");
        return false;
    }
    if (age && !json_is_string(age)) {
        mp__answer_invalid(x, "max_age is a text such as \"30s\"");
        return false;
    }
    if (effective && !json_is_boolean(effective)) {
        mp__answer_invalid(x, "effective is true or false");
        return false;
    }
    like->own_layer = json_is_false(effective);
    return mp__http_duration_of(x, &duration, &like->age_max_ms);
}

static void batch_get(mp__exchange *x, mp_str scope, const json_t *body)
{
    const json_t *keys = json_object_get(body, "keys");
    mp__read like = {.age_max_ms = -1};
    mp__gather *gather;
    char where[32];

    if (!json_is_array(keys) || json_array_size(keys) > MP__GATHER_MAX) {
        mp__answer_invalid(x, "keys is a list of at most %d keys", MP__GATHER_MAX);
        return;
    }
    if (!take_level(x, body, &like))
        return;
    gather = mp__gather_new(x, json_array_size(keys));
    if (!gather) {
        mp__answer_no_memory(x);
        return;
    }
    for (size_t i = 0; i < gather->count; i++) {
        static const char *const names[] = {"namespace", "key", NULL};
        const json_t *key = json_array_get(keys, i);
        mp__read *read = &gather->reads[i];

        (void)snprintf(where, sizeof(where), "keys[%zu]", i);
        if ((json_is_object(key) && !mp__http_json_members(x, key, where, names)) ||
            !mp__http_json_address(x, key, where, scope, &read->address))
            return;
        read->level = like.level;
        read->age_max_ms = like.age_max_ms;
        read->own_layer = like.own_layer;
        read->is_use = true;
    }
    gather->bytes_max = ANSWER_MAX;
    gather->done = gathered;
    mp__gather_start(gather);
}

void mp__http_batch_get(mp__exchange *x)
{
    static const char *const names[] = {"keys", "level", "max_age", "effective", NULL};
    char scope_text[MP__SCOPE_MAX];
    json_t *body;
    mp_str scope;

    if (!mp__http_json_body_of_place(x, names, scope_text, &scope, &body))
        return;
    batch_get(x, scope, body);
    json_decref(body);
}
