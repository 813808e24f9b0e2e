/*
 * listen.c - tcp ports and unix sockets.
 *
 * A unix socket is bound under a name of its own and then renamed: the name that
 * clients know always leads to a socket, and the file of a server that died is
 * replaced in one step.
 */
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>

#include "accept.h"

#define MAX_UNIX_PATH (sizeof(((struct sockaddr_un *) 0)->sun_path) - 1)

typedef struct socket_file
{
	struct socket_file *next;
	dev_t		device;
	ino_t		inode;
	char		path[MAX_UNIX_PATH + 1];
} socket_file;

struct listeners
{
	int		   *fds;
	size_t		n_fds;
	acceptor   *accepting;		/* NULL: not yet, or no more */
	socket_file *files;
	char	   *text;			/* all addresses, separated by spaces */
	char	   *advertised;
	bool		advertises_tcp;
};

/* ---- unix ---- */

static int
connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int			result = 0;

	if (fd < 0)
		return errno;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		result = errno;
	close(fd);
	return result;
}

/* Whether a socket may be put at path: nothing is there, or one nobody serves. */
static bool
path_is_free(const char *path, char *error, size_t error_size)
{
	struct stat status;
	int			failure;

	if (lstat(path, &status) != 0)
	{
		if (errno == ENOENT)
			return true;
		snprintf(error, error_size, "cannot listen on unix:%s: %s", path,
				 strerror(errno));
		return false;
	}
	if (!S_ISSOCK(status.st_mode))
	{
		snprintf(error, error_size, "cannot listen on unix:%s: a file that is no socket "
				 "is there", path);
		return false;
	}
	failure = connect_to(path);
	if (failure == ECONNREFUSED || failure == ENOENT)
		return true;
	/* Connected, or its queue is full, or it is another user's: it is alive. */
	snprintf(error, error_size, "cannot listen on unix:%s: another server is serving it",
			 path);
	return false;
}

/* A name beside path that is no longer than it needs to be. */
static bool
name_beside(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	int			directory = slash != NULL ? (int) (slash - path) + 1 : 0;

	return snprintf(name, size, "%.*s.%d~", directory, path, (int) getpid()) <=
		MAX_UNIX_PATH;
}

static void
add_socket(listeners *self, int fd)
{
	self->fds = gpr_realloc(self->fds, (self->n_fds + 1) * sizeof(*self->fds));
	self->fds[self->n_fds++] = fd;
}

/* -1 with errno set where it fails. */
static int
bind_socket(const struct sockaddr *name, socklen_t size)
{
	int			type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	int			fd = socket(name->sa_family, type, 0);
	int			on = 1;
	int			failure;

	if (fd < 0)
		return -1;
	if (name->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, name, size) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	failure = errno;
	close(fd);
	errno = failure;
	return -1;
}

static bool
bind_unix_socket(listeners *self, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t		before = umask(0077);
	int			fd;

	memcpy(address.sun_path, name, strlen(name));
	unlink(name);				/* of a process of our id that died */
	fd = bind_socket((struct sockaddr *) &address, sizeof(address));
	umask(before);
	if (fd >= 0)
		add_socket(self, fd);
	return fd >= 0;
}

static bool
listen_unix(listeners *self, const char *path, char *error, size_t error_size)
{
	char		name[MAX_UNIX_PATH + 32];
	struct stat status;
	socket_file *file;

	if (*path == '\0' || strlen(path) > MAX_UNIX_PATH ||
		!name_beside(path, name, sizeof(name)))
	{
		snprintf(error, error_size, "cannot listen on unix:%s: the path has %zu bytes, "
				 "and must have 1 to %zu; a path relative to the working directory may "
				 "be shorter", path, strlen(path), MAX_UNIX_PATH);
		return false;
	}
	if (!path_is_free(path, error, error_size))
		return false;
	if (!bind_unix_socket(self, name) || lstat(name, &status) != 0 ||
		rename(name, path) != 0)
	{
		snprintf(error, error_size, "cannot listen on unix:%s: %s", path,
				 strerror(errno));
		unlink(name);
		return false;
	}
	file = gpr_zalloc(sizeof(*file));
	memcpy(file->path, path, strlen(path));
	file->device = status.st_dev;
	file->inode = status.st_ino;
	file->next = self->files;
	self->files = file;
	return true;
}

/* ---- tcp ---- */

/* Host and port apart: "host:port" or "[v6]:port". */
static bool
split_address(const char *address, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t		length;

	if (colon == NULL || colon == address || colon[1] == '\0')
		return false;
	*port = colon + 1;
	if (strspn(*port, "0123456789") != strlen(*port) || strlen(*port) > 5 ||
		atoi(*port) > 65535)
		return false;
	length = (size_t) (colon - address);
	if (address[0] == '[')
	{
		if (length < 3 || address[length - 1] != ']')
			return false;
		address++;
		length -= 2;
	}
	else if (memchr(address, ':', length) != NULL)
		return false;			/* an IPv6 address needs its brackets */
	if (length >= size)
		return false;
	memcpy(host, address, length);
	host[length] = '\0';
	return true;
}

