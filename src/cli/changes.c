/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/alloc.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MOST_MS = 5000,
    QUIET_MS = 100,      /* what belongs together comes within this time of each other */
    TOGETHER_MAX = 1000, /* but nothing waits longer than about QUIET_MS times this */
    SILENCE_MS = 15000,  /* so long nothing may come before the daemon is asked whether it lives */
};

struct mp__changes {
    const mp__arguments *arguments;
    mp__client *client; /* that is told of changes */
    mp__client *beside; /* that asks for the verb: NULL until something is asked */
    mp__client *pager;  /* that asks for pages, whose texts stand in its buffer */
    mp__reply *reply;   /* the one given last, whose texts were lent */
    bool by_words;
    /* of one that follows */
    bool follows, is_late; /* is_late: what was missed is not all told yet */
    mp__reply *page;       /* of what was missed */
    size_t at;             /* of its items */
    char epoch[48], position[72];
    int64_t revision;
    int64_t quiet_revision; /* where the data were when last nothing came for long; 0: not asked */
};

/* ---- the connections ---- */

static bool is_change(const mp__reply *reply)
{
    return reply->count == 4 && mp_str_equal(mp__reply_text(&reply->items[0]), MP_STR("change"));
}

/* The answer to MP.WATCH, before which there may be changes that an earlier one tells: whoever
 * listens still asks what was missed, or wants what comes from now on only. */
static int confirmed(mp__changes *changes)
{
    for (;;) {
        mp__reply *reply = NULL;
        mp__diag diag = {0};
        int code = 0, rc = mp__client_read(changes->client, &reply, &diag);
        bool goes_on = rc == 0 && is_change(reply);

        if (rc)
            return mp__cli_fail(changes->arguments, MP__EXIT_ERROR, "%s",
                                diag.text[0] ? diag.text : mp_strerror(rc));
        if (!goes_on)
            reply = mp__cli_take(changes->arguments, reply, &code);
        (void)mp__reply_free(reply);
        if (!goes_on)
            return code;
    }
}

static int watch_one(mp__changes *changes, const mp_str *words, size_t count)
{
    int rc = mp__client_send(changes->client, words, count);

    return rc ? mp__cli_fail(changes->arguments, MP__EXIT_ERROR, "%s", mp_strerror(rc))
              : confirmed(changes);
}

static int watch_prefix(mp__changes *changes, mp_str prefix)
{
    return watch_one(changes, (mp_str[]){MP_STR("MP.WATCH"), MP_STR("PREFIX"), prefix}, 3);
}

static int watch_words(mp__changes *changes)
{
    const mp__arguments *arguments = changes->arguments;
    int code = 0;

    for (int i = 0; i < arguments->word_count && code == 0; i++) {
        mp__buf name = MP__BUF_INIT, in_default = MP__BUF_INIT;
        mp_str prefix = mp__cli_key(arguments, arguments->words[i], &name);

        code = watch_prefix(changes, prefix);
        if (code == 0 && mp__cli_in_default(prefix, &in_default))
            code = watch_prefix(changes, mp__buf_str(&in_default));
        mp__buf_done(&in_default);
        mp__buf_done(&name);
    }
    return code;
}

static int listen_to(mp__changes *changes)
{
    int code = 0;

    changes->client = mp__cli_connect(changes->arguments, &code);
    if (!changes->client)
        return code;
    if (changes->by_words && changes->arguments->word_count)
        code = watch_words(changes);
    else
        code = watch_one(changes, (mp_str[]){MP_STR("MP.WATCH")}, 1);
    if (code)
        changes->client = mp__client_close(changes->client);
    return code;
}

/* The daemon went, or the way to it: say so once, and come back when it is there again. */
static void come_back(mp__changes *changes, const char *why)
{
    unsigned ms = RETRY_FIRST_MS;

    (void)mp__cli_fail(changes->arguments, 0, "%s; trying again", why);
    changes->page = mp__reply_free(changes->page);
    changes->reply = mp__reply_free(changes->reply);
    changes->client = mp__client_close(changes->client);
    changes->beside = mp__client_close(changes->beside);
    changes->pager = mp__client_close(changes->pager);
    changes->is_late = true;
    changes->quiet_revision = 0;
    while (!mp__cli_is_there(changes->arguments) || listen_to(changes) != 0) {
        mp__cli_wait_ms(ms);
        ms = ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : ms * 2;
    }
    (void)mp__cli_fail(changes->arguments, 0, "connected again");
}

