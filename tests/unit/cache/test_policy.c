/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <ctype.h>

#include "cache/policy/policy.h"
#include "core/core.h"

enum { NODES = 4000 };

typedef struct item {
    mp__policy_node node;
    _Atomic uint8_t frequency;
    bool in;
} item;

static item items[NODES];
static size_t count_in; /* of them */

static mp__policy *make(const mp__policy_ops *ops, size_t capacity)
{
    mp__policy *policy = NULL;

    memset((void *)items, 0, sizeof(items));
    count_in = 0;
    for (size_t i = 0; i < NODES; i++) {
        mp__policy_uses_are(&items[i].node, &items[i].frequency);
        items[i].node.hash = (i + 1) * 0x9e3779b97f4a7c15ULL;
        items[i].node.size = 1;
    }
    assert_int_equal(ops->make(capacity, &policy), 0);
    return policy;
}

static item *item_of(mp__policy_node *node)
{
    return node ? (item *)((char *)node - offsetof(item, node)) : NULL;
}

static void insert(mp__policy *policy, size_t i)
{
    assert_false(items[i].in);
    atomic_store(&items[i].frequency, 0);
    items[i].in = true;
    count_in++;
    policy->ops->insert(policy, &items[i].node);
}

static size_t evict(mp__policy *policy)
{
    item *victim = item_of(policy->ops->evict(policy));

    assert_non_null(victim);
    assert_true(victim->in);
    victim->in = false;
    count_in--;
    return (size_t)(victim - items);
}

static void what_is_inserted_comes_out_exactly_once(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (const mp__policy_ops *const *ops = mp__policies; *ops; ops++) {
        mp__policy *policy = make(*ops, 100);

        assert_null(policy->ops->evict(policy));
        for (int step = 0; step < 200000; step++) {
            size_t i;

            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            i = (random >> 33) % NODES;
            if (items[i].in && random % 3 == 0) {
                policy->ops->remove(policy, &items[i].node);
                items[i].in = false;
                count_in--;
            } else if (items[i].in) {
                policy->ops->hit(policy, &items[i].node);
                if (atomic_load(&items[i].frequency) < 3)
                    atomic_fetch_add(&items[i].frequency, 1);
            } else {
                if (count_in >= 100)
                    (void)evict(policy);
                insert(policy, i);
            }
        }
        for (size_t left = count_in; left > 0; left--)
            (void)evict(policy);
        assert_null(policy->ops->evict(policy));
        policy = policy->ops->free(policy);
    }
}

static void a_replacement_takes_the_place_and_the_old_one_is_gone(void **state)
{
    (void)state;
    for (const mp__policy_ops *const *ops = mp__policies; *ops; ops++) {
        size_t order[100];
        mp__policy *policy = make(*ops, 100);

        for (size_t i = 0; i < 100; i++)
            insert(policy, i);
        for (size_t i = 0; i < 100; i++)
            order[i] = evict(policy);
        policy = policy->ops->free(policy);
        policy = make(*ops, 100);
        for (size_t i = 0; i < 100; i++)
            insert(policy, i);
        for (size_t i = 0; i < 100; i++) { /* the first, those within, the last */
            items[i].in = false;
            items[1000 + i].in = true;
            items[1000 + i].node.hash = items[i].node.hash; /* it is the same key */
            policy->ops->replace(policy, &items[i].node, &items[1000 + i].node);
        }
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(evict(policy), 1000 + order[i]);
        assert_null(policy->ops->evict(policy));
        policy = policy->ops->free(policy);
    }
}

/* Those choose by what they believe of keys, and believe anew of another size. */
static bool goes_by_arrival(const mp__policy_ops *ops)
{
    return strcmp(ops->name, "w-tinylfu") != 0 && strcmp(ops->name, "lirs") != 0 &&
           strcmp(ops->name, "adaptive") != 0;
}

static void a_policy_changes_its_capacity_and_keeps_its_order(void **state)
{
    (void)state;
    for (const mp__policy_ops *const *ops = mp__policies; *ops; ops++) {
        mp__policy *policy = make(*ops, 1000);
        size_t bytes;

        for (size_t i = 0; i < 1000; i++)
            insert(policy, i);
        bytes = policy->ops->bytes(policy);
        assert_int_equal(policy->ops->resize(policy, 10), 0);
        assert_true(policy->ops->bytes(policy) <= bytes);
        for (size_t i = 0; i < 990; i++) {
            size_t victim = evict(policy); /* each once: evict() looks at that */

            if (goes_by_arrival(*ops))
                assert_int_equal(victim, i);
        }
        assert_int_equal(policy->ops->resize(policy, 2000), 0);
        assert_int_equal(count_in, 10);
        policy = policy->ops->free(policy);
    }
}

