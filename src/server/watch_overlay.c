/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader of a scope sees of a change in one of its layers. */
#include "server/watch.h"

#include "core/address.h"

/* ---- waiting for all layers ---- */

static mp_str join_text(mp_str scope, mp_str rest, char *text)
{
    memcpy(text, scope.data, scope.size);
    if (rest.size)
        memcpy(text + scope.size, rest.data, rest.size);
    return mp_str_new(text, scope.size + rest.size);
}

size_t mp__watch_layers(const mp__manager *manager, mp_str scope, mp_str ret_layers[MP__LAYERS_MAX])
{
    size_t count = 0;

    do
        ret_layers[count++] = scope;
    while (count < MP__LAYERS_MAX && (scope = mp__scope_up(scope, mp__overlay_base(manager))).size);
    return count;
}

int mp__watch_join_layers(mp__watch *watch, const mp__manager *manager, mp__watch_points *points,
                          mp__waiter *waiter, mp_str prefix, bool exact)
{
    size_t scope_size = mp__scope_size(prefix), count;
    mp_str layers[MP__LAYERS_MAX],
        rest = mp_str_new(prefix.data + scope_size, prefix.size - scope_size);
    char text[MP__SCOPE_MAX + 1 + MP__ADDRESS_MAX];
    int rc = 0;

    if (prefix.size > sizeof(text))
        return MP_ELIMIT;
    *points = (mp__watch_points){0};
    count = mp__watch_layers(manager, mp_str_new(prefix.data, scope_size), layers);
    for (size_t i = 0; i < count && rc == 0; i++) {
        mp_str layer = i == 0 ? prefix : join_text(layers[i], rest, text);

        rc = mp__watch_join(watch, &points->of[i], waiter, layer, exact);
    }
    if (rc)
        mp__watch_leave_layers(watch, points);
    return rc;
}

void mp__watch_leave_layers(mp__watch *watch, mp__watch_points *points)
{
    for (size_t i = 0; i < MP__LAYERS_MAX; i++)
        mp__watch_leave(watch, &points->of[i]);
}

/* ---- what is seen ---- */

static const mp__entry *resolved(mp__manager *manager, mp_str address)
{
    uint64_t hash = mp__cache_hash(mp__manager_hasher(manager), address);
    const mp__entry *entry;

    if (mp_read_begin() != 0)
        return NULL;
    entry = mp__read_now(manager, address, hash, MP__LEVEL_EVENTUAL, 0);
    if (!entry) /* a change is on its way: it will be told by itself */
        entry = mp__overlay_glance(manager, address, hash);
    if (entry)
        (void)mp__entry_ref(entry);
    mp_read_end();
    return entry;
}

static size_t layer_of(mp_str address, const mp_str *layers, size_t count)
{
    mp_str scope = mp_str_new(address.data, mp__scope_size(address));
    size_t i = 0;

    while (i < count && !mp_str_equal(layers[i], scope))
        i++;
    return i;
}

/* Whether memory has something in the layer @layer of what is called @rest in all of them. */
static bool has_own(mp__manager *manager, mp_str layer, mp_str rest)
{
    char text[MP__ADDRESS_MAX];
    const mp__entry *entry = NULL;
    bool has = false;
    mp_str address;

    if (layer.size + rest.size > sizeof(text) || mp_read_begin() != 0)
        return false;
    address = join_text(layer, rest, text);
    entry = mp__cache_peek(mp__manager_cache(manager), address,
                           mp__cache_hash(mp__manager_hasher(manager), address));
    has = entry && entry->kind != MP__RECORD_ABSENT;
    mp_read_end();
    return has;
}

bool mp__watch_shows(mp__manager *manager, mp_str scope, mp_str address, mp__watch_view *ret_view)
{
    mp_str layers[MP__LAYERS_MAX], namespace_, key, layer;
    enum mp__watch_seen seen = mp__watch_see(manager, scope, address, MP__WAS_PUT, ret_view);
    size_t count, at;

    (void)mp__entry_unref(ret_view->entry);
    ret_view->entry = NULL;
    if (seen != MP__SEEN_UNKNOWN || mp__address_split(address, &layer, &namespace_, &key) != 0)
        return seen == MP__SEEN_PUT;
    count = mp__overlay_layers(manager, scope, namespace_, layers);
    at = layer_of(address, layers, count);
    for (size_t i = 0; i < at; i++)
        if (has_own(manager, layers[i],
                    mp_str_new(address.data + layer.size, address.size - layer.size)))
            return false;
    return true;
}

enum mp__watch_seen mp__watch_judge(const mp__manager *manager, mp_str scope, mp_str changed,
                                    enum mp__watch_what what, const mp__entry *entry)
{
    mp_str layers[MP__LAYERS_MAX], namespace_, key, layer;
    size_t count, at, now;

    if (mp__address_split(changed, &layer, &namespace_, &key) != 0)
        return MP__SEEN_NOTHING;
    count = mp__overlay_layers(manager, scope, namespace_, layers);
    at = layer_of(changed, layers, count);
    now = entry->kind == MP__RECORD_ABSENT ? count
                                           : layer_of(mp__entry_address(entry), layers, count);
    if (now < at)
        return MP__SEEN_NOTHING; /* a nearer layer hides it */
    if (what == MP__WAS_PUT)
        return MP__SEEN_PUT;
    /* what was put into the same layer since is told by itself */
    return what == MP__WAS_DELETED && entry->kind == MP__RECORD_VALUE && now > at ? MP__SEEN_BEHIND
                                                                                  : MP__SEEN_DELETE;
}

enum mp__watch_seen mp__watch_judge_read(const mp__manager *manager, mp_str scope, mp_str changed,
                                         enum mp__watch_what what, const mp__read *read)
{
    if (read->entry && (read->status == 0 || read->status == MP_EABSENT))
        return mp__watch_judge(manager, scope, changed, what, read->entry);
    return what == MP__WAS_PUT ? MP__SEEN_PUT : MP__SEEN_DELETE;
}

enum mp__watch_seen mp__watch_see(mp__manager *manager, mp_str scope, mp_str changed,
                                  enum mp__watch_what what, mp__watch_view *ret_view)
{
    mp_str layers[MP__LAYERS_MAX], rest, namespace_, key, layer;
    bool is_own;

    ret_view->entry = NULL;
    if (mp__address_split(changed, &layer, &namespace_, &key) != 0 ||
        !mp__overlay_sees(manager, scope, changed, &rest))
        return MP__SEEN_NOTHING;
    rest = mp_str_new(rest.data - 1, rest.size + 1); /* with its slash */
    if (scope.size + rest.size > sizeof(ret_view->text))
        return MP__SEEN_NOTHING; /* no address of this scope is so long */
    ret_view->address = join_text(scope, rest, ret_view->text);
    is_own = mp_str_equal(layer, scope);
    if (is_own && what == MP__WAS_PUT)
        return MP__SEEN_PUT;
    if (is_own &&
        (what == MP__WAS_MASKED || mp__overlay_layers(manager, scope, namespace_, layers) == 1))
        return MP__SEEN_DELETE;
    ret_view->entry = resolved(manager, ret_view->address);
    return ret_view->entry ? mp__watch_judge(manager, scope, changed, what, ret_view->entry)
                           : MP__SEEN_UNKNOWN;
}
