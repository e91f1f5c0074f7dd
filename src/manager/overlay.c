/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays: a read of a scope is answered by the nearest of its layers that has a value.
 *
 *     production~eu~i7  ->  production~eu  ->  production  ->  base
 *
 * Every layer's answer, a value or the knowledge that there is none, is kept, verified and replaced
 * by itself, like that of any address; so whatever changes a layer changes what is resolved, and
 * there is no second copy that could be forgotten. A layer that nobody can say anything about makes
 * the whole unknown: what stands behind it may be hidden.
 *
 * Most scopes hold few keys, and many none. Whether a scope holds any is kept like a value, under
 * the scope as its address (a mark), so that layers without keys cost no question a key, and none
 * of the room that knowing what is absent takes.
 *
 * Looking at several layers takes more than a moment, in which a value may move from one to another
 * ("set it in the region, delete it in the base"). Who then saw the region before and the base
 * after would say that there never was one. So writers count, for each stripe of keys, what they
 * ask of the origin and what they put into the cache, and a read that saw a count move looks again:
 * what was put while looking at the cache, what was asked for while asking the origin. Looks at the
 * origin that saw the same count, too (after the double collect of Afek et al., "Atomic Snapshots
 * of Shared Memory", JACM 40(4), 1993).
 *
 * Another daemon that writes to the same origin counts nothing here. What it did between two
 * questions of a strong read shows in the revisions that the origin stood at: where those differ
 * so that the answers need not have been true together, the read looks again, too. */
#include "manager/internal.h"

#include "core/hazard.h"

/* Where the origin's revision never rests, as many looks that saw the same are enough: that a key
 * moved during each of them and was back in time for the next is not waited out. */
enum { LOOKS_MOST = 20, LOOKS_AT_CACHE = 3, SAME_ENOUGH = 3 };

/* ---- which layers ---- */

static char **names_take(const mp__options *options, const char *path)
{
    size_t count = mp__options_list_count(options, path);
    char **names = mp__calloc(count + 1, sizeof(*names));

    for (size_t i = 0; names && i < count; i++) {
        names[i] = mp__strdup(mp__options_list_at(options, path, i));
        if (!names[i]) {
            while (i--)
                (void)mp__free(names[i]);
            names = mp__free(names);
        }
    }
    return names;
}

static char **names_free(char **names)
{
    for (char **name = names; name && *name; name++)
        (void)mp__free(*name);
    return mp__free(names);
}

int mp__overlay_base_check(const char *base, mp__diag *diag)
{
    mp__diag why = {0};

    if (base[0] && mp__environment_check(mp_str_of(base), &why) != 0)
        return mp__diag_set(diag, MP_EINVAL, "overlay.base: '%.80s': %s", base, why.text);
    return 0;
}

int mp__overlay_new(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    const char *base = mp__options_text(options, "overlay.base");
    int rc = mp__overlay_base_check(base, diag);

    if (rc)
        return rc;
    manager->overlay_base = mp__strdup(base);
    manager->overlay_only = names_take(options, "overlay.namespaces");
    manager->overlay_except = names_take(options, "overlay.except");
    return manager->overlay_base && manager->overlay_only && manager->overlay_except ? 0
                                                                                     : MP_ENOMEM;
}

void mp__overlay_free(mp__manager *manager)
{
    manager->overlay_base = mp__free(manager->overlay_base);
    manager->overlay_only = names_free(manager->overlay_only);
    manager->overlay_except = names_free(manager->overlay_except);
}

mp_str mp__overlay_base(const mp__manager *manager)
{
    return mp_str_of(manager->overlay_base);
}

static bool is_among(char *const *names, mp_str name)
{
    for (; *names; names++)
        if (mp_str_equal(mp_str_of(*names), name))
            return true;
    return false;
}

static bool is_overlaid(const mp__manager *manager, mp_str namespace_)
{
    return (!manager->overlay_only[0] || is_among(manager->overlay_only, namespace_)) &&
           !(manager->overlay_except[0] && is_among(manager->overlay_except, namespace_));
}

size_t mp__overlay_scopes(const mp__manager *manager, mp_str scope,
                          mp_str ret_layers[MP__LAYERS_MAX])
{
    size_t count = 0;

    do
        ret_layers[count++] = scope;
    while (count < MP__LAYERS_MAX && (scope = mp__scope_up(scope, mp__overlay_base(manager))).size);
    return count;
}

size_t mp__overlay_layers(const mp__manager *manager, mp_str scope, mp_str namespace_,
                          mp_str ret_layers[MP__LAYERS_MAX])
{
    if (is_overlaid(manager, namespace_))
        return mp__overlay_scopes(manager, scope, ret_layers);
    ret_layers[0] = scope;
    return 1;
}

static mp_str namespace_of(mp_str address)
{
    mp_str rest = mp__scope_rest(address);
    const char *end = rest.size > 1 ? memchr(rest.data + 1, '/', rest.size - 1) : NULL;

    return end ? mp_str_new(rest.data + 1, (size_t)(end - rest.data) - 1) : mp_str_new("", 0);
}

bool mp__overlay_has(const mp__manager *manager, mp_str address)
{
    return is_overlaid(manager, namespace_of(address));
}

size_t mp__overlay_layers_of(const mp__manager *manager, mp_str address,
                             mp_str ret_layers[MP__LAYERS_MAX])
{
    return mp__overlay_layers(manager, mp_str_new(address.data, mp__scope_size(address)),
                              namespace_of(address), ret_layers);
}

bool mp__overlay_sees(const mp__manager *manager, mp_str scope, mp_str address, mp_str *ret_rest)
{
    mp_str changed = mp_str_new(address.data, mp__scope_size(address)),
           rest = mp__scope_rest(address);
    mp_str layers[MP__LAYERS_MAX];
    size_t count;

    if (rest.size < 2)
        return false;
    *ret_rest = mp_str_new(rest.data + 1, rest.size - 1);
    if (mp_str_equal(changed, scope))
        return true;
    count = mp__overlay_layers(manager, scope, namespace_of(address), layers);
    for (size_t i = 1; i < count; i++)
        if (mp_str_equal(changed, layers[i]))
            return true;
    return false;
}

/* The address of the same key in the layer @scope. */
static mp_str address_in(mp_str scope, mp_str rest, char out[MP__ADDRESS_MAX])
{
    memcpy(out, scope.data, scope.size);
    memcpy(out + scope.size, rest.data, rest.size);
    return mp_str_new(out, scope.size + rest.size);
}

/* ---- counts ---- */

static mp__overlay_stripe *stripe_of(mp__manager *manager, mp_str address)
{
    mp_str rest = mp__scope_rest(address);

    return &manager->stripes[mp__checksum(0, rest.data, rest.size) % MP__OVERLAY_STRIPES];
}

void mp__overlay_asks(mp__manager *manager, mp_str address)
{
    (void)atomic_fetch_add(&stripe_of(manager, address)->asked, 1);
}

void mp__overlay_was_answered(mp__manager *manager, mp_str address)
{
    (void)atomic_fetch_add(&stripe_of(manager, address)->answered, 1);
}

void mp__overlay_applies(mp__manager *manager, mp_str address)
{
    (void)atomic_fetch_add(&stripe_of(manager, address)->begun, 1);
}

void mp__overlay_applied(mp__manager *manager, mp_str address)
{
    (void)atomic_fetch_add(&stripe_of(manager, address)->ended, 1);
}

void mp__overlay_made(mp__manager *manager, const mp__change *changes, size_t count)
{
    uint64_t first = 0, last = 0;

    for (size_t i = 0; i < count; i++) {
        if (!changes[i].changed)
            continue;
        last = changes[i].after.revision;
        first = first ? first : last;
    }
    if (!last)
        return;
    if (first != atomic_load(&manager->own_to) + 1) /* who sees the new end sees this, too */
        atomic_store(&manager->own_from, first);
    atomic_store(&manager->own_to, last);
}

/* Whether this daemon made all revisions behind @from up to @to, so that the counts tell of them.
 */
static bool are_own(mp__manager *manager, uint64_t from, uint64_t to)
{
    return from <= to && to <= atomic_load(&manager->own_to) &&
           from + 1 >= atomic_load(&manager->own_from);
}

void mp__overlay_begins(mp__manager *manager, mp__read *read)
{
    mp__overlay_stripe *stripe;

    if (read->own_layer)
        return;
    stripe = stripe_of(manager, read->address);
    read->calm_begun = atomic_load(&stripe->ended);
    read->calm_asked = atomic_load(&stripe->answered);
}

/* ---- marks ---- */

void mp__overlay_warm(mp__manager *manager)
{
    mp_str base = mp__overlay_base(manager);

    if (atomic_load(&manager->may_warm) && mp__origin_vouches(manager) && base.size)
        mp__flight_heal(manager, base, mp__cache_hash(manager->hasher, base));
}

/* A mark is put at each change, though it says what it said: one of an older revision could be
 * replaced by an answer of the origin that is on its way since before the change. */
void mp__overlay_mark(mp__manager *manager, const mp__record *after, uint32_t generation,
                      int64_t as_of_ms)
{
    mp__record mark = {.kind = MP__RECORD_VALUE,
                       .revision = after->revision,
                       .created_revision = after->revision,
                       .version = 1};

    if (after->kind != MP__RECORD_VALUE || mp__overlay_is_mark(after->address))
        return;
    mark.address = mp_str_new(after->address.data, mp__scope_size(after->address));
    (void)mp__entry_unref(mp__change_keep(manager, &mark, generation, as_of_ms));
}

/* ---- from L1 ---- */

/* How sure it must be that a scope has no keys. */
enum mark_needs {
    VERIFIED,  /* as everything that is answered */
    LISTENING, /* the origin's watch is live since: a key would have been told */
};

static bool is_good(const mp__manager *manager, const mp__entry *entry, bool is_mark,
                    enum mark_needs needs)
{
    uint32_t live = atomic_load_explicit(&manager->generation, memory_order_relaxed);

    return mp__read_is_held(manager, entry) ||
           (is_mark && needs == LISTENING && entry->kind == MP__RECORD_ABSENT && live != 0 &&
            atomic_load_explicit(&entry->generation, memory_order_relaxed) == live);
}

/* What L1 holds fresh, or NULL; the section's last find then. */
static const mp__entry *held(mp__manager *manager, mp_str address, bool is_mark,
                             enum mark_needs needs)
{
    uint64_t hash = mp__cache_hash(manager->hasher, address);
    const mp__entry *entry = mp__back_may_have(&manager->back_filter, hash) ? NULL
                             : is_mark ? mp__cache_peek(manager->cache, address, hash)
                                       : mp__cache_find_part(manager->cache, address, hash);

    if (entry && !is_good(manager, entry, is_mark, needs)) {
        mp__hazard_release_last(mp__hazard_mine);
        return NULL;
    }
    return entry;
}

bool mp__overlay_is_empty(mp__manager *manager, mp_str scope)
{
    const mp__entry *mark;
    bool is = false;

    if (mp_read_begin() == 0) {
        mark = held(manager, scope, true, VERIFIED);
        is = mark && mark->kind == MP__RECORD_ABSENT;
        if (mark)
            mp__hazard_release_last(mp__hazard_mine);
        mp_read_end();
    }
    return is;
}

/* The first layer that has the key, as memory has them one after the other; NULL: not all are
 * there. */
static const mp__entry *first_of_layers(mp__manager *manager, mp_str address, enum mark_needs needs)
{
    mp_str layers[MP__LAYERS_MAX], rest = mp__scope_rest(address);
    size_t count = mp__overlay_layers_of(manager, address, layers);
    char text[MP__ADDRESS_MAX];
    const mp__entry *entry = NULL;

    for (size_t i = 0; i < count; i++) {
        entry = held(manager, address_in(layers[i], rest, text), false, needs);
        if (!entry) {
            entry = held(manager, layers[i], true, needs);
            if (entry && entry->kind != MP__RECORD_ABSENT) {
                mp__hazard_release_last(mp__hazard_mine);
                entry = NULL;
            }
            if (!entry)
                return NULL; /* nothing is known of this key, and it may be there */
        }
        if (entry->kind != MP__RECORD_ABSENT || i + 1 == count)
            break;
        mp__hazard_release_last(mp__hazard_mine);
    }
    return entry;
}

const mp__entry *mp__overlay_now(mp__manager *manager, mp_str address)
{
    mp__overlay_stripe *stripe = stripe_of(manager, address);
    uint32_t calm = atomic_load(&stripe->ended);
    const mp__entry *entry = first_of_layers(manager, address, VERIFIED);

    return atomic_load(&stripe->begun) == calm ? entry : NULL;
}

const mp__entry *mp__overlay_glance(mp__manager *manager, mp_str address, uint64_t hash)
{
    return mp__back_may_have(&manager->back_filter, hash)
               ? NULL
               : first_of_layers(manager, address, LISTENING);
}

/* ---- from anywhere ---- */

/* A read on its way through the layers. */
typedef struct walk {
    mp__read part; /* first: of the layer at work */
    mp__read *whole;
    size_t at, count; /* the layer at work; of all */
    unsigned looks;
    bool is_mark;                          /* it is asked whether the layer has any keys at all */
    bool is_far;                           /* L1 did not have all that was looked at */
    bool cached, asked;                    /* in this look: some answer came from there */
    const mp__entry *seen[MP__LAYERS_MAX]; /* what each layer answered, references */
    uint8_t kinds[MP__LAYERS_MAX];         /* of the look before */
    uint64_t revisions[MP__LAYERS_MAX];
    uint64_t
        as_of[MP__LAYERS_MAX]; /* in this look, of what a strong one was answered; 0: nothing */
    uint64_t same_as_of;       /* where the first look that was as this one began; 0: unknown */
    uint32_t same_looks, same_since; /* how many that were as this one; writes answered before */
    bool stale;                      /* the worst so far */
    int64_t age_ms;
    enum mp__reason reason;
    mp_str layers[MP__LAYERS_MAX];
    char address[MP__ADDRESS_MAX];
} walk;

static void forget_look(walk *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->seen[i] = mp__entry_unref(w->seen[i]);
        w->as_of[i] = 0;
    }
    w->cached = w->asked = w->stale = false;
    w->age_ms = -1;
}

