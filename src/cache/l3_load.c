/* SPDX-License-Identifier: Apache-2.0 */
/* From the footers of segments to an index, shard by shard: a reader waits for no more than the
 * shard that its address is in, so that the first answer after a start does not wait for the rest.
 * The writer brings in what nobody asked for, before it writes or gives up anything: until then not
 * all is counted that is still needed of a segment.
 *
 * A shard is made aside, under load.lock, from its part of every segment, in the order of the log.
 * Then it takes its place under the shard's own lock, with what was put into it meanwhile: so that
 * neither a put nor a look that must not wait ever does.
 *
 * What stands later in the log replaces what stands before it unless its revision is older. That
 * alone would be right, since the log is in the order in which records were accepted; the revision
 * is a second belt, for a log whose middle could not be read at one start and can be at the next.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "cache/l3_internal.h"

/* So many rows are brought in before L3 is open: they cost less than 30 ms, and what is told of L3
 * is whole from the beginning. */
enum { ROWS_AT_ONCE = 128 * 1024 };
_Static_assert((int)MP__L3_PARTS == (int)MP__L3_SHARDS,
               "a part of a footer is what it has of a shard");

/* ---- sources ---- */

/* Its directory, so that nothing more need be read of it now. MP_ECORRUPT: it has none that holds.
 */
static int find_directory(mp__l3_source *source)
{
    mp__l3_segment *segment = source->segment;
    unsigned char bytes[MP__L3_DIRECTORY];
    int rc = mp__l3_footer_find(segment, &source->footer);

    if (rc == 0 && (!segment->is_ours || !source->footer.directory_at))
        rc = MP_ECORRUPT;
    if (rc == 0)
        rc = mp__l3_segment_read(segment, bytes, sizeof(bytes), source->footer.directory_at);
    if (rc == 0)
        rc = mp__l3_directory_read(bytes, &source->footer, &segment->seed, &source->directory);
    segment->has_footer = rc == 0;
    return rc;
}

/* All rows of a segment in memory, where no directory says which belong to a shard. */
static int keep_rows(mp__l3_source *source, const mp__l3_row *rows, size_t count)
{
    source->rows = mp__realloc_array(NULL, count + 1, sizeof(*rows));
    if (!source->rows)
        return MP_ENOMEM;
    mp__l3_rows_by_part(rows, count, source->rows, source->directory.first);
    source->directory.revision_max = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].revision > source->directory.revision_max)
            source->directory.revision_max = rows[i].revision;
    return 0;
}

/* ---- what a scan does not find ---- */

static const mp__l3_row *at_offset(const mp__l3_row *rows, size_t count, uint32_t offset)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].offset == offset)
            return &rows[i];
    return NULL;
}

/* A row of a footer with hashes that are not ours, whose record was not found. */
typedef struct lost {
    const mp__l3_row *row;
    uint64_t hash; /* ours of its address, */
    bool is_known; /* if another record of it told */
} lost;

typedef struct losses {
    lost *items; /* by the hash in the row */
    size_t count, capacity;
} losses;

static int compare_lost(const void *a, const void *b)
{
    const lost *x = a, *y = b;

    return (x->row->hash > y->row->hash) - (x->row->hash < y->row->hash);
}

static bool is_same(const mp__l3_row *a, const mp__l3_row *b)
{
    return a->offset == b->offset && a->revision == b->revision && a->kind == b->kind;
}

/* Those of @theirs that are not among the rows that were @found, both in the order of the log. */
static int find_lost(const mp__l3_row *theirs, size_t their_count, const mp__l3_row *found,
                     size_t count, losses *ret_losses)
{
    size_t at = 0;

    for (size_t i = 0; i < their_count; i++) {
        while (at < count && found[at].offset < theirs[i].offset)
            at++;
        if (at < count && is_same(&found[at], &theirs[i]))
            continue;
        if (mp__grow(&ret_losses->items, ret_losses->count, &ret_losses->capacity,
                     sizeof(*ret_losses->items)) != 0)
            return MP_ENOMEM;
        ret_losses->items[ret_losses->count++] = (lost){.row = &theirs[i]};
    }
    if (ret_losses->count)
        qsort(ret_losses->items, ret_losses->count, sizeof(*ret_losses->items), compare_lost);
    return 0;
}

