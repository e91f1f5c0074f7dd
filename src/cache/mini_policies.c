/* SPDX-License-Identifier: Apache-2.0 */
/* What the members of the panel do on a hit, a miss and an eviction. Sources: mini.c. */
#include "cache/mini_internal.h"

enum { A = MP__MINI_A, B, C, GHOST_A, STACK };

enum { LIRS_SMALL = 4096 }; /* entries, as many as a member of a panel may have */

/* ---- what several share ---- */

static size_t no_ghosts(const mp__mini *m)
{
    (void)m;
    return 0;
}

static void drop(mp__mini *m, uint32_t i)
{
    mp__mini_take(m, m->records[i].list[0], i);
    mp__mini_record_free(m, i);
}

static void drop_oldest(mp__mini *m, unsigned list)
{
    uint32_t i = m->lists[list].oldest;

    mp__mini_take(m, list, i);
    mp__mini_record_free(m, i);
}

static uint32_t add_new(mp__mini *m, unsigned list, uint64_t hash)
{
    uint32_t i = mp__mini_record_new(m, hash);

    mp__mini_add(m, list, i);
    return i;
}

static uint32_t oldest(const mp__mini *m, unsigned list)
{
    return m->lists[list].oldest;
}

static uint32_t length(const mp__mini *m, unsigned list)
{
    return m->lists[list].count;
}

/* Most policies keep newcomers in A and what has proved itself in B. */
static void seed_two(mp__mini *m, uint32_t i, enum mini_rank rank)
{
    mp__mini_add(m, rank == MINI_NEWCOMER ? A : B, i);
}

static size_t learned_newcomers(const mp__mini *m)
{
    return m->newcomers;
}

/* ---- LRU ---- */

static void lru_hit(mp__mini *m, uint32_t i)
{
    mp__mini_move(m, A, i);
}

static uint32_t lru_insert(mp__mini *m, uint64_t hash, uint32_t ghost)
{
    (void)ghost;
    return add_new(m, A, hash);
}

static uint32_t lru_victim(mp__mini *m)
{
    return oldest(m, A);
}

static void lru_seed(mp__mini *m, uint32_t i, enum mini_rank rank)
{
    (void)rank;
    mp__mini_add(m, A, i);
}

static const mini_ops lru_ops = {
    .ghosts = no_ghosts,
    .hit = lru_hit,
    .insert = lru_insert,
    .victim = lru_victim,
    .evicted = drop,
    .seed = lru_seed,
};

/* ---- S3-FIFO and QD-LP-FIFO: A small, B main ---- */

static size_t tenth(const mp__mini *m)
{
    return m->capacity >= 10 ? m->capacity / 10 : 1;
}

static size_t s3_ghosts(const mp__mini *m)
{
    return m->capacity - tenth(m) + 1;
}

static void s3_hit(mp__mini *m, uint32_t i)
{
    if (m->records[i].uses < 3)
        m->records[i].uses++;
}

static uint32_t s3_insert(mp__mini *m, uint64_t hash, uint32_t ghost)
{
    if (!ghost)
        return add_new(m, A, hash);
    mp__mini_move(m, B, ghost);
    m->records[ghost].uses = 0;
    return ghost;
}

static uint32_t s3_main_victim(mp__mini *m)
{
    uint32_t i;

    while ((i = oldest(m, B)) && m->records[i].uses) {
        m->records[i].uses = (m->records[i].uses - 1U) & 15;
        mp__mini_move(m, B, i);
    }
    return i;
}

/* A newcomer that was used less than @least times goes first. */
static uint32_t small_victim(mp__mini *m, unsigned least)
{
    uint32_t i;

    if (length(m, A) >= tenth(m) || !length(m, B))
        while ((i = oldest(m, A))) {
            if (m->records[i].uses < least)
                return i;
            m->records[i].uses = 0;
            mp__mini_move(m, B, i);
        }
    return s3_main_victim(m);
}

static uint32_t s3_victim(mp__mini *m)
{
    return small_victim(m, 2);
}

static uint32_t qdlp_victim(mp__mini *m)
{
    return small_victim(m, 1);
}

static void s3_evicted(mp__mini *m, uint32_t i)
{
    if (m->records[i].list[0] != A) {
        drop(m, i);
        return;
    }
    if (length(m, GHOST_A) >= m->capacity - tenth(m))
        if (length(m, GHOST_A))
            drop_oldest(m, GHOST_A);
    mp__mini_move(m, GHOST_A, i);
}

static void s3_seed(mp__mini *m, uint32_t i, enum mini_rank rank)
{
    seed_two(m, i, rank);
    m->records[i].uses = rank == MINI_PROVEN;
}