/* Take what the layer at work answered; the walk has its entry from then on. */
static void take(walk *w, mp__read *read)
{
    w->seen[w->at] = read->entry;
    read->entry = NULL;
    if (read->tier == MP__TIER_ORIGIN) {
        w->asked = true;
        w->as_of[w->at] = read->level == MP__LEVEL_STRONG ? read->as_of : 0;
    } else {
        w->cached = true;
    }
    if (read->stale > w->stale || (read->stale == w->stale && read->age_ms > w->age_ms)) {
        w->stale = read->stale;
        w->age_ms = read->age_ms;
        w->reason = read->reason;
    }
}

static bool is_absent(const mp__entry *entry)
{
    return !entry || entry->kind == MP__RECORD_ABSENT;
}

/* Where the origin stood when the first layer was looked at that it was asked for; 0: not known. */
static uint64_t began_as_of(const walk *w)
{
    size_t i = 0;

    while (i < w->at && !w->as_of[i])
        i++;
    return w->as_of[i];
}

/* Whether what the origin answered in this look was all true at the revision at which it stood
 * first, for all that others did. An absence is of its revision alone, what has a revision was
 * there since then. */
static bool is_of_one_revision(const walk *w)
{
    uint64_t first = began_as_of(w);

    for (size_t i = 0; i <= w->at; i++) {
        const mp__entry *entry = w->seen[i];

        if (w->as_of[i] && w->as_of[i] != first &&
            (is_absent(entry) || entry->revision > first || w->as_of[i] < first) &&
            !are_own(w->whole->manager, first, w->as_of[i]))
            return false;
    }
    return true;
}

