/*
 * redis_bench.c - gets from redis-server through hiredis, or increments of one key:
 * one command in flight on each of many connections, none pipelined, under one epoll.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <sys/epoll.h>

#include <hiredis/hiredis.h>

typedef struct bench_connection
{
	redisContext *redis;
	uint64_t	began_at;
} bench_connection;

static const char *path;
static double seconds = 3;
static unsigned n_connections = 64;
static unsigned value_size = 100;
static uint64_t keys = 100000;
static bool fill;
static bool increments;

static void __attribute__((noreturn))
fail(redisContext *redis, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, redis != NULL ? redis->errstr : strerror(errno));
	exit(1);
}

static void
append_command(redisContext *redis, const char *verb, uint64_t number, const char *value)
{
	char		key[BENCH_KEY_SIZE];
	const char *arguments[] = {verb, key, value};
	size_t		sizes[] = {strlen(verb), sizeof(key), value_size};

	bench_key(key, number);
	redisAppendCommandArgv(redis, value == NULL ? 2 : 3, arguments, sizes);
}

/* The keys that will be read, pipelined: this is not what is measured. */
static void
fill_keys(const char *value)
{
	redisContext *redis = redisConnectUnix(path);
	uint64_t	written = 0;

	if (redis == NULL || redis->err != 0)
		fail(redis, path);
	while (written < keys)
	{
		uint64_t	batch = keys - written < 1000 ? keys - written : 1000;

		for (uint64_t i = 0; i < batch; i++)
			append_command(redis, "SET", written + i, value);
		for (uint64_t i = 0; i < batch; i++)
		{
			void	   *reply;

			if (redisGetReply(redis, &reply) != REDIS_OK)
				fail(redis, "SET");
			freeReplyObject(reply);
		}
		written += batch;
	}
	redisFree(redis);
}

static void
get_start(bench_connection *connection, bench_run *bench)
{
	int			done = 0;

	connection->began_at = bench_now();
	if (increments)
		redisAppendCommand(connection->redis, "INCR counter");
	else
		append_command(connection->redis, "GET", bench_random(bench, keys), NULL);
	while (!done)
		if (redisBufferWrite(connection->redis, &done) != REDIS_OK)
			fail(connection->redis, "write");
}

/* False where the answer is not there in full. */
static bool
get_end(bench_connection *connection, bench_run *bench)
{
	redisReply *reply = NULL;

	if (redisBufferRead(connection->redis) != REDIS_OK ||
		redisGetReplyFromReader(connection->redis, (void **) &reply) != REDIS_OK)
		fail(connection->redis, "read");
	if (reply == NULL)
		return false;
	bench_ended(bench, connection->began_at, bench_now(),
				increments ? reply->type == REDIS_REPLY_INTEGER
						   : reply->type == REDIS_REPLY_STRING && reply->len == value_size);
	freeReplyObject(reply);
	return true;
}

static void
run(bench_run *bench)
{
	bench_connection *connections = calloc(n_connections, sizeof(*connections));
	struct epoll_event events[64];
	int			poll = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned i = 0; i < n_connections; i++)
	{
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};

		connections[i].redis = redisConnectUnixNonBlock(path);
		if (connections[i].redis == NULL || connections[i].redis->err != 0)
			fail(connections[i].redis, path);
		if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].redis->fd, &event) != 0)
			fail(NULL, "epoll");
		get_start(&connections[i], bench);
	}
	while (bench_now() < bench->ends_at)
	{
		int			n = epoll_wait(poll, events, 64, -1);

		for (int i = 0; i < n; i++)
			if (get_end(events[i].data.ptr, bench))
				get_start(events[i].data.ptr, bench);
	}
	for (unsigned i = 0; i < n_connections; i++)
		redisFree(connections[i].redis);
	free(connections);
}

static void
parse_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "t:s:f:k:v:wi")) != -1)
		switch (option)
		{
			case 't':
				path = optarg;
				break;
			case 's':
				seconds = atof(optarg);
				break;
			case 'f':
				n_connections = atoi(optarg);
				break;
			case 'k':
				keys = strtoull(optarg, NULL, 10);
				break;
			case 'v':
				value_size = atoi(optarg);
				break;
			case 'w':
				fill = true;
				break;
			case 'i':
				increments = true;
				break;
			default:
				exit(2);
		}
	if (path == NULL || n_connections == 0 || keys == 0)
	{
		fprintf(stderr, "usage: redis_bench -t SOCKET [-w] [-i] [-s SECONDS] [-f CONNECTIONS]"
				" [-k KEYS] [-v VALUE_SIZE]\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	bench_run	bench;
	char	   *value;

	parse_options(argc, argv);
	value = bench_value(value_size);
	if (fill)
		fill_keys(value);
	free(value);
	bench_start(&bench, 0.5, seconds);
	run(&bench);
	return bench_report(&bench, 1);
}
