/*
 * accept.c - accepts connections, as many as there are descriptors for.
 */
#include "accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include "call.h"
#include "log.h"

/* Descriptors that connections leave to the store: an eighth, within these. */
#define MIN_RESERVE 16
#define MAX_RESERVE 512

/* After an accept that failed: whatever is short may be there again then. */
#define RETRY_MS 100
#define WARNING_INTERVAL_MS 10000

struct acceptor
{
	server	   *serving;
	pthread_t	thread;
	int			wake;
	int			first_reserved; /* descriptors from here on are not for connections */
	uint64_t	warned_at_ms;
	size_t		n;
	struct pollfd polled[];		/* the sockets, then wake */
};

static int
first_reserved_descriptor(void)
{
	struct rlimit limit;
	rlim_t		reserve;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX)
		return INT32_MAX;
	reserve = limit.rlim_cur / 8;
	reserve = reserve < MIN_RESERVE ? MIN_RESERVE
		: reserve > MAX_RESERVE ? MAX_RESERVE : reserve;
	return limit.rlim_cur > reserve ? (int) (limit.rlim_cur - reserve) : 0;
}

static void
warn(acceptor *self, const char *text)
{
	uint64_t	now = call_clock_ms();

	if (self->warned_at_ms != 0 && now < self->warned_at_ms + WARNING_INTERVAL_MS)
		return;
	self->warned_at_ms = now;
	log_line(ENGINE_LOG_WARNING, "cannot accept connections: %s", text);
}

/* False where it is no use to try again at once. */
static bool
accept_one(acceptor *self, int listening)
{
	int			on = 1;
	int			fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
	{
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return true;
		warn(self, strerror(errno));
		return false;
	}
	if (fd >= self->first_reserved)
	{
		warn(self, "there are as many as the limit of open files allows");
		close(fd);
		return true;
	}
	/* Both fail on a unix socket, which needs neither. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	server_connect(self->serving, fd);
	return true;
}

static void *
accept_all(void *argument)
{
	acceptor   *self = argument;
	struct pollfd *wake = &self->polled[self->n];

	for (;;)
	{
		bool		good = true;

		if (poll(self->polled, self->n + 1, -1) < 0)
			continue;
		if (wake->revents != 0)
			return NULL;
		for (size_t i = 0; i < self->n; i++)
		{
			if (self->polled[i].revents != 0)
				good = accept_one(self, self->polled[i].fd) && good;
		}
		if (!good)
			poll(wake, 1, RETRY_MS);
	}
}

acceptor *
acceptor_start(server *serving, const int *fds, size_t n)
{
	acceptor   *self = gpr_zalloc(sizeof(*self) + (n + 1) * sizeof(self->polled[0]));

	self->serving = serving;
	self->n = n;
	self->first_reserved = first_reserved_descriptor();
	self->wake = eventfd(0, EFD_CLOEXEC);
	GPR_ASSERT(self->wake >= 0);
	for (size_t i = 0; i < n; i++)
		self->polled[i] = (struct pollfd) {fds[i], POLLIN};
	self->polled[n] = (struct pollfd) {self->wake, POLLIN};
	GPR_ASSERT(pthread_create(&self->thread, NULL, accept_all, self) == 0);
	return self;
}

void
acceptor_stop(acceptor *self)
{
	eventfd_write(self->wake, 1);
	pthread_join(self->thread, NULL);
	close(self->wake);
	gpr_free(self);
}