static void lru_with_reported_hits_is_exact(void **state)
{
    mp__policy *policy = make(mp__policy_find("lru"), 4);

    (void)state;
    for (size_t i = 0; i < 4; i++)
        insert(policy, i);
    policy->ops->hit(policy, &items[0].node);
    policy->ops->hit(policy, &items[2].node);
    assert_int_equal(evict(policy), 1);
    assert_int_equal(evict(policy), 3);
    assert_int_equal(evict(policy), 0);
    assert_int_equal(evict(policy), 2);
    policy = policy->ops->free(policy);
}

static void lru_gives_what_was_used_a_second_chance(void **state)
{
    mp__policy *policy = make(mp__policy_find("lru"), 4);

    (void)state;
    for (size_t i = 0; i < 4; i++)
        insert(policy, i);
    atomic_store(&items[0].frequency, 1);
    assert_int_equal(evict(policy), 1);
    for (size_t i = 0; i < 4; i++) /* all used: still one goes, and the oldest of them */
        atomic_store(&items[i].frequency, 3);
    assert_int_equal(evict(policy), 2);
    policy = policy->ops->free(policy);
}

static void s3_fifo_keeps_what_is_used_through_a_scan(void **state)
{
    mp__policy *policy = make(mp__policy_find("s3-fifo"), 100);

    (void)state;
    for (size_t i = 0; i < 50; i++) {
        insert(policy, i);
        atomic_store(&items[i].frequency, 2);
    }
    for (size_t i = 100; i < NODES; i++) { /* seen once, never again */
        if (count_in >= 100)
            (void)evict(policy);
        insert(policy, i);
    }
    for (size_t i = 0; i < 50; i++)
        assert_true(items[i].in);
    policy = policy->ops->free(policy);
}

static void s3_fifo_lets_what_comes_back_soon_into_the_main_queue(void **state)
{
    mp__policy *policy = make(mp__policy_find("s3-fifo"), 100);

    (void)state;
    for (size_t i = 0; i < 100; i++)
        insert(policy, i);
    assert_int_equal(evict(policy), 0);
    insert(policy, 0);               /* a ghost: straight to the main queue */
    for (size_t i = 1; i <= 90; i++) /* the small queue shrinks to its ten first */
        assert_int_equal(evict(policy), i);
    assert_true(items[0].in);
    assert_int_equal(evict(policy), 0); /* then the main queue gives its only one */
    policy = policy->ops->free(policy);
}

static int fail_at;

static bool fail_nth(size_t size)
{
    (void)size;
    return --fail_at == 0;
}

static void without_memory_a_policy_is_not_made_or_stays_as_it_was(void **state)
{
    (void)state;
    for (const mp__policy_ops *const *ops = mp__policies; *ops; ops++) {
        int rc = MP_ENOMEM;
        mp__policy *policy = NULL;

        for (int n = 1; rc != 0; n++) {
            assert_true(n < 60);
            fail_at = n;
            mp__alloc_fail_hook = fail_nth;
            rc = (*ops)->make(1000, &policy);
            mp__alloc_fail_hook = NULL;
            assert_true(rc == 0 || rc == MP_ENOMEM);
        }
        insert(policy, 1);
        fail_at = 1;
        mp__alloc_fail_hook = fail_nth;
        rc = policy->ops->resize(policy, 2000);
        mp__alloc_fail_hook = NULL;
        assert_true(rc == 0 || rc == MP_ENOMEM);
        assert_int_equal(evict(policy), 1);
        policy = policy->ops->free(policy);
    }
}

/* A year, or the program that has it. */
static bool names_its_source(const char *text)
{
    for (const char *p = text; *p; p++)
        if (isdigit((unsigned char)p[0]) && strspn(p, "0123456789") == 4)
            return true;
    return strstr(text, "Redis") != NULL;
}

static void every_policy_is_found_by_its_name_and_says_what_it_does(void **state)
{
    (void)state;
    for (const mp__policy_ops *const *ops = mp__policies; *ops; ops++) {
        assert_ptr_equal(mp__policy_find((*ops)->name), *ops);
        assert_true(strlen((*ops)->text) > 40);
        assert_true(names_its_source((*ops)->text));
    }
    assert_null(mp__policy_find("no such"));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(every_policy_is_found_by_its_name_and_says_what_it_does),
    MP_TEST(what_is_inserted_comes_out_exactly_once),
    MP_TEST(a_replacement_takes_the_place_and_the_old_one_is_gone),
    MP_TEST(a_policy_changes_its_capacity_and_keeps_its_order),
    MP_TEST(lru_with_reported_hits_is_exact),
    MP_TEST(lru_gives_what_was_used_a_second_chance),
    MP_TEST(s3_fifo_keeps_what_is_used_through_a_scan),
    MP_TEST(s3_fifo_lets_what_comes_back_soon_into_the_main_queue),
    MP_TEST(without_memory_a_policy_is_not_made_or_stays_as_it_was),
};

MP_TEST_MAIN(tests)