/* Ask on *client, which is NULL or of @changes. The answer may be an error. */
static mp__reply *ask_raw(mp__changes *changes, mp__client **client, int *ret_code,
                          const mp_str *words, size_t count)
{
    for (;;) {
        mp__reply *reply = NULL;
        mp__diag diag = {0};

        *ret_code = 0;
        if (!*client && (!changes->follows || mp__cli_is_there(changes->arguments)))
            *client = mp__cli_connect(changes->arguments, ret_code);
        if (!*client && !changes->follows)
            return NULL;
        if (*client && !changes->follows)
            return mp__cli_call(changes->arguments, *client, ret_code, words, count);
        if (*client && mp__client_call(*client, words, count, &reply, &diag) == 0)
            return reply;
        come_back(changes, diag.text[0] ? diag.text : "the daemon does not answer any more");
    }
}

/* The same; an error that is answered is said. */
static mp__reply *ask_on(mp__changes *changes, mp__client **client, int *ret_code,
                         const mp_str *words, size_t count)
{
    mp__reply *reply = ask_raw(changes, client, ret_code, words, count);

    return reply ? mp__cli_take(changes->arguments, reply, ret_code) : NULL;
}

mp__reply *mp__changes_ask(mp__changes *changes, int *ret_code, const mp_str *words, size_t count)
{
    return ask_on(changes, &changes->beside, ret_code, words, count);
}

mp__reply *mp__changes_value(mp__changes *changes, const mp__noticed *change, int *ret_code)
{
    char before[24];
    mp_str words[] = {MP_STR("MP.HISTORY"), change->key, MP_STR("COUNT"), MP_STR("1"),
                      MP_STR("BEFORE"),     {NULL, 0},   MP_STR("VALUES")};
    mp__reply *reply, *item = NULL;

    (void)snprintf(before, sizeof(before), "%" PRId64, change->revision + 1);
    words[5] = mp_str_of(before);
    reply = ask_raw(changes, &changes->beside, ret_code, words, sizeof(words) / sizeof(words[0]));
    /* an error: this origin has no history, or none any more that goes back so far */
    if (reply && reply->type == MP__REPLY_ARRAY && reply->count == 1 &&
        mp__reply_integer(mp__reply_member(reply->items, "revision")) == change->revision &&
        mp_str_equal(mp__reply_text(mp__reply_member(reply->items, "operation")), MP_STR("put")))
        item = reply;
    else
        (void)mp__reply_free(reply);
    return item;
}

/* ---- where it stands ---- */

static void stand_at(mp__changes *changes, int64_t revision)
{
    changes->revision = revision;
    (void)snprintf(changes->position, sizeof(changes->position), "%s-%" PRId64, changes->epoch,
                   revision);
}

/* Take over "EPOCH-REVISION"; false: it is none. */
static bool take_position(mp__changes *changes, mp_str text)
{
    const char *dash = text.size ? memrchr(text.data, '-', text.size) : NULL;
    size_t size = dash ? (size_t)(dash - text.data) : 0;
    char *end = NULL, digits[24];
    long long revision;

    if (!dash || size == 0 || size >= sizeof(changes->epoch) ||
        text.size - size - 1 >= sizeof(digits))
        return false;
    memcpy(digits, dash + 1, text.size - size - 1);
    digits[text.size - size - 1] = '\0';
    revision = strtoll(digits, &end, 10);
    if (!digits[0] || *end || digits[0] == '-' || digits[0] == '+' || digits[0] == ' ')
        return false;
    memcpy(changes->epoch, text.data, size);
    changes->epoch[size] = '\0';
    stand_at(changes, revision);
    return true;
}

mp_str mp__changes_position(const mp__changes *changes)
{
    return mp_str_of(changes->position);
}

/* ---- opening ---- */

static mp__changes *changes_new(const mp__arguments *arguments, bool by_words, int *ret_code)
{
    mp__changes *changes = mp__calloc(1, sizeof(*changes));

    if (!changes)
        *ret_code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    if (changes) {
        changes->arguments = arguments;
        changes->by_words = by_words;
    }
    return changes;
}