/* The first of those with @hash in their row, or the end. */
static lost *first_of(const losses *l, uint64_t hash)
{
    size_t from = 0, to = l->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (l->items[middle].row->hash < hash)
            from = middle + 1;
        else
            to = middle;
    }
    return l->items + from;
}

/* Of a footer with the same hashes, and the rows that were @found where it is: they tell what our
 * hashes of these addresses are. */
static void learn_hashes(const losses *l, const mp__l3_row *theirs, size_t their_count,
                         const mp__l3_row *found, size_t count)
{
    const lost *end = l->items + l->count;

    for (size_t i = 0; i < their_count; i++) {
        lost *first = first_of(l, theirs[i].hash);
        const mp__l3_row *row;

        if (first == end || first->row->hash != theirs[i].hash || first->is_known)
            continue;
        row = at_offset(found, count, theirs[i].offset);
        if (!row || !is_same(row, &theirs[i]))
            continue;
        for (lost *k = first; k < end && k->row->hash == theirs[i].hash; k++) {
            k->hash = row->hash;
            k->is_known = true;
        }
    }
}

/* The same of the segments before, each of which is read once. */
static void learn_hashes_before(mp__l3 *l3, const mp__l3_segment *segment, const losses *l)
{
    for (size_t i = 0; i < l3->load.count; i++) {
        const mp__l3_source *source = &l3->load.sources[i];
        mp__l3_row *theirs;
        size_t count;

        if (!source->rows || source->segment->is_ours ||
            memcmp(&source->segment->seed.secret, &segment->seed.secret,
                   sizeof(segment->seed.secret)) != 0 ||
            mp__l3_rows_from_footer(source->segment, &theirs, &count) != 0)
            continue;
        learn_hashes(l, theirs, count, source->rows, source->directory.first[MP__L3_PARTS]);
        (void)mp__free(theirs);
    }
}

/* A record that the footer has, with a hash which is not ours, and that was not found by its sum,
 * may be the newest of an address that cannot be read any more: of all whose older records are
 * there, it is GONE, or these would come back. */
static int add_lost(mp__l3 *l3, const mp__l3_segment *segment, const mp__l3_row *theirs,
                    size_t their_count, mp__l3_row **rows, size_t *count)
{
    size_t found = *count;
    losses l = {0};
    int rc = find_lost(theirs, their_count, *rows, found, &l);
    mp__l3_row *more =
        rc == 0 ? mp__realloc_array(*rows, found + l.count + 1, sizeof(*more)) : NULL;

    if (!more) {
        (void)mp__free(l.items);
        return MP_ENOMEM;
    }
    *rows = more;
    if (l.count) {
        learn_hashes(&l, theirs, their_count, more, found);
        learn_hashes_before(l3, segment, &l);
    }
    for (size_t i = 0; i < l.count; i++) {
        if (!l.items[i].is_known)
            continue;
        more[*count] = *l.items[i].row;
        more[*count].hash = l.items[i].hash;
        more[(*count)++].kind = MP__L3_GONE;
    }
    (void)mp__free(l.items);
    mp__l3_rows_in_order(more, *count);
    return 0;
}

/* A segment whose footer, @theirs, has hashes that are not ours. */
static int scan_theirs(mp__l3 *l3, mp__l3_segment *segment, const mp__l3_row *theirs,
                       size_t their_count, mp__l3_row **ret_rows, size_t *ret_count,
                       mp__l3_scan *ret_scan)
{
    int rc = mp__l3_rows_from_scan(l3, segment, ret_rows, ret_count, ret_scan);

    if (rc == 0 && ret_scan->damaged) {
        rc = add_lost(l3, segment, theirs, their_count, ret_rows, ret_count);
        if (rc)
            *ret_rows = mp__free(*ret_rows);
    }
    return rc;
}

