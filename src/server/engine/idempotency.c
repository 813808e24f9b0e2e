/*
 * idempotency.c - remembers answers and finds them again.
 *
 * Stored key: 'c' or 's', the scope's size (2 bytes), the scope, then the
 * caller's key, or <client uuid>/<slot>. Record: format (1 byte), sequence (8),
 * fingerprint (16), instant of expiry (8), and the outcome.
 */
#include "idempotency.h"

#include <inttypes.h>

#include "unit.h"

#define RECORD_FORMAT 1
#define KIND_RECORD 'c'
#define KIND_SLOT 's'
#define UUID_SIZE 36

#define HAS_VERSION 0x01
#define HAS_EXISTED 0x02
#define HAS_VALUE 0x04
#define HAS_DELETED 0x08
#define HAS_FAILURE 0x10

typedef struct record
{
	uint64_t	sequence;
	uint64_t	fingerprint[2];
	uint64_t	expires_at_ms;
	byte_reader outcome;
} record;

/* ---- Keys ---- */

static bool
parse_number(engine_slice text, uint64_t *number)
{
	*number = 0;
	for (size_t i = 0; i < text.size; i++)
	{
		unsigned	digit = (unsigned char) text.data[i] - '0';

		if (digit > 9 || __builtin_mul_overflow(*number, 10, number) ||
			__builtin_add_overflow(*number, digit, number))
			return false;
	}
	return text.size > 0;
}

/* Splits ~nk1/<uuid>/<slot>/<sequence> into what names the slot and the number. */
static bool
parse_slot(engine_slice key, engine_slice *slot, uint64_t *sequence)
{
	size_t		prefix = strlen(IDEMPOTENCY_SLOT_PREFIX);
	const char *end = key.data + key.size;
	const char *name = key.data + prefix;
	const char *slash;
	uint64_t	number;

	if ((size_t) (end - name) <= UUID_SIZE || name[UUID_SIZE] != '/')
		return false;
	slash = memchr(name + UUID_SIZE + 1, '/', (size_t) (end - name - UUID_SIZE - 1));
	if (slash == NULL)
		return false;
	*slot = slice_of(name, (size_t) (slash - name));
	return parse_number(slice_of(name + UUID_SIZE + 1, slot->size - UUID_SIZE - 1),
						&number) &&
		parse_number(slice_of(slash + 1, (size_t) (end - slash - 1)), sequence);
}

static bool
is_slot_key(engine_slice key)
{
	size_t		prefix = strlen(IDEMPOTENCY_SLOT_PREFIX);

	return key.size >= prefix && memcmp(key.data, IDEMPOTENCY_SLOT_PREFIX, prefix) == 0;
}

bool
idempotency_key_check(const engine_unit *unit, engine_status *status)
{
	engine_slice key = unit->idempotency_key;
	engine_slice slot;
	uint64_t	sequence;

	if (key.size > UNIT_MAX_IDEMPOTENCY_KEY)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "idempotency_key: %zu bytes, must be at most %d",
				   key.size, UNIT_MAX_IDEMPOTENCY_KEY);
	else if (unit->scope.size > UINT16_MAX)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "credential: %zu bytes, must be at most %d", unit->scope.size,
				   UINT16_MAX);
	else if (is_slot_key(key) && !parse_slot(key, &slot, &sequence))
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "idempotency_key: what starts with " IDEMPOTENCY_SLOT_PREFIX
				   " must be " IDEMPOTENCY_SLOT_PREFIX "<client uuid>/<slot>/<sequence>");
	else
		return true;
	return false;
}

idempotency_key
idempotency_key_of(const engine_unit *unit, arena *memory)
{
	idempotency_key key = {.given = unit->idempotency_key.size > 0};
	engine_slice rest = unit->idempotency_key;
	char	   *stored;

	if (!key.given)
		return key;
	key.slot = is_slot_key(rest);
	if (key.slot)
		parse_slot(unit->idempotency_key, &rest, &key.sequence);

	stored = arena_alloc(memory, 3 + unit->scope.size + rest.size);
	stored[0] = key.slot ? KIND_SLOT : KIND_RECORD;
	stored[1] = (char) (unit->scope.size >> 8);
	stored[2] = (char) unit->scope.size;
	if (unit->scope.size > 0)
		memcpy(stored + 3, unit->scope.data, unit->scope.size);
	memcpy(stored + 3 + unit->scope.size, rest.data, rest.size);
	key.stored = slice_of(stored, 3 + unit->scope.size + rest.size);
	return key;
}

bool
idempotency_is_slot(engine_slice stored_key)
{
	return stored_key.size > 0 && stored_key.data[0] == KIND_SLOT;
}

/* ---- Records ---- */

static bool
record_read(engine_slice stored, record *self)
{
	byte_reader reader = {stored.data, stored.data + stored.size, true};
	engine_slice format = read_slice(&reader, 1);

	if (!reader.ok || format.data[0] != RECORD_FORMAT)
		return false;
	self->sequence = read_u64(&reader);
	self->fingerprint[0] = read_u64(&reader);
	self->fingerprint[1] = read_u64(&reader);
	self->expires_at_ms = read_u64(&reader);
	self->outcome = reader;
	return reader.ok;
}

bool
idempotency_expired(engine_slice stored, uint64_t now_ms)
{
	record		found;

	return !record_read(stored, &found) || found.expires_at_ms <= now_ms;
}