/* Whether fewer revisions were made during the looks that saw the same than there were looks, so
 * that during one of them nothing moved. */
static bool was_calm_elsewhere(const walk *w)
{
    uint64_t last = w->as_of[w->at];

    return !last || !w->same_as_of || last - w->same_as_of < w->same_looks ||
           w->same_looks >= SAME_ENOUGH || are_own(w->whole->manager, w->same_as_of, last);
}

/* Whether this look saw the same as those before, so that all of it was so at one moment; it is the
 * one before then. What has a revision was there all the time between two looks. Absence is as of
 * whichever revision the origin had reached, and a value may have come and gone: where there is
 * more than one, fewer writes must have been asked for than there were looks, so that one of them
 * had none; and fewer revisions made. */
static bool saw_the_same(walk *w, uint32_t asked)
{
    bool same = w->looks > 1;
    unsigned absences = 0;

    for (size_t i = 0; i <= w->at; i++) {
        const mp__entry *entry = w->seen[i];
        uint64_t revision = is_absent(entry) ? 0 : entry->revision;
        uint8_t kind = entry ? entry->kind : 0;

        same = same && w->kinds[i] == kind && w->revisions[i] == revision;
        w->kinds[i] = kind;
        w->revisions[i] = revision;
        absences += is_absent(entry);
    }
    if (!same) {
        w->same_looks = 0;
        w->same_since = w->whole->calm_asked;
        w->same_as_of = began_as_of(w);
    }
    w->same_looks++;
    return same &&
           (absences < 2 || (asked - w->same_since < w->same_looks && was_calm_elsewhere(w)));
}