/* The port of a bound socket. */
static in_port_t
bound_port(int fd)
{
	struct sockaddr_storage name;
	socklen_t	size = sizeof(name);

	if (getsockname(fd, (struct sockaddr *) &name, &size) != 0)
		return 0;
	return name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &name)->sin6_port
		: ((struct sockaddr_in *) &name)->sin_port;
}

static void
set_port(struct sockaddr *name, in_port_t port)
{
	if (name->sa_family == AF_INET6)
		((struct sockaddr_in6 *) name)->sin6_port = port;
	else
		((struct sockaddr_in *) name)->sin_port = port;
}

/*
 * Every address the name has, on one port. One that this machine has not (IPv6
 * where there is none) is passed over as long as another is left.
 */
static bool
bind_found(listeners *self, struct addrinfo *found, in_port_t *port)
{
	size_t		before = self->n_fds;

	*port = 0;
	for (struct addrinfo *one = found; one != NULL; one = one->ai_next)
	{
		int			fd;

		if (*port != 0)
			set_port(one->ai_addr, *port);
		fd = bind_socket(one->ai_addr, one->ai_addrlen);
		if (fd < 0 && errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
			return false;
		if (fd < 0)
			continue;
		add_socket(self, fd);
		*port = bound_port(fd);
	}
	return self->n_fds > before;
}

/* bound: the address with the port that was bound, in place of 0. */
static bool
listen_tcp(listeners *self, const char *address, char *bound, size_t bound_size,
		   char *error, size_t error_size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,.ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	char		host[256];
	const char *port;
	in_port_t	number;
	int			failure;
	bool		good;

	if (!split_address(address, host, sizeof(host), &port))
	{
		snprintf(error, error_size, "cannot listen on \"%s\": an address is host:port, "
				 "[v6]:port or unix:path", address);
		return false;
	}
	failure = getaddrinfo(host, port, &hints, &found);
	good = failure == 0 && bind_found(self, found, &number);
	if (!good)
		snprintf(error, error_size, "cannot listen on %s: %s", address,
				 failure != 0 ? gai_strerror(failure) : strerror(errno));
	if (found != NULL)
		freeaddrinfo(found);
	if (good)
		snprintf(bound, bound_size, "%.*s%d", (int) (port - address), address,
				 ntohs(number));
	return good;
}

/* ---- All of them ---- */

static void
remember(listeners *self, const char *address, bool tcp)
{
	size_t		length = self->text != NULL ? strlen(self->text) : 0;

	self->text = gpr_realloc(self->text, length + strlen(address) + 2);
	sprintf(self->text + length, "%s%s", length > 0 ? " " : "", address);
	if (self->advertised == NULL || (tcp && !self->advertises_tcp))
	{
		gpr_free(self->advertised);
		self->advertised = gpr_strdup(address);
		self->advertises_tcp = tcp;
	}
}

static bool
listen_one(listeners *self, const char *address, char *error, size_t error_size)
{
	char		bound[512];

	if (strncmp(address, "unix:", 5) == 0)
	{
		if (!listen_unix(self, address + 5, error, error_size))
			return false;
		remember(self, address, false);
		return true;
	}
	if (!listen_tcp(self, address, bound, sizeof(bound), error, error_size))
		return false;
	remember(self, bound, true);
	return true;
}

listeners *
listen_all(const char *const *addresses, size_t n, char *error, size_t error_size)
{
	listeners  *self = gpr_zalloc(sizeof(*self));

	for (size_t i = 0; i < n; i++)
	{
		if (!listen_one(self, addresses[i], error, error_size))
		{
			listeners_close(self);
			listeners_free(self);
			return NULL;
		}
	}
	return self;
}

const char *
listeners_text(const listeners *self)
{
	return self->text;
}

const char *
listeners_advertised(const listeners *self)
{
	return self->advertised;
}

bool
listeners_have_tcp(const listeners *self)
{
	return self->advertises_tcp;
}

void
listeners_accept(listeners *self, server *serving)
{
	self->accepting = acceptor_start(serving, self->fds, self->n_fds);
}

void
listeners_close(listeners *self)
{
	if (self->accepting != NULL)
		acceptor_stop(self->accepting);
	self->accepting = NULL;
	while (self->n_fds > 0)
		close(self->fds[--self->n_fds]);
	while (self->files != NULL)
	{
		socket_file *file = self->files;
		struct stat status;

		if (lstat(file->path, &status) == 0 && status.st_dev == file->device &&
			status.st_ino == file->inode)
			unlink(file->path);
		self->files = file->next;
		gpr_free(file);
	}
}

void
listeners_free(listeners *self)
{
	listeners_close(self);
	gpr_free(self->fds);
	gpr_free(self->text);
	gpr_free(self->advertised);
	gpr_free(self);
}
