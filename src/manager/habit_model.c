/* SPDX-License-Identifier: Apache-2.0 */
/* What is usually read when, and with what: see habits.h. Pure. */
#include "manager/habits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/json.h"

enum { HOURS = 24, HOUR_MS = 3600000, PROBES = 16, LEAST = 2, VERSION = 1 };
#define FADE 0.8 /* a day */

/* Some address that is read with another; found by its place in the model, checked by its stamp,
 * since the place may be another's by now. */
typedef struct pair {
    uint32_t at, stamp;
    float count;
} pair;

typedef struct habit {
    char *address; /* NULL: free */
    size_t size;
    uint64_t hash;
    uint32_t next;  /* of the bucket, or NONE */
    uint32_t stamp; /* of whom this place is */
    int32_t day;    /* up to which the counts have faded */
    float hours[HOURS];
    float groups; /* it was in */
    pair pairs[MP__HABIT_PAIRS];
} habit;

#define NONE UINT32_MAX

struct mp__habit_model {
    size_t keys_max, count;
    mp__hash_key key;
    uint32_t stamps;
    uint64_t dice;
    uint32_t *buckets;
    habit *habits;
};

int mp__habit_model_new(size_t keys_max, uint64_t secret, mp__habit_model **ret_model)
{
    mp__habit_model *model = mp__calloc(1, sizeof(*model));

    if (!model)
        return MP_ENOMEM;
    model->keys_max = keys_max;
    model->key = (mp__hash_key){secret, ~secret};
    model->dice = secret | 1;
    model->buckets = mp__calloc(keys_max, sizeof(*model->buckets));
    model->habits = mp__calloc(keys_max, sizeof(*model->habits));
    if (!model->buckets || !model->habits) {
        (void)mp__habit_model_free(model);
        return MP_ENOMEM;
    }
    memset(model->buckets, 0xff, keys_max * sizeof(*model->buckets));
    *ret_model = model;
    return 0;
}

mp__habit_model *mp__habit_model_free(mp__habit_model *model)
{
    if (!model)
        return NULL;
    for (size_t i = 0; model->habits && i < model->count; i++)
        (void)mp__free(model->habits[i].address);
    (void)mp__free(model->buckets);
    (void)mp__free(model->habits);
    return mp__free(model);
}

size_t mp__habit_model_count(const mp__habit_model *model)
{
    return model->count;
}

/* ---- finding ---- */

static mp_str address_of(const habit *h)
{
    return mp_str_new(h->address, h->size);
}

static uint32_t find(const mp__habit_model *model, mp_str address, uint64_t hash)
{
    uint32_t at = model->buckets[hash % model->keys_max];

    while (at != NONE && (model->habits[at].hash != hash ||
                          !mp_str_equal(address_of(&model->habits[at]), address)))
        at = model->habits[at].next;
    return at;
}

static void unlink_habit(mp__habit_model *model, uint32_t at)
{
    uint32_t *link = &model->buckets[model->habits[at].hash % model->keys_max];

    while (*link != at)
        link = &model->habits[*link].next;
    *link = model->habits[at].next;
}

static int32_t day_of(int64_t wall_ms)
{
    return (int32_t)(wall_ms / HOUR_MS / HOURS);
}

static unsigned hour_of(int64_t wall_ms)
{
    return (unsigned)(wall_ms / HOUR_MS % HOURS);
}

/* How much of a count is left on @day. */
static float fading(const habit *h, int32_t day)
{
    return day > h->day ? powf((float)FADE, (float)(day - h->day)) : 1;
}

static float worth(const habit *h, int32_t day)
{
    float sum = 0;

    for (unsigned i = 0; i < HOURS; i++)
        sum += h->hours[i];
    return sum * fading(h, day);
}

/* A place for one more: a free one, or that of the least worth of some at random. */
static uint32_t make_room(mp__habit_model *model, int32_t day)
{
    uint32_t best = 0;
    float least = INFINITY;

    if (model->count < model->keys_max)
        return (uint32_t)model->count++;
    for (int i = 0; i < PROBES; i++) {
        uint32_t at;

        model->dice = model->dice * 6364136223846793005u + 1442695040888963407u;
        at = (uint32_t)((model->dice >> 33) % model->keys_max);
        if (worth(&model->habits[at], day) < least) {
            least = worth(&model->habits[at], day);
            best = at;
        }
    }
    unlink_habit(model, best);
    (void)mp__free(model->habits[best].address);
    return best;
}