/* Whether all layers were so at one moment. */
static bool is_of_one_moment(walk *w)
{
    const mp__overlay_stripe *stripe = stripe_of(w->whole->manager, w->whole->address);
    uint32_t asked = atomic_load(&stripe->asked);
    bool same = saw_the_same(w, asked);

    if (w->at == 0)
        return true;
    if (w->cached && atomic_load(&stripe->begun) != w->whole->calm_begun)
        return false;
    return !w->asked || same || (asked == w->whole->calm_asked && is_of_one_revision(w));
}

/* Who reads this again while the origin is gone must know that there is nothing before it. */
static void keep_absences(const walk *w)
{
    mp__manager *manager = w->whole->manager;

    for (size_t i = 0; i < w->at; i++) {
        const mp__entry *entry = w->seen[i];
        mp__record record;

        if (entry->revision == 0)
            continue; /* the origin did not say so: a write that is on its way */
        mp__entry_record(entry, &record);
        record.is_worth_keeping = true;
        (void)mp__cache_put_record(manager->cache, &record, 0,
                                   atomic_load_explicit(&entry->generation, memory_order_relaxed),
                                   atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed),
                                   NULL);
    }
}

/* The last layer that had to be looked at gave @read: the answer of the whole. */
static void answer(walk *w, const mp__read *last)
{
    mp__read *whole = w->whole;
    size_t from = last->status == MP_EABSENT && !last->layer.size ? 0 : w->at;

    whole->status = last->status;
    whole->tier = last->tier;
    whole->stale = w->stale;
    whole->age_ms = w->age_ms < 0 ? 0 : w->age_ms;
    whole->reason = w->reason;
    whole->layer = last->layer;
    mp__read_counts(w->whole->manager, whole, !w->is_far);
    if (last->status != 0 && last->status != MP_EABSENT) { /* what is not known is neither */
        whole->stale = last->stale;
        whole->reason = last->reason;
    } else if (last->layer.size && w->asked) {
        keep_absences(w);
    }
    whole->entry = w->seen[from];
    w->seen[from] = NULL;
}