static const mini_ops s3_ops = {
    .ghosts = s3_ghosts,
    .hit = s3_hit,
    .insert = s3_insert,
    .victim = s3_victim,
    .evicted = s3_evicted,
    .newcomers = learned_newcomers,
    .seed = s3_seed,
};

static const mini_ops qdlp_ops = {
    .ghosts = s3_ghosts,
    .hit = s3_hit,
    .insert = s3_insert,
    .victim = qdlp_victim,
    .evicted = s3_evicted,
    .newcomers = learned_newcomers,
    .seed = s3_seed,
};

/* ---- 2Q: A = A1in (a quarter), B = Am ---- */

static size_t twoq_ghosts(const mp__mini *m)
{
    return m->capacity / 2 + 2;
}

static void twoq_hit(mp__mini *m, uint32_t i)
{
    if (m->records[i].list[0] == B)
        mp__mini_move(m, B, i);
}

static uint32_t twoq_insert(mp__mini *m, uint64_t hash, uint32_t ghost)
{
    if (!ghost)
        return add_new(m, A, hash);
    mp__mini_move(m, B, ghost);
    return ghost;
}

static uint32_t twoq_victim(mp__mini *m)
{
    bool from_in = length(m, A) > m->capacity / 4 || !length(m, B);

    return oldest(m, from_in ? A : B);
}

static void twoq_evicted(mp__mini *m, uint32_t i)
{
    if (m->records[i].list[0] == B) {
        drop(m, i);
        return;
    }
    if (length(m, GHOST_A) > m->capacity / 2)
        drop_oldest(m, GHOST_A);
    mp__mini_move(m, GHOST_A, i);
}

static const mini_ops twoq_ops = {
    .ghosts = twoq_ghosts,
    .hit = twoq_hit,
    .insert = twoq_insert,
    .victim = twoq_victim,
    .evicted = twoq_evicted,
    .newcomers = learned_newcomers,
    .seed = seed_two,
};

/* ---- LIRS: A = residents that may go (HIR), STACK = recency, hot = LIR; GHOST_A = HIR that are in
 * the stack alone, in the order in which they left ---- */

static size_t lirs_cold_max(const mp__mini *m)
{
    return m->room >= 200 ? m->room / 100 : 2;
}

static size_t lirs_hot_max(const mp__mini *m)
{
    size_t cold = lirs_cold_max(m);

    return m->room > cold ? m->room - cold : 1;
}

/* A loop is found when a key comes again before its ghost is forgotten: up to twice the size, as
 * long as that takes little memory. */
static size_t lirs_ghosts_max(const mp__mini *m)
{
    return m->capacity + (m->capacity <= LIRS_SMALL ? m->capacity : m->capacity / 2);
}

static size_t lirs_ghosts(const mp__mini *m)
{
    return lirs_ghosts_max(m) + 2;
}

/* The bottom of the stack is always hot. */
static void lirs_prune(mp__mini *m)
{
    uint32_t i;

    while ((i = oldest(m, STACK)) && !m->records[i].hot) {
        mp__mini_take(m, STACK, i);
        if (!m->records[i].resident)
            drop(m, i);
    }
}

/* Hot ones above their share become cold, from the bottom of the stack. */
static void lirs_cool(mp__mini *m)
{
    while (m->lists[B].count > lirs_hot_max(m)) {
        uint32_t i = oldest(m, STACK);

        mp__mini_take(m, STACK, i);
        m->records[i].hot = 0;
        m->lists[B].count--; /* of B only the count is used: how many are hot */
        mp__mini_add(m, A, i);
        lirs_prune(m);
    }
}

static void lirs_heat(mp__mini *m, uint32_t i)
{
    m->records[i].hot = 1;
    m->lists[B].count++;
}

static void lirs_hit(mp__mini *m, uint32_t i)
{
    mini_record *r = &m->records[i];
    bool in_stack = r->list[1] == STACK;

    if (in_stack)
        mp__mini_take(m, STACK, i);
    mp__mini_add(m, STACK, i);
    if (r->hot) {
        lirs_prune(m);
    } else if (in_stack) {
        mp__mini_take(m, A, i);
        lirs_heat(m, i);
        lirs_cool(m);
        lirs_prune(m);
    } else {
        mp__mini_move(m, A, i);
    }
}

