/* SPDX-License-Identifier: Apache-2.0 */
/* What watchers are sent: events as JSON, and the frames around it. */
#include <stdio.h>

#include "protocol/websocket.h"
#include "server/http/watch.h"

static const char *const words[] = {
    [MP__WORD_PUT] = "put",           [MP__WORD_DELETE] = "delete", [MP__WORD_RESET] = "reset",
    [MP__WORD_STALE] = "stale",       [MP__WORD_FRESH] = "fresh",   [MP__WORD_SYNC] = "sync",
    [MP__WORD_PROGRESS] = "progress",
};

/* ---- messages ---- */

void mp__watch_message_of_entry(const mp__entry *entry, mp__watch_message *ret_message)
{
    mp__record record;

    mp__entry_record(entry, &record);
    ret_message->has_value = true;
    ret_message->value = record.value;
    ret_message->value_size = record.value.size;
    ret_message->media_type = record.media_type;
    ret_message->modified_ms = record.modified_ms;
    ret_message->expires_ms = record.expires_ms;
}

void mp__watch_message_of_event(const mp__event *event, mp__watch_message *ret_message)
{
    static const enum mp__watch_word of[] = {
        [MP__EVENT_PUT] = MP__WORD_PUT,        [MP__EVENT_DELETE] = MP__WORD_DELETE,
        [MP__EVENT_EXPIRED] = MP__WORD_DELETE, [MP__EVENT_RESET] = MP__WORD_RESET,
        [MP__EVENT_STALE] = MP__WORD_STALE,    [MP__EVENT_FRESH] = MP__WORD_FRESH,
    };

    *ret_message = (mp__watch_message){
        .word = of[event->kind], .address = event->address, .revision = event->revision};
    if (event->is_prefix) {
        ret_message->address = mp_str_new("", 0);
        ret_message->more = true;
        ret_message->reason = event->kind == MP__EVENT_STALE ? MP__MORE_STALE : MP__MORE_FRESH;
    } else if (event->kind == MP__EVENT_STALE && event->address.size)
        ret_message->reason = mp__reason_name(MP__REASON_ORIGIN_DAMAGED);
    if (event->kind == MP__EVENT_PUT && event->entry)
        mp__watch_message_of_entry(event->entry, ret_message);
}

void mp__watch_message_of_item(const mp__list_item *item, mp__watch_message *ret_message)
{
    *ret_message = (mp__watch_message){
        .word = item->deleted ? MP__WORD_DELETE : MP__WORD_PUT,
        .address = item->address,
        .revision = item->revision,
        .has_value = !item->deleted && item->value.data != NULL,
        .value = item->value,
        .value_size = item->value.size,
        .media_type = item->media_type,
        .modified_ms = item->modified_ms,
        .expires_ms = item->expires_ms,
    };
}

/* ---- JSON ---- */

/* "environment~region~instance" as the parameters that name it. */
static void add_scope(mp__buf *out, mp_str scope)
{
    static const char *const names[] = {"env", "region", "instance"};

    for (int i = 0; i < 3 && scope.size; i++) {
        const char *end = memchr(scope.data, '~', scope.size);
        size_t size = end ? (size_t)(end - scope.data) : scope.size;

        mp__json_add_string(out, names[i], mp_str_new(scope.data, size));
        scope = end ? mp_str_new(end + 1, scope.size - size - 1) : mp_str_new("", 0);
    }
}

static void add_change(mp__buf *out, const mp__watch_message *m, bool with_value)
{
    mp_str scope, namespace_, key;

    if (mp__address_split(m->address, &scope, &namespace_, &key) != 0)
        return;
    add_scope(out, scope);
    mp__json_add_string(out, "namespace", namespace_);
    mp__json_add_string(out, "key", key);
    if (m->word != MP__WORD_PUT)
        return;
    if (with_value && m->has_value)
        mp__json_add_bytes(out, "value", m->value);
    else
        mp__json_add_bool(out, "value_left_out", true);
    if (m->media_type.size)
        mp__json_add_string(out, "media_type", m->media_type);
    if (m->modified_ms)
        mp__json_add_i64(out, "modified_ms", m->modified_ms);
    if (m->expires_ms)
        mp__json_add_i64(out, "expires_ms", m->expires_ms);
}

