/*
 * emulate.c - two conditions that not every server knows.
 *
 * Create, where a condition on an absent key always fails: the key is read; if
 * it is absent, it is put without a condition, but under an idempotency key made
 * of nothing but the key's name and a generation. All who create the key at once
 * use the same one, so the server carries out the first put and answers the others
 * as if it were theirs; reading back shows whose value won. Where the key is
 * absent even then, the generation belongs to an earlier life of the key that has
 * been deleted since, and the next one is tried. Two creators of equal values
 * cannot be told apart: both hear that they created it.
 *
 * Delete with a condition, where the server ignores it: a put with that condition
 * of a value that this client takes for absent, with a short time to live.
 *
 * Neither is more atomic than the server's own compare-and-swap.
 */
#include "write.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#define TOMBSTONE_TTL_MS 1000
#define MAX_GENERATIONS 32

enum
{
	STEP_NONE,
	STEP_READ,
	STEP_PUT,
	STEP_READ_BACK,
	STEP_TOMBSTONE
};

static const nk_rpc_type read_type;
static const nk_rpc_type blind_put_type;

/* The next step is another request on the same write. */
static void
next_step(nk_write *write, int step, const nk_rpc_type *type, grpc_byte_buffer *request)
{
	nk_rpc	   *rpc = &write->rpc;

	write->step = step;
	nk_rpc_init(rpc, rpc->client, rpc->call, type);
	rpc->key = write->operation.key;
	nk_rpc_start(rpc, request, rpc->call->deadline);
}

static void
read_step(nk_write *write, int step)
{
	memset(&write->result, 0, sizeof(write->result));
	write->result.text = "";
	/* the other writers' values count, so nothing less than strong will do */
	next_step(write, step, &read_type, nk_get_request(write->operation.key, ""));
}

static void
put_step(nk_write *write)
{
	norikv_operation operation = write->operation;
	XXH128_canonical_t name;
	char		key[64];
	char	   *out = key;

	XXH128_canonicalFromHash(&name, XXH3_128bits(operation.key.data, operation.key.size));
	out += sprintf(out, "~nkc1/");
	for (size_t i = 0; i < sizeof(name.digest); i++)
		out += sprintf(out, "%02x", name.digest[i]);
	sprintf(out, "/%" PRIu32, write->generation);
	operation.condition = NORIKV_IF_ANY;
	next_step(write, STEP_PUT, &blind_put_type, nk_write_request(&operation, key));
}

static void
fail_present(nk_write *write)
{
	norikv_error *error = &write->rpc.error;
	norikv_version present = write->result.version;
	char		key[100];

	nk_error_set(error, NORIKV_FAILED_PRECONDITION,
				 "Put of %s on %s: " WORDS_MISMATCH ": " WORDS_MISMATCH_EXPECTED
				 WORDS_ABSENT WORDS_MISMATCH_PRESENT "%" PRIu64 "/%" PRIu64,
				 nk_show_key(key, sizeof(key), nk_own_key(write->rpc.client, write->operation.key)),
				 write->rpc.node->address.name, present.term, present.index);
	snprintf(error->node, sizeof(error->node), "%s", write->rpc.node->address.name);
	error->version_mismatch = true;
	error->present = present;
	nk_write_finish(write);
}

static bool
is_ours(const nk_write *write, const norikv_entry *entry)
{
	return entry->value.size == write->operation.value.size &&
		(entry->value.size == 0 ||
		 memcmp(entry->value.data, write->operation.value.data, entry->value.size) == 0);
}

/* existed stands for "there is a value", value for "it is ours". */
static bool
read_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_write   *write = (nk_write *) rpc;
	norikv_entry entry = {0};

	if (!nk_get_response(rpc, write->arena, message, &entry))
		return false;
	write->result.version = entry.version;
	write->result.existed = entry.version.index != 0;
	write->result.value = write->result.existed && is_ours(write, &entry);
	return true;
}

static void
finish_created(nk_write *write)
{
	norikv_version version = write->result.version;

	memset(&write->result, 0, sizeof(write->result));
	write->result.version = version;
	nk_write_finish(write);
}

