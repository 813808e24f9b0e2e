/*
 * rocksdb_tuning.c - RocksDB's options, derived from one number of bytes.
 *
 * Three quarters of the memory are block cache, with indexes and filters inside
 * it, an eighth is for write buffers; the rest is left for what RocksDB does not
 * count.
 * The cache's limit is not strict: at a strict one reads fail with an error.
 */
#include "rocksdb_tuning.h"

#define KIB ((uint64_t) 1024)
#define MIB (1024 * KIB)

#define BLOCK_BYTES (4 * KIB)
#define BLOOM_BITS 10
#define HASHED_BLOCKS \
	rocksdb_block_based_table_data_block_index_type_binary_search_and_hash
/* Bounds what has to be replayed at start. */
#define MAX_WAL_BYTES (16 * MIB)
/* One is filled while another is flushed: both must fit into the reserve, where the
 * disk gets full on the way. */
#define MAX_WRITE_BUFFER (8 * MIB)
#define OPEN_FILES 256
/*
 * Above RocksDB's highest: its own log stays empty. What matters comes back with
 * each call, and on a full disk a build with assertions ends the process when it
 * writes to its log a second time.
 */
#define LOG_NOTHING 6
#define LOG_FILES 1

static uint64_t
within(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static void
set_files(rocksdb_options_t *options)
{
	rocksdb_options_set_create_if_missing(options, 1);
	rocksdb_options_set_create_missing_column_families(options, 1);
	rocksdb_options_set_max_open_files(options, OPEN_FILES);
	rocksdb_options_set_max_total_wal_size(options, MAX_WAL_BYTES);
	rocksdb_options_set_max_manifest_file_size(options, 4 * MIB);
	rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
	/* So that a flush or a compaction does not make a later fsync wait long. */
	rocksdb_options_set_bytes_per_sync(options, MIB);
	rocksdb_options_set_wal_bytes_per_sync(options, MIB);
	rocksdb_options_set_max_background_jobs(options, 2);
	rocksdb_options_set_info_log_level(options, LOG_NOTHING);
	rocksdb_options_set_keep_log_file_num(options, LOG_FILES);
	rocksdb_options_set_stats_dump_period_sec(options, 0);
	rocksdb_options_set_stats_persist_period_sec(options, 0);
}

/* What the C API has no function for: opening on a full disk must not need room. */
static rocksdb_options_t *
database_options(void)
{
	rocksdb_options_t *plain = rocksdb_options_create();
	rocksdb_options_t *options = rocksdb_options_create();
	char	   *message = NULL;

	rocksdb_get_options_from_string(plain, "avoid_flush_during_recovery=true", options,
									&message);
	/* An older RocksDB needs more room then, and no more than that. */
	rocksdb_free(message);
	rocksdb_options_destroy(plain);
	set_files(options);
	return options;
}

static void
set_blocks(rocksdb_options_t *options, rocksdb_cache_t *cache)
{
	rocksdb_block_based_table_options_t *blocks = rocksdb_block_based_options_create();
	rocksdb_filterpolicy_t *bloom = rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS);

	rocksdb_block_based_options_set_block_cache(blocks, cache);
	rocksdb_block_based_options_set_block_size(blocks, BLOCK_BYTES);
	rocksdb_block_based_options_set_filter_policy(blocks, bloom);
	rocksdb_block_based_options_set_format_version(blocks, 5);
	/* Blocks are searched by hash, where a single key is asked for. */
	rocksdb_block_based_options_set_data_block_index_type(blocks, HASHED_BLOCKS);
	rocksdb_block_based_options_set_data_block_hash_ratio(blocks, 0.75);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(blocks, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(
		blocks, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(blocks, 1);
	rocksdb_options_set_block_based_table_factory(options, blocks);
	rocksdb_block_based_options_destroy(blocks);
}

static rocksdb_options_t *
space_options(uint64_t write_buffer, rocksdb_cache_t *cache)
{
	rocksdb_options_t *options = rocksdb_options_create();

	rocksdb_options_set_write_buffer_size(options, write_buffer);
	rocksdb_options_set_max_write_buffer_number(options, 2);
	rocksdb_options_set_target_file_size_base(options, 16 * MIB);
	rocksdb_options_set_max_bytes_for_level_base(options, 64 * MIB);
	/* Levels sized from the last one: overwritten entries take a tenth of the
	 * space at most. */
	rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
	rocksdb_options_set_compression(options, rocksdb_lz4_compression);
	/* Most keys that are asked for are not in the write buffer. */
	rocksdb_options_set_memtable_whole_key_filtering(options, 1);
	rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, 0.02);
	set_blocks(options, cache);
	return options;
}

void
rocksdb_tuning_init(rocksdb_tuning *self, const table_rocksdb_options *options)
{
	uint64_t	memory = within(options->max_memory, 16 * MIB, UINT64_C(1) << 40);
	uint64_t	buffers = within(memory / 8, 4 * MIB, 64 * MIB);

	self->cache = rocksdb_cache_create_lru(memory / 4 * 3);
	for (int space = 0; space < TABLE_SPACES; space++)
		self->spaces[space] = space_options(within(buffers / 2, 2 * MIB, MAX_WRITE_BUFFER),
											self->cache);

	/* Floats do not get smaller. */
	rocksdb_options_set_compression(self->spaces[TABLE_VECTOR], rocksdb_no_compression);
	self->database = database_options();
	rocksdb_options_set_db_write_buffer_size(self->database, buffers);
}

void
rocksdb_tuning_free(rocksdb_tuning *self)
{
	rocksdb_options_destroy(self->database);
	for (int space = 0; space < TABLE_SPACES; space++)
		rocksdb_options_destroy(self->spaces[space]);
	rocksdb_cache_destroy(self->cache);
}
