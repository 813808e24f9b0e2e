/*
 * vector_settled.c - waits until every vector of an index is in its graph, and prints
 * how many there are. Searches are right before that, but not those of the graph.
 *
 *   vector_settled NODE NAMESPACE
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "norikv.h"

static void
fail(const char *what)
{
	fprintf(stderr, "vector_settled: %s\n", what);
	exit(1);
}

/* Whether it is settled; *vectors is how many it has. */
static bool
settled(norikv_client *client, norikv_slice space, uint64_t *vectors)
{
	norikv_call *call = norikv_vector_list(client, space, NULL);
	const norikv_vector_index *indexes;
	bool		done = false;
	bool		found = false;

	do
	{
		size_t		n;

		norikv_wait(client, &call, 1, -1);
		if (norikv_call_error(call)->code != NORIKV_OK)
			fail(norikv_call_error(call)->text);
		indexes = norikv_call_indexes(call, &n);
		for (size_t i = 0; i < n; i++)
		{
			if (indexes[i].space.size != space.size ||
				memcmp(indexes[i].space.data, space.data, space.size) != 0)
				continue;
			found = true;
			done = indexes[i].state == NORIKV_INDEX_READY && indexes[i].pending == 0;
			*vectors = indexes[i].vectors;
		}
	} while (norikv_call_next(call));
	norikv_call_free(call);
	if (!found)
		fail("there is no such index");
	return done;
}

int
main(int argc, char **argv)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;
	uint64_t	vectors;

	if (argc != 3)
		fail("usage: vector_settled NODE NAMESPACE");
	norikv_options_init(&options);
	options.nodes = argv[1];
	client = norikv_client_new(&options, &error);
	if (client == NULL)
		fail(error.text);
	while (!settled(client, NORIKV_SLICE(argv[2]), &vectors))
		usleep(20000);
	printf("%lu\n", (unsigned long) vectors);
	norikv_client_free(client);
	return 0;
}