static bool has_position(const mp__watch_message *m)
{
    return m->word != MP__WORD_STALE && m->word != MP__WORD_FRESH;
}

static void add_json(mp__buf *out, const char *epoch, const mp__watch_message *m,
                     bool with_position, bool with_value)
{
    char position[MP__POSITION_MAX];

    (void)mp__buf_add_char(out, '{'); /* whatever stands before it: frames are no list */
    mp__json_add_text(out, "event", words[m->word]);
    if (has_position(m)) {
        if (with_position)
            mp__json_add_string(out, "position", mp__position_text(epoch, m->revision, position));
        mp__json_add_u64(out, "revision", m->revision);
    }
    if (m->address.size)
        add_change(out, m, with_value);
    if (m->more)
        mp__json_add_bool(out, "more", true);
    if (m->reason)
        mp__json_add_text(out, "reason", m->reason);
    mp__json_end(out, '}');
}

/* A value of more than this, escaped or not, makes a frame that is too large. */
static bool value_may_fit(const mp__watch_message *m)
{
    return m->value.size < MP__WATCH_VALUE_MAX;
}

void mp__watch_json(mp__buf *out, const char *epoch, const mp__watch_message *message)
{
    size_t before;

    if (out->size)
        (void)mp__buf_add_char(out, ',');
    before = out->size;

    if (value_may_fit(message))
        add_json(out, epoch, message, true, true);
    if (out->size == before || out->size - before > MP__WATCH_VALUE_MAX) {
        out->size = before;
        add_json(out, epoch, message, true, false);
    }
}

/* ---- frames ---- */

/* An event stream of HTML (section 9.2.5): JSON has no line ends, so one data line holds it. */
static void add_sse(mp__buf *out, const char *epoch, const mp__watch_message *m, bool with_value)
{
    char position[MP__POSITION_MAX];

    if (has_position(m)) {
        (void)mp__buf_add_str(out, MP_STR("id: "));
        (void)mp__buf_add_str(out, mp__position_text(epoch, m->revision, position));
        (void)mp__buf_add_char(out, '\n');
    }
    (void)mp__buf_add_str(out, MP_STR("event: "));
    (void)mp__buf_add_str(out, mp_str_of(words[m->word]));
    (void)mp__buf_add_str(out, MP_STR("\ndata: "));
    add_json(out, epoch, m, false, with_value);
    (void)mp__buf_add_str(out, MP_STR("\n\n"));
}

/* A text frame, whose head is as long as its size needs. */
static void add_websocket(mp__buf *out, const char *epoch, const mp__watch_message *m,
                          bool with_value)
{
    unsigned char head[MP__WS_HEAD_MAX];
    size_t before = out->size, size, n;

    add_json(out, epoch, m, true, with_value);
    size = out->size - before;
    n = mp__ws_head(MP__WS_TEXT, size, head);
    if (mp__buf_add(out, head, n) != 0) /* makes the room; the bytes are put in front below */
        return;
    memmove(out->data + before + n, out->data + before, size);
    memcpy(out->data + before, head, n);
}

static void add_frame(mp__buf *out, enum mp__watch_frame kind, const char *epoch,
                      const mp__watch_message *m, bool with_value)
{
    switch (kind) {
    case MP__FRAME_SSE:
        add_sse(out, epoch, m, with_value);
        break;
    case MP__FRAME_WEBSOCKET:
        add_websocket(out, epoch, m, with_value);
        break;
    case MP__FRAME_LINE:
    default:
        add_json(out, epoch, m, true, with_value);
        (void)mp__buf_add_char(out, '\n');
        break;
    }
}

void mp__watch_frame(mp__buf *out, enum mp__watch_frame kind, const char *epoch,
                     const mp__watch_message *message)
{
    size_t before = out->size;

    if (value_may_fit(message))
        add_frame(out, kind, epoch, message, true);
    if (out->size == before || out->size - before > MP__WATCH_VALUE_MAX) {
        out->size = before;
        add_frame(out, kind, epoch, message, false);
    }
}
