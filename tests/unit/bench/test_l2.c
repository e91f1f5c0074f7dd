/* SPDX-License-Identifier: Apache-2.0 */
/* How small configuration becomes in L2: the files of examples/config, of which the production
 * environment is packed with what a process before learned from the two others. */
#include "mp_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "bench/benches.h"
#include "bench/config_values.h"
#include "cache/cache.h"
#include "core/core.h"

static mp_cache *open_cache(const char *folder)
{
    mp__cache_options options = {.env = mp__env_real(),
                                 .l1_entries = 1,
                                 .policy = "fifo",
                                 .l2_entries = 4000,
                                 .l3_dir = folder};
    mp_cache *cache;

    assert_int_equal(mp__cache_open(&options, &cache, NULL), 0);
    return cache;
}

static void put(mp_cache *cache, const mp__config_values *v, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        mp__record record = {.address = mp_str_of(v->values[i].address),
                             .value = mp_str_new(v->values[i].value, v->values[i].size),
                             .media_type = MP_STR("application/json"),
                             .kind = MP__RECORD_VALUE,
                             .revision = i + 1,
                             .version = 1};

        assert_int_equal(mp__cache_put_record(cache, &record, 0, 0, 0, NULL), 0);
    }
    mp__cache_settle(cache);
}

/* How many times smaller the values of production become. */
static double ratio_of(enum mp__config_cut cut, size_t least)
{
    const char *files = getenv("MP_EXAMPLES");
    char folder[] = "/tmp/mp-bench-l2-XXXXXX";
    mp__config_values values;
    mp_cache_stats s;
    mp_cache *cache;

    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__config_values_read(&values, files, cut), 0);
    assert_true(values.count - values.known >= least);
    cache = open_cache(folder);
    put(cache, &values, 0, values.known);
    (void)mp_cache_free(cache);
    cache = open_cache(folder);
    put(cache, &values, values.known, values.count);
    mp_cache_stats_read(cache, &s);
    assert_true(s.l2_entries >= least);
    (void)mp_cache_free(cache);
    mp__config_values_done(&values);
    mp__bench_folder_remove(folder);
    return (double)s.l2_body_bytes / (double)s.l2_stored_bytes;
}

static void values_of_schemas_seen_before_are_four_and_a_half_times_smaller(void **state)
{
    double blocks, documents, leaves;

    (void)state;
    if (!getenv("MP_EXAMPLES"))
        skip();
    blocks = ratio_of(MP__CONFIG_BLOCKS, 30);
    documents = ratio_of(MP__CONFIG_DOCUMENTS, 7);
    leaves = ratio_of(MP__CONFIG_LEAVES, 500);
    print_message("# blocks %.2f, documents %.2f, leaves %.2f times smaller\n", blocks, documents,
                  leaves);
    assert_true(blocks > 5.1);
    assert_true(documents > 6);
    assert_true(leaves > 8); /* of an address of 40 bytes and more nothing is kept */
}

static const struct CMUnitTest tests[] = {
    MP_TEST(values_of_schemas_seen_before_are_four_and_a_half_times_smaller),
};
MP_TEST_MAIN(tests)
