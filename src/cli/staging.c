/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/staging.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/bar.h"

enum { PART_BYTES = 512 * 1024, BAR_LEAST = 2000, COMMIT_TIMEOUT_MS = 120000 };

void mp__staging_begin(mp__staging *staging, const mp__arguments *arguments, mp__client *client,
                       const char *doing, size_t total)
{
    memset(staging, 0, sizeof(*staging));
    staging->arguments = arguments;
    staging->client = client;
    staging->doing = doing;
    staging->total = total;
    staging->has_bar = isatty(2) && total >= BAR_LEAST;
}

static void draw(const mp__staging *s, const char *doing)
{
    if (s->has_bar)
        mp__bar_draw(doing, s->done, "of", s->total, "keys");
}

int mp__staging_flush(mp__staging *s)
{
    mp__reply *reply;
    int code = 0;

    if (s->count == 0)
        return 0;
    reply = mp__cli_call(s->arguments, s->client, &code, s->words, s->count);
    if (reply)
        s->done = s->staged;
    (void)mp__reply_free(reply);
    s->count = s->bytes = 0;
    draw(s, s->doing);
    return code;
}

/* Room for a change with the word @what, which is another command than the one begun or fits in. */
static int begin(mp__staging *s, const char *what, size_t words, size_t bytes)
{
    int code = 0;

    if (s->count && (!mp_str_equal(s->words[1], mp_str_of(what)) ||
                     s->count + words > MP__STAGING_WORDS || s->bytes + bytes > PART_BYTES))
        code = mp__staging_flush(s);
    if (code == 0 && s->count == 0) {
        s->words[s->count++] = MP_STR("MP.STAGE");
        s->words[s->count++] = mp_str_of(what);
    }
    s->bytes += bytes;
    s->staged++;
    return code;
}

static mp_str revision_text(mp__staging *s, int64_t revision)
{
    char *text = s->revisions[s->count / 2 % (MP__STAGING_WORDS / 2)];
    int size = snprintf(text, sizeof(s->revisions[0]), "%" PRId64, revision);

    return mp_str_new(text, (size_t)size);
}

int mp__staging_put(mp__staging *s, const mp__key *key)
{
    int code = begin(s, "PUT", 3, key->name.size + key->value.size);

    if (code)
        return code;
    s->words[s->count++] = key->name;
    s->words[s->count++] = key->media_type;
    s->words[s->count++] = key->value;
    return 0;
}

int mp__staging_edit(mp__staging *s, const mp__key *key, const mp__key *instead_of)
{
    bool ends = instead_of && instead_of->expires_ms; /* else what older daemons know, too */
    int code = begin(s, ends ? "EDIT" : "CAS", 4, key->name.size + key->value.size);

    if (code)
        return code;
    s->words[s->count++] = key->name;
    s->words[s->count] = revision_text(s, instead_of ? instead_of->revision : 0);
    s->count++;
    s->words[s->count++] = key->media_type;
    s->words[s->count++] = key->value;
    return 0;
}

int mp__staging_delete(mp__staging *s, const mp__key *key)
{
    int code = begin(s, "DEL", 2, key->name.size);

    if (code)
        return code;
    s->words[s->count++] = key->name;
    s->words[s->count] = revision_text(s, key->revision);
    s->count++;
    return 0;
}

static void say_told(const mp__staging *s, const mp__told *told)
{
    const mp__key *key = s->find ? s->find(s->find_context, told) : NULL;
    mp__buf place = MP__BUF_INIT;

    if (key)
        (void)mp__buf_printf(&place, "%s:%d:%d: ", key->path, key->line, key->column);
    if (told->scope.size)
        (void)mp__buf_printf(&place, "as seen in %.*s: ", (int)told->scope.size, told->scope.data);
    (void)mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%.*s%.*s%.*s: %.*s", (int)place.size,
                       place.data ? place.data : "", (int)told->where.size, told->where.data,
                       (int)told->instance.size, told->instance.data, (int)told->text.size,
                       told->text.data);
    mp__buf_done(&place);
}

/* What breaks schemas, one a line. 0: nothing does. */
static int say_broken(const mp__staging *s, const mp__reply *reply)
{
    int64_t more = reply->count > 1 ? mp__reply_integer(&reply->items[0]) : 0;

    if (reply->count < 2 || reply->items[1].type != MP__REPLY_ARRAY)
        return 0;
    for (size_t i = 1; i < reply->count; i++, more--) {
        const mp__reply *item = &reply->items[i];
        mp_str texts[5] = {0};

        for (size_t k = 0; k < 5 && k < item->count; k++)
            texts[k] = mp__reply_text(&item->items[k]);
        say_told(s, &(mp__told){texts[0], texts[1], texts[2], texts[3], texts[4]});
    }
    if (more > 0)
        (void)mp__cli_fail(s->arguments, MP__EXIT_ERROR, "and %" PRId64 " more", more);
    if (s->refused)
        (void)mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%s", s->refused);
    return MP__EXIT_ERROR;
}

/* Let the daemon take all that is staged, with the last word @what. */
static int end(mp__staging *s, int code, const char *what, int64_t *ret_changed)
{
    mp_str words[] = {MP_STR("MP.STAGE"), mp_str_of(what), MP_STR("WHY")};
    mp__reply *reply = NULL;

    if (code == 0)
        code = mp__staging_flush(s);
    if (code == 0 && s->staged) {
        draw(s, ret_changed ? "committing" : "checking");
        if (!mp__flag_given(s->arguments, "--timeout"))
            mp__client_set_timeout(s->client, COMMIT_TIMEOUT_MS);
        reply = mp__cli_call(s->arguments, s->client, &code, words, 3);
    }
    if (s->has_bar)
        (void)fputc('\n', stderr);
    if (reply)
        code = say_broken(s, reply);
    if (ret_changed)
        *ret_changed =
            code == 0 && reply && reply->count == 2 ? mp__reply_integer(&reply->items[0]) : 0;
    (void)mp__reply_free(reply);
    return code; /* without COMMIT the end of the connection discards */
}

int mp__staging_end(mp__staging *s, int code, int64_t *ret_changed)
{
    return end(s, code, "COMMIT", ret_changed);
}

int mp__staging_check(mp__staging *s, int code)
{
    return end(s, code, "CHECK", NULL);
}
