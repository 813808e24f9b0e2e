/*
 * listener.c - connections of the proxy, accepted here because gRPC cannot cut
 * one that it accepted itself.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

static pthread_t thread;
static int	listening;
static int	signals;

static void
listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
	{
		fprintf(stderr, "proxy: socket path is too long: %s\n", path);
		exit(2);
	}
	strcpy(address.sun_path, path);
	unlink(path);
	if (listening < 0 ||
		bind(listening, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listening, 128) != 0)
	{
		fprintf(stderr, "proxy: cannot listen on %s: %s\n", path, strerror(errno));
		exit(2);
	}
}

static void *
listener_run(void *arg)
{
	event	   *stopped = arg;
	grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
	uint64_t	state = ~options.seed;
	struct pollfd polled[2] = {{listening, POLLIN}, {signals, POLLIN}};

	while (poll(polled, 2, -1) >= 0 || errno == EINTR)
	{
		int			connection;

		if (polled[1].revents != 0)
			break;
		connection = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (connection < 0)
			continue;
		if (happens(options.refuse_connection, &state))
			close(connection);
		else
			grpc_server_add_channel_from_fd(server, connection, credentials);
	}
	grpc_server_credentials_release(credentials);
	grpc_server_shutdown_and_notify(server, queue, stopped);
	grpc_server_cancel_all_calls(server);
	return NULL;
}

void
listener_start(event *stopped)
{
	sigset_t	ends;

	/* Before gRPC starts threads of its own: they inherit the mask. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	signals = signalfd(-1, &ends, SFD_CLOEXEC);
	listen_on(options.listen);
	if (signals < 0 || pthread_create(&thread, NULL, listener_run, stopped) != 0)
	{
		fprintf(stderr, "proxy: cannot start: %s\n", strerror(errno));
		exit(2);
	}
}

void
listener_join(void)
{
	pthread_join(thread, NULL);
	close(listening);
	close(signals);
	unlink(options.listen);
}