/* From a footer of an older version, or a scan. */
static int read_rows(mp__l3 *l3, mp__l3_source *source)
{
    mp__l3_segment *segment = source->segment;
    mp__l3_row *rows;
    mp__l3_scan scan = {0};
    size_t count;
    int rc = mp__l3_rows_from_footer(segment, &rows, &count);

    segment->has_footer = rc == 0;
    if (rc == 0 && !segment->is_ours) {
        mp__l3_row *theirs = rows; /* its hashes are made with another secret */

        rc = scan_theirs(l3, segment, theirs, count, &rows, &count, &scan);
        (void)mp__free(theirs);
    } else if (rc == MP_ECORRUPT || rc == -EIO) {
        rc = mp__l3_rows_from_scan(l3, segment, &rows, &count, &scan);
        if (rc == 0 && !segment->has_footer) {
            segment->rows = rows;
            segment->row_count = segment->row_capacity = count;
            segment->log_end = scan.end;
            segment->certain = scan.certain;
            segment->has_damage = scan.damaged != 0;
        }
    }
    if (rc)
        return rc;
    mp__l3_count(&l3->corrupt, scan.damaged);
    rc = keep_rows(source, rows, count);
    if (segment->rows != rows)
        (void)mp__free(rows);
    return rc;
}

int mp__l3_load_add(mp__l3 *l3, mp__l3_segment *segment)
{
    mp__l3_load *load = &l3->load;
    mp__l3_source *source;
    int rc;

    if (mp__grow(&load->sources, load->count, &load->capacity, sizeof(*load->sources)) != 0)
        return MP_ENOMEM;
    source = &load->sources[load->count];
    *source = (mp__l3_source){.segment = segment};
    rc = find_directory(source);
    if (rc == MP_ECORRUPT || rc == -EIO)
        rc = read_rows(l3, source);
    if (rc)
        return rc;
    load->count++;
    load->rows += source->directory.first[MP__L3_PARTS];
    mp__l3_revision_note(l3, source->directory.revision_max);
    mp__l3_count(&l3->recovered, source->directory.first[MP__L3_PARTS]);
    return 0;
}

void mp__l3_load_forget(mp__l3 *l3)
{
    mp__l3_load *load = &l3->load;

    for (size_t i = 0; i < load->count; i++)
        load->sources[i].rows = mp__free(load->sources[i].rows);
    load->sources = mp__free(load->sources);
    load->count = load->capacity = 0;
    load->rows = 0;
}

/* ---- a shard, aside ---- */

/* What is made of a shard, and what for. */
typedef struct made {
    mp__l3_shard table; /* no lock; nothing in it is in the queue */
    uint64_t *live;     /* by segment id: bytes that the table needs of it */
    uint32_t id_count;
    unsigned char *bytes; /* for the largest part */
    mp__l3_row *rows;
} made;

static void made_done(made *m)
{
    (void)mp__free(m->table.slots);
    (void)mp__free(m->live);
    (void)mp__free(m->bytes);
    (void)mp__free(m->rows);
}

static size_t part_count(const mp__l3_source *source, unsigned part)
{
    return source->directory.first[part + 1] - source->directory.first[part];
}

static int made_init(made *m, const mp__l3_load *load, unsigned part)
{
    size_t all = 0, most = 0;

    *m = (made){0};
    for (size_t i = 0; i < load->count; i++) {
        size_t count = part_count(&load->sources[i], part);
        uint32_t id = load->sources[i].segment->id;

        all += count;
        most = count > most ? count : most;
        m->id_count = id >= m->id_count ? id + 1 : m->id_count;
    }
    m->live = mp__calloc(m->id_count + 1, sizeof(*m->live));
    m->bytes = mp__malloc(most * MP__L3_ROW + 1);
    m->rows = mp__realloc_array(NULL, most + 1, sizeof(*m->rows));
    if (!m->live || !m->bytes || !m->rows || mp__l3_shard_reserve(&m->table, all + 1) != 0) {
        made_done(m);
        return MP_ENOMEM;
    }
    return 0;
}

static int take_row(made *m, uint32_t id, const mp__l3_row *row)
{
    mp__l3_slot *slot;
    int rc = mp__l3_shard_slot(&m->table, row->hash, &slot);

    if (rc)
        return rc;
    if (mp__l3_slot_kind(slot) && !(row->flags & MP__L3_FORCED) && slot->revision > row->revision)
        return 0;
    if (mp__l3_slot_kind(slot))
        m->live[mp__l3_place_id(slot->at)] -= mp__l3_place_size(slot->at);
    m->live[id] += row->size;
    mp__l3_slot_set(&m->table, slot, row->kind, row->revision, row->flags);
    slot->at = mp__l3_place_make(id, row->offset, row->size);
    return 0;
}