/* The place of @address, made if it has none; NONE without memory. */
static uint32_t place_of(mp__habit_model *model, mp_str address, int32_t day)
{
    uint64_t hash = mp__hash_str(model->key, address);
    uint32_t at = find(model, address, hash);
    char *copy;

    if (at != NONE)
        return at;
    copy = mp__str_dup(address);
    if (!copy)
        return NONE;
    at = make_room(model, day);
    model->habits[at] = (habit){.address = copy,
                                .size = address.size,
                                .hash = hash,
                                .day = day,
                                .stamp = ++model->stamps,
                                .next = model->buckets[hash % model->keys_max]};
    model->buckets[hash % model->keys_max] = at;
    return at;
}

/* ---- learning ---- */

static void fade(habit *h, int32_t day)
{
    float left = fading(h, day);

    if (day <= h->day)
        return;
    for (unsigned i = 0; i < HOURS; i++)
        h->hours[i] *= left;
    for (unsigned i = 0; i < MP__HABIT_PAIRS; i++)
        h->pairs[i].count *= left;
    h->groups *= left;
    h->day = day;
}

static bool is_of(const mp__habit_model *model, const pair *p)
{
    return p->count > 0 && model->habits[p->at].stamp == p->stamp;
}

/* @other was in a group with @h: the least of its pairs makes room, and leaves its count. */
static void learn_pair(const mp__habit_model *model, habit *h, uint32_t other)
{
    pair *least = &h->pairs[0];

    for (unsigned i = 0; i < MP__HABIT_PAIRS; i++) {
        pair *p = &h->pairs[i];

        if (!is_of(model, p))
            p->count = 0;
        else if (p->at == other) {
            p->count += 1;
            return;
        }
        if (p->count < least->count)
            least = p;
    }
    *least = (pair){other, model->habits[other].stamp, least->count + 1};
}

void mp__habit_model_learn(mp__habit_model *model, const mp_str *addresses, size_t count,
                           int64_t wall_ms)
{
    uint32_t places[MP__HABIT_GROUP];
    int32_t day = day_of(wall_ms);
    size_t known = 0;

    for (size_t i = 0; i < count && i < MP__HABIT_GROUP; i++) {
        uint32_t at = place_of(model, addresses[i], day);
        bool twice = at == NONE;

        for (size_t j = 0; j < known; j++)
            twice |= places[j] == at;
        if (!twice)
            places[known++] = at;
    }
    for (size_t i = 0; i < known; i++) {
        habit *h = &model->habits[places[i]];

        fade(h, day);
        h->hours[hour_of(wall_ms)] += 1;
        h->groups += 1;
        for (size_t j = 0; j < known; j++)
            if (j != i)
                learn_pair(model, h, places[j]);
    }
}

/* ---- telling ---- */

typedef struct ranked {
    float expected;
    uint32_t at;
} ranked;

static int most_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    return (x->expected < y->expected) - (x->expected > y->expected);
}

void mp__habit_model_expect(const mp__habit_model *model, int64_t wall_ms,
                            bool (*each)(void *context, mp_str address, double expected),
                            void *context)
{
    ranked *all = mp__calloc(model->count ? model->count : 1, sizeof(*all));
    size_t count = 0;

    for (uint32_t i = 0; all && i < model->count; i++) {
        const habit *h = &model->habits[i];
        float expected = h->hours[hour_of(wall_ms)] * fading(h, day_of(wall_ms));

        if (h->groups >= LEAST && expected > 0.5f)
            all[count++] = (ranked){expected, i};
    }
    if (count)
        qsort(all, count, sizeof(*all), most_first);
    for (size_t i = 0; i < count; i++)
        if (!each(context, address_of(&model->habits[all[i].at]),
                  (double)all[i].expected * (1 - FADE)))
            break;
    (void)mp__free(all);
}

size_t mp__habit_model_with(const mp__habit_model *model, mp_str address,
                            mp_str ret_addresses[MP__HABIT_PAIRS])
{
    uint32_t at = find(model, address, mp__hash_str(model->key, address));
    const habit *h = at == NONE ? NULL : &model->habits[at];
    size_t count = 0;

    if (!h || h->groups < LEAST)
        return 0;
    for (unsigned i = 0; i < MP__HABIT_PAIRS; i++)
        if (is_of(model, &h->pairs[i]) && h->pairs[i].count * 2 >= h->groups)
            ret_addresses[count++] = address_of(&model->habits[h->pairs[i].at]);
    return count;
}

