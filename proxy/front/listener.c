/* See listener.h. */
#include "front/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define BACKLOG 4096
#define ACCEPTS_A_TURN 64 /* so that an accept storm leaves time for the rest */
#define PAUSE_MS 100      /* when descriptors have run out */

struct listener {
	int fd;
	char *path; /* of a unix socket */
	struct event *readable, *resume;
	listener_accepted_fn accepted;
	void *arg;
	int64_t warned_ms;
};

static void
pause_accepting(struct listener *listener, int error)
{
	struct timeval pause = { 0, PAUSE_MS * 1000 };

	if (log_throttle(&listener->warned_ms, clock_mono_ms(), 10000))
		log_warn("accept: %s; new connections wait", strerror(error));
	event_del(listener->readable);
	event_add(listener->resume, &pause);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	(void)fd, (void)what;
	event_add(listener->readable, NULL);
}

static void
accept_waiting(struct listener *listener, int most)
{
	for (int i = 0; i < most; i++) {
		struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
		socklen_t len = sizeof(peer);
		int client = accept4(listener->fd, (struct sockaddr *)&peer, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		int error = errno;
		if (client >= 0) {
			struct peer from = peer_from(&peer);
			listener->accepted(client, &from, listener->arg);
		} else if (error == EAGAIN) {
			return;
		} else if (error == EMFILE || error == ENFILE || error == ENOBUFS ||
		    error == ENOMEM) {
			pause_accepting(listener, error);
			return;
		} /* else: that one has gone already; the next */
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	accept_waiting(arg, ACCEPTS_A_TURN);
}

static struct listener *
listener_new(struct event_base *base, int fd, const char *path, listener_accepted_fn accepted,
    void *arg)
{
	struct listener *listener = alloc_zero(sizeof(*listener));

	listener->fd = fd;
	listener->path = path != NULL ? alloc_text(path) : NULL;
	listener->accepted = accepted;
	listener->arg = arg;
	listener->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, listener);
	listener->resume = event_new(base, -1, 0, on_resume, listener);
	event_add(listener->readable, NULL);
	return listener;
}

/* What Linux hands on to each connection that is accepted, so that it costs
 * none of them a call. Who has vanished is found out within ten minutes. */
static bool
set_tcp_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ SOL_SOCKET, SO_REUSEADDR, 1 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 300 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 100 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			sizeof(options[i].value)) != 0)
			return false;
	}
	return true;
}

/* -1: errno says why. */
static int
listen_on(const struct sockaddr *address, socklen_t len, bool is_tcp)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if ((is_tcp && !set_tcp_options(fd)) || bind(fd, address, len) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

struct listener *
listener_tcp(struct event_base *base, const char *address, int port, listener_accepted_fn accepted,
    void *arg, char *error, size_t error_size)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *found;
	char digits[8];

	snprintf(digits, sizeof(digits), "%d", port);
	/* At start only, so a name may block. */
	int problem = getaddrinfo(address, digits, &hints, &found);
	if (problem != 0) {
		snprintf(error, error_size, "[listen] address: %s: %s", address,
		    gai_strerror(problem));
		return NULL;
	}
	int fd = listen_on(found->ai_addr, found->ai_addrlen, true);
	if (fd < 0)
		snprintf(error, error_size, "[listen] %s:%d: %s", address, port, strerror(errno));
	freeaddrinfo(found);
	return fd >= 0 ? listener_new(base, fd, NULL, accepted, arg) : NULL;
}

/* Removes a socket left behind by a process that is gone. */
static void
remove_orphan(const struct sockaddr_un *address)
{
	struct stat status;

	if (stat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	int refused = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	int error = errno;
	if (refused != 0 && error == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

struct listener *
listener_unix(struct event_base *base, const char *path, listener_accepted_fn accepted, void *arg,
    char *error, size_t error_size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(error, error_size, "[listen] socket: %s: longer than %zu bytes", path,
		    sizeof(address.sun_path) - 1);
		return NULL;
	}
	strcpy(address.sun_path, path);
	remove_orphan(&address);
	int fd = listen_on((const struct sockaddr *)&address, sizeof(address), false);
	if (fd < 0) {
		snprintf(error, error_size, "[listen] socket: %s: %s", path, strerror(errno));
		return NULL;
	}
	return listener_new(base, fd, path, accepted, arg);
}

void
listener_finish(struct listener *listener)
{
	if (listener != NULL)
		accept_waiting(listener, BACKLOG);
}

void
listener_free(struct listener *listener)
{
	if (listener == NULL)
		return;
	event_free(listener->readable);
	event_free(listener->resume);
	close(listener->fd);
	if (listener->path != NULL)
		unlink(listener->path);
	free(listener->path);
	free(listener);
}