static void
append_result(bytes *to, const engine_result *result, uint64_t *last_version)
{
	uint64_t	version = version_pack(result->version);
	unsigned	flags = 0;

	if (version != *last_version)
		flags |= HAS_VERSION;
	if (result->existed)
		flags |= HAS_EXISTED;
	if (result->value != 0)
		flags |= HAS_VALUE;
	if (result->deleted != 0)
		flags |= HAS_DELETED;
	if (result->code != ENGINE_OK)
		flags |= HAS_FAILURE;
	bytes_append_varint(to, flags);
	if (flags & HAS_VERSION)
		bytes_append_u64(to, version);
	if (flags & HAS_VALUE)
		bytes_append_u64(to, (uint64_t) result->value);
	if (flags & HAS_DELETED)
		bytes_append_varint(to, result->deleted);
	if (flags & HAS_FAILURE)
	{
		bytes_append_varint(to, result->code);
		bytes_append_varint(to, result->text.size);
		bytes_append(to, result->text.data, result->text.size);
	}
	*last_version = version;
}

static void
read_result(byte_reader *from, engine_result *result, uint64_t *last_version)
{
	uint64_t	flags = read_varint(from);

	*result = (engine_result) {.code = ENGINE_OK};
	if (flags & HAS_VERSION)
		*last_version = read_u64(from);
	result->version = version_unpack(*last_version);
	result->existed = (flags & HAS_EXISTED) != 0;
	if (flags & HAS_VALUE)
		result->value = (int64_t) read_u64(from);
	if (flags & HAS_DELETED)
		result->deleted = read_varint(from);
	if (flags & HAS_FAILURE)
	{
		result->code = (engine_code) read_varint(from);
		result->text = read_slice(from, read_varint(from));
	}
}

static void
append_outcome(bytes *to, const engine_outcome *outcome)
{
	size_t		text_size = strlen(outcome->status.text);
	uint64_t	last_version = 0;

	bytes_append_varint(to, outcome->status.code);
	bytes_append_varint(to, (uint64_t) (outcome->operation + 1));
	bytes_append_varint(to, text_size);
	bytes_append(to, outcome->status.text, text_size);
	for (size_t i = 0; i < outcome->n_results; i++)
		append_result(to, &outcome->results[i], &last_version);
}

/* The unit is the same, so there are as many results as it has operations. */
static bool
read_outcome(byte_reader *from, plan *of)
{
	engine_outcome *outcome = &of->outcome;
	uint64_t	last_version = 0;
	engine_code code = (engine_code) read_varint(from);
	uint64_t	operation = read_varint(from);
	engine_slice text = read_slice(from, read_varint(from));

	status_set(&outcome->status, code, "%.*s", (int) text.size,
			   from->ok ? text.data : "");
	outcome->operation = (int64_t) operation - 1;
	outcome->repeated = true;
	outcome->results = of->results;
	outcome->n_results = of->unit->n_ops;
	for (size_t i = 0; i < of->unit->n_ops; i++)
		read_result(from, &of->results[i], &last_version);
	return from->ok;
}

/* ---- Answering and remembering ---- */

static bool
answer_from(plan *of, record *found)
{
	const engine_unit *unit = of->unit;
	char		shown[SLICE_SHOWN];

	slice_show(unit->idempotency_key, shown, sizeof(shown));
	if (of->idempotency.slot && of->idempotency.sequence > found->sequence)
		return false;
	if (of->idempotency.slot && of->idempotency.sequence < found->sequence)
		plan_refuse(of, ENGINE_ABORTED,
					"idempotency_key \"%s\": the slot is at %" PRIu64
					" already; this request was not executed", shown, found->sequence);
	else if (found->fingerprint[0] != unit->fingerprint[0] ||
			 found->fingerprint[1] != unit->fingerprint[1])
		plan_refuse(of, ENGINE_INVALID_ARGUMENT,
					"idempotency_key \"%s\" was used for another request", shown);
	else if (!read_outcome(&found->outcome, of))
		plan_refuse(of, ENGINE_DATA_LOSS,
					"the answer remembered for idempotency_key \"%s\" is damaged", shown);
	return true;
}

bool
idempotency_answer(batch *self, plan *of)
{
	bool		slot = of->idempotency.slot;
	uint64_t	kept = slot ? self->count->slots : self->count->records;
	record		found;

	if (of->record->stored && record_read(of->record->record, &found) &&
		found.expires_at_ms > self->now_ms)
		return answer_from(of, &found);
	if (!of->record->stored && kept >= self->count->limit)
	{
		plan_refuse(of, ENGINE_RESOURCE_EXHAUSTED,
					"%" PRIu64 " idempotency %s are remembered, the limit is %" PRIu64
					"; they are kept for %s: raise --max-idempotency", kept,
					slot ? "slots" : "keys", self->count->limit,
					slot ? "an hour" : "a day");
		return true;
	}
	return false;
}

void
idempotency_remember(batch *self, const plan *of)
{
	bool		slot = of->idempotency.slot;
	bytes		kept = {0};
	pending    *to = of->record;

	bytes_append(&kept, (char[]) {RECORD_FORMAT}, 1);
	bytes_append_u64(&kept, of->idempotency.sequence);
	bytes_append_u64(&kept, of->unit->fingerprint[0]);
	bytes_append_u64(&kept, of->unit->fingerprint[1]);
	bytes_append_u64(&kept, self->now_ms +
					 (slot ? IDEMPOTENCY_SLOT_MS : IDEMPOTENCY_RECORD_MS));
	append_outcome(&kept, &of->outcome);

	if (!to->stored)
		*(slot ? &self->count->slots : &self->count->records) += 1;
	to->stored = true;
	to->record = arena_copy(&self->memory, bytes_slice(&kept));
	self->table->methods->put(self->table, TABLE_IDEMPOTENCY, to->key, to->record,
							  slice_of(NULL, 0));
	self->changed = true;
	bytes_free(&kept);
}
