/*
 * ext_scan.c - norikv.ext.v1.Kv/Scan and Vector/Scan: a stream of pages. While one page is on
 * its way to the client the next one is read, and no further: a client that
 * does not read holds the scan back.
 */
#include "services.h"

#include <string.h>

#include <grpc/support/alloc.h>

#include "chunk.h"
#include "norikv_ext.pb-c.h"
#include "request.h"

typedef struct scan
{
	engine_scan request;
	engine_cursor *cursor;
	grpc_byte_buffer *page;		/* read and not yet sent */
	bool		last;
	bool		gone;			/* a send failed: nobody is there */
	engine_status status;
	/*
	 * What a step waits for: the page that is sent, the page that is read, and
	 * the step itself, lest an answer that comes at once calls the next step
	 * from within the step. The last one goes on.
	 */
	atomic_int	waits;
} scan;

static void step_done(call *self);

static void
free_scan(void *state)
{
	scan	   *self = state;

	if (self->page != NULL)
		grpc_byte_buffer_destroy(self->page);
	gpr_free(self);
}

static void
take_page(scan *self, chunk *packed)
{
	if (packed->size > 0 || self->last)
		self->page = chunk_take(packed);
	else
		chunk_free(packed);
}

static void
pack_page(scan *self, const engine_page *page)
{
	Norikv__Ext__V1__ScanChunk fields = NORIKV__EXT__V1__SCAN_CHUNK__INIT;
	chunk		packed = {0};

	self->last = page->last;
	fields.snapshot_moved = page->snapshot_moved;
	fields.count = self->request.count_only && page->last ? page->count : 0;
	for (size_t i = 0; i < page->n_entries; i++)
		chunk_add_entry(&packed, &page->entries[i], true);
	chunk_add_fields(&packed, &fields.base);
	take_page(self, &packed);
}

static void
add_vector(chunk *packed, const engine_entry *from)
{
	Norikv__Ext__V1__VectorEntry entry = NORIKV__EXT__V1__VECTOR_ENTRY__INIT;
	char		id[WIRE_MAX_VECTOR_ID + 1];
	float		floats[WIRE_MAX_DIMENSIONS];

	memcpy(id, from->key.data, from->key.size);
	id[from->key.size] = '\0';
	entry.id = id;
	/* They may be anywhere in the page's memory. */
	if (from->value.size > 0)
		memcpy(floats, from->value.data, from->value.size);
	entry.n_vector = from->value.size / sizeof(float);
	entry.vector = floats;
	entry.version_term = from->version.term;
	entry.version_index = from->version.index;
	chunk_add_element(packed, &entry.base);
}

static void
pack_vector_page(scan *self, const engine_page *page)
{
	Norikv__Ext__V1__VectorScanChunk fields = NORIKV__EXT__V1__VECTOR_SCAN_CHUNK__INIT;
	chunk		packed = {0};

	self->last = page->last;
	fields.snapshot_moved = page->snapshot_moved;
	for (size_t i = 0; i < page->n_entries; i++)
		add_vector(&packed, &page->entries[i]);
	chunk_add_fields(&packed, &fields.base);
	take_page(self, &packed);
}

static void
page_read(void *arg, const engine_status *status, const engine_page *page)
{
	call	   *owner = arg;
	scan	   *self = owner->state;

	self->status.code = status->code;
	if (status->code != ENGINE_OK)
		memcpy(self->status.text, status->text, sizeof(status->text));
	else if (self->request.space.size > 0)
		pack_vector_page(self, page);
	else
		pack_page(self, page);
	step_done(owner);
}

static void
page_sent(call *owner, bool ok)
{
	scan	   *self = owner->state;

	if (!ok)
		self->gone = true;
	step_done(owner);
}

/* Ends the call where it is to end. The cursor is let go of before the answer. */
static bool
end_scan(call *owner)
{
	scan	   *self = owner->state;
	bool		over = self->gone || atomic_load(&owner->closed);
	bool		draining = atomic_load(&owner->server->draining);
	grpc_byte_buffer *page = self->page;

	if (!over && !draining && self->status.code == ENGINE_OK && !self->last)
		return false;
	owner->server->engine->methods->scan_close(self->cursor);
	if (over)
		call_release(owner);
	else if (self->status.code != ENGINE_OK)
		call_fail_text(owner, (int) self->status.code, self->status.text);
	else if (self->last)
	{
		self->page = NULL;
		call_answer_buffer(owner, page);
	}
	else
		service_fail_draining(owner);
	return true;
}

/* Sends the page that was read, and reads the next. True where both are done. */
static bool
start_step(call *owner)
{
	scan	   *self = owner->state;
	grpc_byte_buffer *page = self->page;

	self->page = NULL;
	atomic_store(&self->waits, page != NULL ? 3 : 2);
	if (page != NULL)
		call_send(owner, page, page_sent);
	owner->server->engine->methods->scan_page(self->cursor, CHUNK_SIZE, page_read, owner);
	return atomic_fetch_sub(&self->waits, 1) == 1;
}

/*
 * Counting a large range sends nothing: the next step then comes after what else
 * waits on the thread, so that others are served too.
 */
static bool
nothing_to_send(const scan *self)
{
	return self->page == NULL && !self->last && self->status.code == ENGINE_OK;
}

/* Runs with nothing under way, so by one thread at a time. */
static void
go_on(call *owner, bool ok)
{
	(void) ok;
	while (!end_scan(owner) && start_step(owner))
	{
		if (nothing_to_send(owner->state))
		{
			call_later(owner, go_on);
			return;
		}
	}
}

static void
step_done(call *owner)
{
	scan	   *self = owner->state;

	if (atomic_fetch_sub(&self->waits, 1) == 1)
		go_on(owner, true);
}

static scan *
new_scan(call *owner)
{
	owner->state = gpr_zalloc(sizeof(scan));
	owner->free_state = free_scan;
	return owner->state;
}

static void
open_scan(call *owner)
{
	scan	   *self = owner->state;
	engine	   *store = owner->server->engine;

	if (!call_take_memory(owner, STREAM_MEMORY))
		return;
	self->cursor = store->methods->scan_open(store, &self->request, &self->status);
	if (self->cursor == NULL)
		call_fail_text(owner, (int) self->status.code, self->status.text);
	else
		go_on(owner, true);
}

static void
start_scan(call *owner)
{
	scan	   *self = new_scan(owner);
	const Norikv__Ext__V1__ScanRequest *request;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(owner, &norikv__ext__v1__scan_request__descriptor);
	if (request == NULL)
		return;
	if (!request_scan(request, &self->request, error))
		call_fail_text(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		open_scan(owner);
}

static void
start_vector_scan(call *owner)
{
	scan	   *self = new_scan(owner);
	const Norikv__Ext__V1__VectorScanRequest *request;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(owner, &norikv__ext__v1__vector_scan_request__descriptor);
	if (request == NULL)
		return;
	if (!request_vector_scan(request, &self->request, error))
		call_fail_text(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		open_scan(owner);
}

const method ext_scan = {
	.name = WIRE_METHOD_SCAN,
	.watched = true,
	.posted = 64,
	.start = start_scan,
};

const method ext_vector_scan = {
	.name = WIRE_METHOD_VECTOR_SCAN,
	.watched = true,
	.posted = 16,
	.start = start_vector_scan,
};