static void part_done(mp__read *part);

/* Look at the layer `at`: at its mark, or at the key. As mp__read_start(). */
static bool look(walk *w, bool at_mark)
{
    mp__read *whole = w->whole;
    mp__manager *manager = whole->manager;

    w->is_mark = at_mark;
    w->part = (mp__read){
        .loop = whole->loop,
        .address = at_mark
                       ? w->layers[w->at]
                       : address_in(w->layers[w->at], mp__scope_rest(whole->address), w->address),
        .identity = whole->identity,
        .level = whole->level,
        .strict = whole->strict,
        .stale_if_error = whole->stale_if_error,
        .age_max_ms = whole->age_max_ms,
        .revision_min = whole->revision_min,
        .own_layer = true,
        .is_use = whole->is_use && !at_mark,
        .done = part_done,
        .is_part = true,
        .started_ns = whole->started_ns, /* the time that it may take is that of the whole */
    };
    w->part.hash = mp__cache_hash(manager->hasher, w->part.address);
    if (w->looks > LOOKS_AT_CACHE && whole->level != MP__LEVEL_STRONG) {
        w->part.level = MP__LEVEL_STRONG; /* the cache does not come to rest, the origin is of one
                                           * piece */
        w->part.stale_if_error = true;
    }
    return mp__read_layer(manager, &w->part);
}