mp__changes *mp__changes_open(const mp__arguments *arguments, bool by_words, int *ret_code)
{
    mp__changes *changes = changes_new(arguments, by_words, ret_code);
    int code = changes ? listen_to(changes) : 0;

    if (code == 0)
        return changes;
    *ret_code = code;
    return mp__changes_close(changes);
}

/* Stand at the present position. */
static int stand_here(mp__changes *changes)
{
    mp_str words[] = {MP_STR("MP.CHANGES")};
    int code = 0;
    mp__reply *reply = mp__changes_ask(changes, &code, words, 1);

    if (reply && (reply->count < 2 || !take_position(changes, mp__reply_text(reply->items))))
        code = mp__cli_fail(changes->arguments, MP__EXIT_ERROR, "the answer to MP.CHANGES is none");
    (void)mp__reply_free(reply);
    return code;
}

int mp__changes_here(mp__changes *changes, int64_t *ret_revision)
{
    int code = stand_here(changes);

    *ret_revision = changes->revision;
    return code;
}

mp__changes *mp__changes_follow(const mp__arguments *arguments, const char *from, int *ret_code)
{
    mp__changes *changes = changes_new(arguments, true, ret_code);
    int code = 0;

    if (!changes)
        return NULL;
    if (from && !take_position(changes, mp_str_of(from)))
        code = mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "--from: '%s' is no position as EPOCH-REVISION", from);
    if (code == 0 && !from)
        code = stand_here(changes);
    if (code == 0)
        code = listen_to(changes);
    changes->follows = changes->is_late = true;
    if (code == 0)
        return changes;
    *ret_code = code;
    return mp__changes_close(changes);
}

mp__changes *mp__changes_close(mp__changes *changes)
{
    if (changes) {
        (void)mp__reply_free(changes->page);
        (void)mp__reply_free(changes->reply);
        (void)mp__client_close(changes->client);
        (void)mp__client_close(changes->beside);
        (void)mp__client_close(changes->pager);
        (void)mp__free(changes);
    }
    return NULL;
}

/* ---- live ---- */

/* One message, or 0 bytes of it: 1 a change, 0 none within @wait_ms, else an error. */
static int read_one(mp__changes *changes, uint64_t wait_ms, mp__diag *diag)
{
    int rc;

    changes->reply = mp__reply_free(changes->reply);
    mp__client_set_timeout(changes->client, wait_ms);
    rc = mp__client_read(changes->client, &changes->reply, diag);
    if (rc == MP_ETIMEOUT)
        return 0;
    if (rc)
        return rc;
    return is_change(changes->reply);
}

/* The same, however long it takes; who is silent for long is asked whether he lives. 0: he does,
 * and one that follows may look where it stands. */
static int read_change(mp__changes *changes, mp__diag *diag)
{
    for (;;) {
        int rc = read_one(changes, SILENCE_MS, diag);

        if (rc)
            return rc;
        if (changes->reply)
            continue; /* not about a change: the answer to a PING */
        rc = mp__client_send(changes->client, (mp_str[]){MP_STR("PING")}, 1);
        if (rc == 0)
            rc = read_one(changes, SILENCE_MS, diag);
        if (rc)
            return rc;
        if (!changes->reply)
            return mp__diag_set(diag, MP_ETIMEOUT, "the daemon does not answer any more");
        if (changes->follows)
            return 0;
    }
}

static mp__noticed noticed_of(const mp__reply *key, const mp__reply *event,
                              const mp__reply *revision)
{
    mp_str word = mp__reply_text(event);

    return (mp__noticed){.key = mp__reply_text(key),
                         .deleted = mp_str_equal(word, MP_STR("del")) ||
                                    mp_str_equal(word, MP_STR("expired")),
                         .revision = mp__reply_integer(revision)};
}

static bool next_live(mp__changes *changes, mp__noticed *ret_change, int *ret_code)
{
    mp__diag diag = {0};
    int rc = read_change(changes, &diag);
    const mp__reply *items;

    if (rc < 0) {
        *ret_code = mp__cli_fail(changes->arguments, MP__EXIT_ERROR, "%s",
                                 diag.text[0] ? diag.text : mp_strerror(rc));
        return false;
    }
    items = changes->reply->items;
    *ret_change = noticed_of(&items[1], &items[2], &items[3]);
    return true;
}

