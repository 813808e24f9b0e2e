/*
 * peer.c - asks the connection's socket: gRPC knows it by its descriptor only.
 */
#include "peer.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include <grpc/support/alloc.h>

static void
name_of_socket(int fd, char *name)
{
	struct sockaddr_storage address;
	socklen_t	size = sizeof(address);
	struct ucred credentials;
	socklen_t	credentials_size = sizeof(credentials);
	char		host[64];
	char		port[8];

	if (getpeername(fd, (struct sockaddr *) &address, &size) != 0)
		return;
	if (address.ss_family == AF_UNIX)
	{
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0)
			snprintf(name, PEER_NAME_SIZE, "process %d", (int) credentials.pid);
	}
	else if (getnameinfo((struct sockaddr *) &address, size, host, sizeof(host), port,
						 sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(name, PEER_NAME_SIZE,
				 address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void
peer_name(grpc_call *call, char *name)
{
	char	   *known = grpc_call_get_peer(call);
	int			fd;

	snprintf(name, PEER_NAME_SIZE, "%s", known);
	if (sscanf(known, "fd:%d", &fd) == 1)
		name_of_socket(fd, name);
	gpr_free(known);
}