/* The layer at work has answered. True: so has the whole. */
static bool go_on(walk *w, mp__read *read)
{
    for (;;) {
        bool last = read->status != MP_EABSENT || read->layer.size || w->at + 1 == w->count;

        w->is_far |= !read->was_near;
        if (w->is_mark && read->status != MP_EABSENT) { /* there are keys, or nobody can say */
            read->entry = mp__entry_unref(read->entry);
            if (!look(w, false))
                return false;
            read = &w->part;
            continue;
        }
        take(w, read);
        if (last) {
            w->looks++;
            if ((read->status != 0 && read->status != MP_EABSENT) || is_of_one_moment(w) ||
                w->looks >= LOOKS_MOST) {
                answer(w, read);
                return true;
            }
            forget_look(w);
            mp__overlay_begins(w->whole->manager, w->whole);
            w->at = 0;
        } else {
            w->at++;
        }
        read = &w->part;
        /* for whom the origin is asked anyway, one question is better than two */
        if (!look(w, w->whole->level != MP__LEVEL_STRONG))
            return false;
    }
}

static void walk_free(walk *w)
{
    forget_look(w);
    (void)mp__free(w);
}

static void part_done(mp__read *part)
{
    walk *w = (walk *)part;
    mp__read *whole = w->whole;

    if (!go_on(w, part))
        return;
    walk_free(w);
    mp__read_finish(whole->manager, whole);
}

/* NULL, and then @read is answered, without memory. */
static walk *walk_new(mp__read *read, const mp_str *layers, size_t count)
{
    walk *w = mp__calloc(1, sizeof(*w));

    if (!w) {
        read->entry = mp__entry_unref(read->entry);
        read->status = MP_ENOMEM;
        return NULL;
    }
    w->whole = read;
    w->count = count;
    w->age_ms = -1;
    memcpy(w->layers, layers, count * sizeof(*layers));
    return w;
}

bool mp__overlay_settles(mp__manager *manager, mp__read *read)
{
    mp_str layers[MP__LAYERS_MAX];
    size_t count;
    walk *w;

    if (read->own_layer || read->status != MP_EABSENT || read->layer.size)
        return true;
    count = mp__overlay_layers_of(manager, read->address, layers);
    w = count > 1 ? walk_new(read, layers, count) : NULL;
    if (!w)
        return true;
    if (!go_on(w, read))
        return false;
    walk_free(w);
    return true;
}

static bool is_near(mp__manager *manager, const mp__read *read)
{
    bool is = false;

    if (mp_read_begin() == 0) {
        is = mp__cache_peek(manager->cache, read->address, read->hash) != NULL;
        if (is)
            mp__hazard_release_last(mp__hazard_mine);
        mp_read_end();
    }
    return is;
}

bool mp__overlay_starts(mp__manager *manager, mp__read *read)
{
    mp_str layers[MP__LAYERS_MAX];
    size_t count;
    walk *w;

    if (read->own_layer || read->level == MP__LEVEL_STRONG || !mp__overlay_is_deep(read->address) ||
        is_near(manager, read))
        return mp__read_layer(manager, read) && mp__overlay_settles(manager, read);
    read->manager = manager;
    count = mp__overlay_layers_of(manager, read->address, layers);
    w = walk_new(read, layers, count);
    if (!w)
        return true;
    if (!look(w, count > 1) || !go_on(w, &w->part))
        return false;
    walk_free(w);
    return true;
}