/* ---- following ---- */

enum { HEAD = 2 }; /* of a page: position, more */

/* The next of what was missed; false: there is no more of it, or *ret_code. */
static bool next_missed(mp__changes *changes, mp__noticed *ret_change, int *ret_code)
{
    while (changes->is_late) {
        mp_str words[] = {MP_STR("MP.CHANGES"), MP_STR("FROM"), mp__changes_position(changes)};
        mp__reply *page = changes->page;

        if (page && changes->at < page->count) {
            const mp__reply *item = &page->items[changes->at++];

            if (item->count != 3)
                continue;
            *ret_change = noticed_of(&item->items[0], &item->items[1], &item->items[2]);
            if (ret_change->key.size)
                stand_at(changes, ret_change->revision);
            else /* perhaps of another life */
                (void)take_position(changes, mp__reply_text(page->items));
            return true;
        }
        if (page) {
            (void)take_position(changes, mp__reply_text(page->items));
            changes->is_late = mp__reply_integer(&page->items[1]) != 0;
            changes->page = mp__reply_free(page);
            continue;
        }
        page = ask_on(changes, &changes->pager, ret_code, words, 3);
        if (!page) { /* said: the origin cannot be asked, for one */
            *ret_code = 0;
            mp__cli_wait_ms(RETRY_MOST_MS);
        } else if (page->count < HEAD) {
            (void)mp__reply_free(page);
            *ret_code = mp__cli_fail(changes->arguments, MP__EXIT_ERROR,
                                     "the answer to MP.CHANGES is none");
            return false;
        } else {
            changes->page = page;
            changes->at = HEAD;
        }
    }
    changes->pager = mp__client_close(changes->pager);
    return false;
}

/* Nothing of what is listened to came for long, while others may have changed much: go on, should
 * the connection break, behind what was there when this was noted before. What came up to there has
 * been told since. */
static int note_quiet(mp__changes *changes)
{
    mp_str words[] = {MP_STR("MP.CHANGES")};
    int code = 0;
    mp__reply *reply = mp__changes_ask(changes, &code, words, 1);
    int64_t quiet = changes->quiet_revision;
    mp__changes now = {0};

    if (reply && reply->count >= 2 && take_position(&now, mp__reply_text(reply->items)) &&
        strcmp(now.epoch, changes->epoch) == 0) {
        if (quiet > changes->revision && !changes->is_late)
            stand_at(changes, quiet);
        changes->quiet_revision = now.revision;
    }
    (void)mp__reply_free(reply);
    return code;
}

static bool follow(mp__changes *changes, mp__noticed *ret_change, int *ret_code)
{
    for (;;) {
        mp__diag diag = {0};
        const mp__reply *items;
        int rc;

        if (next_missed(changes, ret_change, ret_code))
            return true;
        if (*ret_code)
            return false;
        rc = read_change(changes, &diag);
        if (rc < 0) {
            come_back(changes, diag.text[0] ? diag.text : mp_strerror(rc));
            continue;
        }
        if (rc == 0) {
            (void)note_quiet(changes); /* what it says of is tried again */
            continue;
        }
        items = changes->reply->items;
        *ret_change = noticed_of(&items[1], &items[2], &items[3]);
        if (ret_change->key.size && ret_change->revision <= changes->revision)
            continue; /* a page had it */
        if (ret_change->revision > changes->revision)
            stand_at(changes, ret_change->revision);
        return true;
    }
}

bool mp__changes_next(mp__changes *changes, mp__noticed *ret_change, int *ret_code)
{
    return changes->follows ? follow(changes, ret_change, ret_code)
                            : next_live(changes, ret_change, ret_code);
}

bool mp__changes_wait(mp__changes *changes, int *ret_code)
{
    mp__diag diag = {0};
    mp__noticed change;

    if (!mp__changes_next(changes, &change, ret_code))
        return false;
    for (int i = 0; i < TOGETHER_MAX; i++)
        if (read_one(changes, QUIET_MS, &diag) != 1)
            break; /* an error comes again with the next wait */
    return true;
}