static void
read_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	if (rpc->error.code == NORIKV_NOT_FOUND)
		nk_error_clear(&rpc->error);
	if (rpc->error.code != NORIKV_OK)
	{
		/* it has been put, and whether it stayed is what was not to be learned */
		rpc->error.outcome_unknown = write->step == STEP_READ_BACK;
		nk_write_finish(write);
	}
	else if (write->step == STEP_READ && write->result.existed)
		fail_present(write);
	else if (write->step == STEP_READ)
		put_step(write);
	else if (write->result.existed && write->result.value)
		finish_created(write);
	else if (write->result.existed)
		fail_present(write);
	else if (++write->generation < MAX_GENERATIONS)
		put_step(write);
	else
	{
		nk_error_set(&rpc->error, NORIKV_ABORTED,
					 "%s: the key was created and deleted too often to create it here",
					 rpc->node->address.name);
		nk_write_finish(write);
	}
}

static void
blind_put_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	if (rpc->error.code != NORIKV_OK)
		nk_write_finish(write);
	else
		read_step(write, STEP_READ_BACK);
}

static const nk_rpc_type read_type = {
	.method = NK_GET,
	.shape = NK_UNARY,
	.message = read_message,
	.ended = read_ended,
};

static const nk_rpc_type blind_put_type = {
	.method = NK_PUT,
	.shape = NK_UNARY,
	.write = true,
	.message = nk_write_message,
	.ended = blind_put_ended,
};

/* ---- Create ---- */

/* The value was packed into the request, and is needed more than once now. */
static bool
recover_operation(nk_write *write)
{
	Norikv__V1__PutRequest *request;

	request = wire_unpack(&norikv__v1__put_request__descriptor, write->arena,
						  write->rpc.request);
	if (request == NULL)
		return false;
	write->operation.value = (norikv_slice) {request->value.data, request->value.len};
	return true;
}

static bool
create_prepare(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	/* once sent as it is, it stays so: the server may have executed it */
	if (rpc->node->abilities.create || rpc->attempts > 0)
		return true;
	if (recover_operation(write))
		write->step = STEP_READ;
	else
		nk_error_set(&rpc->error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
	nk_rpc_end(rpc);
	return false;
}

static void
create_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	if (write->step == STEP_READ)
		read_step(write, STEP_READ);
	else
		nk_write_finish(write);
}

const nk_rpc_type nk_create_type = {
	.method = NK_PUT,
	.shape = NK_UNARY,
	.write = true,
	.needs_abilities = true,
	.gathers = true,
	.prepare = create_prepare,
	.message = nk_write_message,
	.take_result = nk_write_take_result,
	.ended = create_ended,
};

/* ---- Delete with a condition ---- */

static void
tombstone_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	write->result.existed = rpc->error.code == NORIKV_OK;
	nk_write_finish(write);
}

static const nk_rpc_type tombstone_type = {
	.method = NK_PUT,
	.shape = NK_UNARY,
	.write = true,
	.message = nk_write_message,
	.ended = tombstone_ended,
};

static bool
delete_prepare(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;
	Norikv__V1__DeleteRequest *request;

	if (rpc->node->abilities.conditional_delete || rpc->attempts > 0)
		return true;
	write->step = STEP_TOMBSTONE;
	if (rpc->slot == NK_NO_SLOT)
	{
		request = wire_unpack(&norikv__v1__delete_request__descriptor, write->arena,
							  rpc->request);
		if (request != NULL)
			write->own_key = request->idempotency_key;
	}
	nk_rpc_end(rpc);
	return false;
}

static void
delete_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;
	norikv_operation operation = write->operation;
	char		key[NK_SLOT_KEY_SIZE];
	uint32_t	slot = NK_NO_SLOT;

	if (write->step != STEP_TOMBSTONE)
	{
		nk_write_finish(write);
		return;
	}
	operation.kind = NORIKV_OP_PUT;
	operation.value = (norikv_slice) {NK_TOMBSTONE, sizeof(NK_TOMBSTONE) - 1};
	operation.ttl = NORIKV_TTL_SET;
	operation.ttl_ms = TOMBSTONE_TTL_MS;
	if (write->own_key == NULL)
	{
		slot = nk_slot_take(&rpc->client->slots, key);
		if (slot == NK_NO_SLOT)
		{
			nk_error_set(&rpc->error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
			nk_write_finish(write);
			return;
		}
	}
	nk_rpc_init(rpc, rpc->client, rpc->call, &tombstone_type);
	rpc->key = operation.key;
	rpc->slot = slot;
	nk_rpc_start(rpc, nk_write_request(&operation, write->own_key ? write->own_key : key),
				 rpc->call->deadline);
}

const nk_rpc_type nk_conditional_delete_type = {
	.method = NK_DELETE,
	.shape = NK_UNARY,
	.write = true,
	.needs_abilities = true,
	.gathers = true,
	.prepare = delete_prepare,
	.message = nk_write_message,
	.take_result = nk_write_take_result,
	.ended = delete_ended,
};
