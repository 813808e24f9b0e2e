/*
 * vector_snapshot.h - the format of a snapshot: a header, then blocks.
 *
 * Blocks follow in this order, each as often as BLOCK_ROWS or BLOCK_BYTES makes it:
 *
 * - ids: for up to BLOCK_ROWS rows a snapshot_row each, then their ids;
 * - rows: up to BLOCK_BYTES of whole rows, links of layer 0 in them;
 * - upper links: of each linked row with layers above 0, in the order of rows, its
 *   layers from 1 up, as they are in memory; up to BLOCK_BYTES, rows are not split;
 * - the end: eight bytes.
 *
 * Integers are those of the machine; byte_order says which. A checksum is XXH3 of a
 * block's bytes seeded with its number and size, so that blocks that are missing, or
 * from another place, do not pass. What is not linked in the graph (rows from
 * n_linked on) has no links and is in nobody's.
 */
#ifndef NORIKVD_VECTOR_SNAPSHOT_H
#define NORIKVD_VECTOR_SNAPSHOT_H

#include "vector_local.h"

#define SNAPSHOT_MAGIC "NKVVEC01"
#define SNAPSHOT_BYTE_ORDER 0x01020304u
#define SNAPSHOT_BLOCK_ROWS 8192u
#define SNAPSHOT_BLOCK_BYTES ((size_t) 4 << 20)

typedef struct snapshot_header
{
	char		magic[8];
	uint32_t	byte_order;
	uint32_t	metric;
	uint32_t	type;
	uint32_t	dimensions;
	uint32_t	m;
	uint32_t	row_size;
	uint32_t	n_rows;
	uint32_t	n_linked;
	uint64_t	position_term;
	uint64_t	position_index;
	uint64_t	checksum;		/* of all before it */
} snapshot_header;

typedef struct snapshot_block
{
	uint64_t	size;			/* of the bytes that follow */
	uint64_t	checksum;
} snapshot_block;

typedef struct snapshot_row
{
	uint64_t	term;
	uint64_t	index;
	uint16_t	id_size;
	uint16_t	live;
	uint32_t	reserved;
} snapshot_row;

extern uint64_t snapshot_checksum(const void *bytes, uint64_t size, uint64_t number);

/* Rows in a block of rows; at least one. */
static inline uint32_t
snapshot_rows_a_block(size_t row_size)
{
	return (uint32_t) (SNAPSHOT_BLOCK_BYTES / row_size);
}

#endif