/* The rows of a part: in the file, and where they do not hold there, from a scan of all of it. The
 * search then says where the log ends, so that the footer is made anew. */
static int part_rows(mp__l3 *l3, mp__l3_source *source, unsigned part, made *m,
                     const mp__l3_row **ret_rows)
{
    size_t count = part_count(source, part);
    uint64_t at = source->footer.rows_at + (uint64_t)source->directory.first[part] * MP__L3_ROW;
    int rc = 0;

    if (!source->rows && count) {
        rc = mp__l3_segment_read(source->segment, m->bytes, count * MP__L3_ROW, at);
        if (rc == 0)
            rc = mp__l3_part_read(m->bytes, part, &source->directory, &source->footer,
                                  &source->segment->seed, m->rows);
        if (rc == MP_ECORRUPT || rc == -EIO)
            rc = read_rows(l3, source);
    }
    *ret_rows = source->rows ? source->rows + source->directory.first[part] : m->rows;
    return rc;
}

/* Rows that come soon are brought near: the table is larger than the processor's nearer caches. */
static int take_part(mp__l3 *l3, mp__l3_source *source, unsigned part, made *m)
{
    enum { AHEAD = 8 };
    const mp__l3_row *rows;
    int rc = part_rows(l3, source, part, m, &rows);
    size_t count = part_count(source, part);

    for (size_t i = 0; i < count && rc == 0; i++) {
        if (i + AHEAD < count)
            mp__l3_shard_prefetch(&m->table, rows[i + AHEAD].hash);
        rc = take_row(m, source->segment->id, &rows[i]);
    }
    return rc;
}

/* ---- into its place ---- */

/* @slot came in while nothing of the disk was known; @on_disk is what that has. Whether @slot is
 * to stay. */
static bool is_newer(const mp__l3_slot *slot, const mp__l3_slot *on_disk)
{
    if (mp__l3_slot_is(slot, MP__L3_SLOT_FORCED) || slot->revision > on_disk->revision)
        return true;
    return slot->revision == on_disk->revision &&
           mp__l3_slot_kind(slot) != mp__l3_slot_kind(on_disk);
}

/* One that is written will still be the newest when the record that it replaces is read again. */
static void stand_for(mp__l3 *l3, made *m, mp__l3_slot *slot, mp__l3_slot *on_disk)
{
    mp__l3_pending *pending = mp__l3_slot_pending(slot);
    uint64_t forced = on_disk->tag & MP__L3_SLOT_FORCED;

    if (pending) {
        mp__l3_index_release(&l3->index, pending->instead_of);
        pending->instead_of = on_disk->at;
        pending->flags |= forced ? MP__L3_FORCED : 0;
    } else { /* GONE, in memory only */
        m->live[mp__l3_place_id(on_disk->at)] -= mp__l3_place_size(on_disk->at);
    }
    mp__l3_slot_set(&m->table, on_disk, mp__l3_slot_kind(slot), slot->revision, 0);
    *on_disk = *slot;
    on_disk->tag |= forced;
}

/* Under the shard's lock. What is in @shard goes into the table, which has room for it. */
static void merge(mp__l3 *l3, made *m, mp__l3_shard *shard)
{
    for (size_t i = 0; i < shard->capacity; i++) {
        mp__l3_slot *slot = &shard->slots[i], *on_disk;
        uint64_t hash = mp__l3_slot_hash((unsigned)(shard - l3->index.shards), slot);

        if (mp__l3_slot_kind(slot) == 0 || mp__l3_shard_slot(&m->table, hash, &on_disk) != 0)
            continue;
        if (mp__l3_slot_kind(on_disk) == 0) {
            mp__l3_slot_set(&m->table, on_disk, mp__l3_slot_kind(slot), slot->revision, 0);
            *on_disk = *slot;
        } else if (is_newer(slot, on_disk)) {
            stand_for(l3, m, slot, on_disk);
        } else {
            if (slot->revision == on_disk->revision) {
                on_disk->generation = slot->generation;
                on_disk->verify_by_s = slot->verify_by_s;
            }
            mp__l3_slot_let_go(l3, slot);
        }
    }
}