static uint32_t lirs_insert(mp__mini *m, uint64_t hash, uint32_t ghost)
{
    uint32_t i = ghost;

    if (ghost) {
        mp__mini_take(m, GHOST_A, i);
        mp__mini_take(m, STACK, i);
    } else {
        i = mp__mini_record_new(m, hash);
    }
    mp__mini_add(m, STACK, i);
    m->records[i].resident = 1;
    if (ghost || m->lists[B].count < lirs_hot_max(m)) {
        lirs_heat(m, i);
        lirs_cool(m);
        lirs_prune(m);
    } else {
        mp__mini_add(m, A, i);
    }
    return i;
}

static uint32_t lirs_victim(mp__mini *m)
{
    if (!oldest(m, A)) { /* all are hot: the one at the bottom cools */
        uint32_t i = oldest(m, STACK);

        mp__mini_take(m, STACK, i);
        m->records[i].hot = 0;
        m->lists[B].count--;
        mp__mini_add(m, A, i);
        lirs_prune(m);
    }
    return oldest(m, A);
}

static void lirs_evicted(mp__mini *m, uint32_t i)
{
    if (m->records[i].list[1] != STACK) {
        drop(m, i);
        return;
    }
    if (length(m, GHOST_A) >= lirs_ghosts_max(m)) {
        uint32_t ghost = oldest(m, GHOST_A);

        mp__mini_take(m, STACK, ghost);
        drop(m, ghost);
    }
    mp__mini_move(m, GHOST_A, i);
}

static void lirs_seed(mp__mini *m, uint32_t i, enum mini_rank rank)
{
    if (rank == MINI_NEWCOMER) {
        mp__mini_add(m, A, i);
        return;
    }
    mp__mini_add(m, STACK, i);
    lirs_heat(m, i);
}

static void lirs_forgotten(mp__mini *m, uint32_t i)
{
    if (m->records[i].hot)
        m->lists[B].count--;
    lirs_prune(m);
}

static const mini_ops lirs_ops = {
    .ghosts = lirs_ghosts,
    .hit = lirs_hit,
    .insert = lirs_insert,
    .victim = lirs_victim,
    .evicted = lirs_evicted,
    .forgotten = lirs_forgotten,
    .newcomers = lirs_cold_max,
    .seed = lirs_seed,
};

/* ---- W-TinyLFU: A window, C probation, B protected (four fifths of the rest) ---- */

static void tiny_hit(mp__mini *m, uint32_t i)
{
    unsigned list = m->records[i].list[0];

    if (list != C) {
        mp__mini_move(m, list, i);
        return;
    }
    mp__mini_move(m, B, i);
    if (length(m, B) > (m->capacity - m->window_max) * 4 / 5)
        mp__mini_move(m, C, oldest(m, B));
}

static uint32_t tiny_insert(mp__mini *m, uint64_t hash, uint32_t ghost)
{
    (void)ghost;
    /* while it fills, what leaves the window needs no better claim */
    if (length(m, A) >= m->window_max)
        mp__mini_move(m, C, oldest(m, A));
    return add_new(m, A, hash);
}

static uint32_t tiny_victim(mp__mini *m)
{
    uint32_t victim = oldest(m, C) ? oldest(m, C) : oldest(m, B), candidate = oldest(m, A);

    if (!victim)
        return candidate;
    if (length(m, A) < m->window_max || !candidate)
        return victim;
    if (mp__mini_frequency(m, m->records[candidate].hash) >
        mp__mini_frequency(m, m->records[victim].hash)) {
        mp__mini_move(m, C, candidate);
        return victim;
    }
    return candidate;
}

static size_t tiny_newcomers(const mp__mini *m)
{
    return m->window_max;
}

static void tiny_seed(mp__mini *m, uint32_t i, enum mini_rank rank)
{
    bool room = length(m, B) < (m->capacity - m->window_max) * 4 / 5;

    mp__mini_add(m, rank == MINI_NEWCOMER ? A : rank == MINI_PROVEN && room ? B : C, i);
}

static const mini_ops tiny_ops = {
    .ghosts = no_ghosts,
    .hit = tiny_hit,
    .insert = tiny_insert,
    .victim = tiny_victim,
    .evicted = drop,
    .newcomers = tiny_newcomers,
    .seed = tiny_seed,
};

const mini_ops *mp__mini_ops_of(enum mp__mini_kind kind)
{
    static const mini_ops *const all[] = {
        [MP__MINI_LRU] = &lru_ops,   [MP__MINI_S3FIFO] = &s3_ops, [MP__MINI_QDLP] = &qdlp_ops,
        [MP__MINI_TWOQ] = &twoq_ops, [MP__MINI_LIRS] = &lirs_ops, [MP__MINI_TINYLFU] = &tiny_ops,
    };

    return all[kind];
}