/* ---- as JSON ---- */

static void number(mp__buf *out, float value)
{
    size_t last = out->size ? out->size - 1 : 0;

    (void)mp__buf_printf(out, "%s%.3g", out->data[last] == '[' ? "" : ",", (double)value);
}

void mp__habit_model_json(const mp__habit_model *model, mp__buf *out)
{
    mp__json_begin(out, '{');
    mp__json_add_u64(out, "version", VERSION);
    mp__json_key(out, "keys");
    mp__json_begin(out, '[');
    for (size_t i = 0; i < model->count && !out->error; i++) {
        const habit *h = &model->habits[i];

        if (!mp__is_utf8(address_of(h)))
            continue;
        mp__json_begin(out, '{');
        mp__json_add_string(out, "key", address_of(h));
        mp__json_add_i64(out, "day", h->day);
        mp__json_key(out, "hours");
        mp__json_begin(out, '[');
        for (unsigned j = 0; j < HOURS; j++)
            number(out, h->hours[j]);
        mp__json_end(out, ']');
        mp__json_key(out, "groups");
        (void)mp__buf_printf(out, "%.3g", (double)h->groups);
        mp__json_key(out, "with");
        mp__json_begin(out, '{');
        for (unsigned j = 0; j < MP__HABIT_PAIRS; j++) {
            const pair *p = &h->pairs[j];

            if (!is_of(model, p) || !mp__is_utf8(address_of(&model->habits[p->at])))
                continue;
            if (out->data[out->size - 1] != '{')
                (void)mp__buf_add_char(out, ',');
            mp__json_string(out, address_of(&model->habits[p->at]));
            (void)mp__buf_printf(out, ":%.3g", (double)p->count);
        }
        mp__json_end(out, '}');
        mp__json_end(out, '}');
    }
    mp__json_end(out, ']');
    mp__json_end(out, '}');
    (void)mp__buf_add_char(out, '\n');
}

static void load_one(mp__habit_model *model, const json_t *from)
{
    const json_t *key = json_object_get(from, "key"), *hours = json_object_get(from, "hours");
    int32_t day = (int32_t)json_integer_value(json_object_get(from, "day"));
    mp_str address = mp_str_new(json_string_value(key), json_string_length(key));
    uint32_t at;

    if (!address.data || model->count == model->keys_max)
        return;
    at = place_of(model, address, day);
    for (unsigned j = 0; at != NONE && j < HOURS; j++)
        model->habits[at].hours[j] = (float)json_number_value(json_array_get(hours, j));
    if (at != NONE)
        model->habits[at].groups = (float)json_number_value(json_object_get(from, "groups"));
}

/* Once all keys have their places. */
static void load_pairs(mp__habit_model *model, json_t *from)
{
    const json_t *key = json_object_get(from, "key");
    mp_str address = mp_str_new(json_string_value(key), json_string_length(key));
    uint32_t at = address.data ? find(model, address, mp__hash_str(model->key, address)) : NONE;
    const char *name;
    json_t *count;
    unsigned i = 0;

    json_object_foreach(json_object_get(from, "with"), name, count)
    {
        mp_str other = mp_str_of(name);
        uint32_t with = find(model, other, mp__hash_str(model->key, other));

        if (at != NONE && with != NONE && i < MP__HABIT_PAIRS)
            model->habits[at].pairs[i++] =
                (pair){with, model->habits[with].stamp, (float)json_number_value(count)};
    }
}

int mp__habit_model_load(mp__habit_model *model, mp_str json)
{
    json_t *root = json_loadb(json.data, json.size, 0, NULL);
    const json_t *keys = json_object_get(root, "keys");
    bool is_ours = json_integer_value(json_object_get(root, "version")) == VERSION;

    if (is_ours) {
        for (size_t i = 0; i < json_array_size(keys); i++)
            load_one(model, json_array_get(keys, i));
        for (size_t i = 0; i < json_array_size(keys); i++)
            load_pairs(model, json_array_get(keys, i));
    }
    json_decref(root);
    return is_ours ? 0 : MP_ESYNTAX;
}