static int put_in_place(mp__l3 *l3, made *m, mp__l3_shard *shard)
{
    mp__l3_slot *old;
    int rc;

    (void)pthread_mutex_lock(&shard->lock);
    rc = mp__l3_shard_reserve(&m->table, m->table.count + shard->count);
    if (rc == 0) {
        merge(l3, m, shard);
        for (uint32_t id = 1; id < m->id_count; id++)
            if (m->live[id])
                (void)atomic_fetch_add_explicit(&l3->index.segments[id]->live_bytes, m->live[id],
                                                memory_order_relaxed);
        old = shard->slots;
        shard->slots = m->table.slots;
        shard->capacity = m->table.capacity;
        shard->count = m->table.count;
        shard->gone = m->table.gone;
        shard->is_unloaded = false;
        m->table.slots = old;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return rc;
}

/* ---- loading ---- */

static bool is_unloaded(mp__l3_shard *shard)
{
    bool answer;

    (void)pthread_mutex_lock(&shard->lock);
    answer = shard->is_unloaded;
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

/* Under load.lock. */
static int load_one(mp__l3 *l3, unsigned number)
{
    mp__l3_load *load = &l3->load;
    mp__l3_shard *shard = &l3->index.shards[number];
    made m;
    int rc;

    if (!is_unloaded(shard))
        return 0;
    rc = made_init(&m, load, number);
    if (rc)
        return rc;
    for (size_t i = 0; i < load->count && rc == 0; i++)
        rc = take_part(l3, &load->sources[i], number, &m);
    if (rc == 0) {
        mp__l3_shard_fit(&m.table);
        rc = put_in_place(l3, &m, shard);
    }
    made_done(&m);
    if (rc == 0 && atomic_load_explicit(&load->left, memory_order_relaxed) == 1)
        mp__l3_load_forget(l3);
    if (rc == 0)
        (void)atomic_fetch_sub_explicit(&load->left, 1, memory_order_release);
    return rc;
}

int mp__l3_load_shard(mp__l3 *l3, unsigned number)
{
    mp__l3_load *load = &l3->load;
    int rc;

    assert(number < MP__L3_SHARDS);
    (void)atomic_fetch_add(&load->waiting, 1);
    (void)pthread_mutex_lock(&load->lock);
    rc = load_one(l3, number);
    if (atomic_fetch_sub(&load->waiting, 1) == 1)
        (void)pthread_cond_broadcast(&load->idle);
    (void)pthread_mutex_unlock(&load->lock);
    return rc;
}

/* A reader waits for one shard and not, as chance has it with locks, for several more. */
static int load_behind_readers(mp__l3 *l3, unsigned number)
{
    mp__l3_load *load = &l3->load;
    int rc;

    (void)pthread_mutex_lock(&load->lock);
    while (atomic_load(&load->waiting))
        (void)pthread_cond_wait(&load->idle, &load->lock);
    rc = load_one(l3, number);
    (void)pthread_mutex_unlock(&load->lock);
    return rc;
}

int mp__l3_load_all(mp__l3 *l3)
{
    int rc = 0;

    for (unsigned i = 0; i < MP__L3_SHARDS && rc == 0 && !mp__l3_is_loaded(l3); i++)
        rc = atomic_load(&l3->load.stop) ? MP_ECANCELED : load_behind_readers(l3, i);
    return rc;
}

void mp__l3_load_begin(mp__l3 *l3)
{
    bool is_small = l3->load.rows <= ROWS_AT_ONCE && !l3->load.is_lazy;

    if (l3->load.rows == 0) {
        mp__l3_load_forget(l3);
        return;
    }
    (void)pthread_mutex_lock(&l3->load.lock);
    atomic_store(&l3->load.left, MP__L3_SHARDS);
    for (int i = 0; i < MP__L3_SHARDS; i++) {
        mp__l3_shard *shard = &l3->index.shards[i];

        (void)pthread_mutex_lock(&shard->lock);
        shard->is_unloaded = true;
        (void)pthread_mutex_unlock(&shard->lock);
    }
    (void)pthread_mutex_unlock(&l3->load.lock);
    if (is_small)
        (void)mp__l3_load_all(l3); /* what fails now, the writer tries again */
}
