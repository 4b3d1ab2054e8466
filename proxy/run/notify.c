/* See notify.h. */
#include "run/notify.h"

#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "ladder/warm.h"

#define TICK_MS 1000       /* how soon a backend's going shows in STATUS= */
#define TICKS_A_WATCHDOG 4 /* and at least so often before its time is over */
#define STATUS_SIZE 160

struct notify {
	int fd; /* -1: nobody listens */
	const struct census *census;
	struct worker *const *workers;
	struct event *timer;
	int64_t watchdog_ms;      /* 0: not wanted */
	char status[STATUS_SIZE]; /* as last sent */
};

/* ---- the socket ---- */

unsigned
notify_address(const char *name, struct sockaddr_un *address)
{
	size_t len = strlen(name);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((name[0] != '/' && name[0] != '@') || name[1] == '\0' ||
	    len >= sizeof(address->sun_path))
		return 0;
	memcpy(address->sun_path, name, len);
	if (name[0] == '@')
		address->sun_path[0] = '\0';
	/* An abstract name has no end but its length; a path ends with its NUL. */
	return (unsigned)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

static int
open_socket(const char *name)
{
	struct sockaddr_un address;
	socklen_t len = notify_address(name, &address);
	int fd = -1;

	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, len) != 0) {
		int problem = errno;
		close(fd);
		fd = -1;
		errno = problem;
	}
	return fd;
}

/* A message that finds no room is not sent again: the next tick has a newer one. */
static bool
tell(struct notify *notify, const char *message)
{
	return notify->fd >= 0 &&
	    send(notify->fd, message, strlen(message), MSG_NOSIGNAL) == (ssize_t)strlen(message);
}

/* ---- what is said ---- */

static int
describe_backend(char *text, size_t size, const char *name, bool is_configured, bool is_up)
{
	return is_configured ? snprintf(text, size, ", %s %s", name, is_up ? "up" : "down") : 0;
}

static const char *
describe_state(const struct census *census)
{
	if (atomic_load(&census->is_draining))
		return "draining";
	return warm_is_settled(census->backends->warm) ? "serving" : "serving, warming up";
}

static void
describe(const struct notify *notify, char status[STATUS_SIZE])
{
	const struct backends *backends = notify->census->backends;
	size_t at =
	    (size_t)snprintf(status, STATUS_SIZE, "STATUS=%s", describe_state(notify->census));

	at += (size_t)describe_backend(status + at, STATUS_SIZE - at, "redis",
	    backends->redis_target != NULL, breaker_allows(backends->redis));
	describe_backend(status + at, STATUS_SIZE - at, "postgres", backends->has_postgres,
	    breaker_allows(backends->postgres));
}

static void
tell_status(struct notify *notify)
{
	char status[STATUS_SIZE];

	describe(notify, status);
	if (strcmp(status, notify->status) != 0 && tell(notify, status))
		memcpy(notify->status, status, sizeof(status));
}

/* Each worker is asked to turn its loop once; whoever has not since the last
 * tick keeps the watchdog hungry. The end of a worker is no hanging. */
static bool
do_workers_turn(struct notify *notify)
{
	bool do_turn = true;

	if (atomic_load(&notify->census->is_draining))
		return true;
	for (size_t i = 0; i < notify->census->worker_count; i++)
		do_turn = worker_poke(notify->workers[i]) && do_turn;
	return do_turn;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct notify *notify = arg;

	(void)fd, (void)what;
	tell_status(notify);
	if (notify->watchdog_ms > 0 && do_workers_turn(notify))
		tell(notify, "WATCHDOG=1");
}

/* Milliseconds; 0 where none is asked for, or of another process. */
static int64_t
watchdog_of_environment(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
		return 0;
	int64_t ms = strtoll(us, NULL, 10) / 1000;
	return ms > 0 ? ms : 0;
}

static void
start_timer(struct notify *notify)
{
	int64_t tick_ms = TICK_MS;

	if (notify->watchdog_ms > 0 && notify->watchdog_ms / TICKS_A_WATCHDOG < tick_ms)
		tick_ms = notify->watchdog_ms / TICKS_A_WATCHDOG + 1;
	struct timeval often = { tick_ms / 1000, tick_ms % 1000 * 1000 };
	event_add(notify->timer, &often);
}

struct notify *
notify_new(struct event_base *base, const struct census *census, struct worker *const *workers)
{
	struct notify *notify = alloc_zero(sizeof(*notify));
	const char *name = getenv("NOTIFY_SOCKET");

	notify->fd = -1;
	notify->census = census;
	notify->workers = workers;
	if (name == NULL || name[0] == '\0')
		return notify;
	notify->fd = open_socket(name);
	if (notify->fd < 0) {
		log_warn("NOTIFY_SOCKET cannot be used: %s", strerror(errno));
		return notify;
	}
	notify->watchdog_ms = watchdog_of_environment();
	notify->timer = event_new(base, -1, EV_PERSIST, on_tick, notify);
	start_timer(notify);
	return notify;
}

void
notify_free(struct notify *notify)
{
	if (notify == NULL)
		return;
	if (notify->timer != NULL)
		event_free(notify->timer);
	if (notify->fd >= 0)
		close(notify->fd);
	free(notify);
}

void
notify_ready(struct notify *notify)
{
	tell(notify, "READY=1");
	tell_status(notify);
}

/* With the time, systemd tells this reload's READY=1 from an earlier one. */
void
notify_reloading(struct notify *notify)
{
	char message[64];

	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)clock_mono_us());
	tell(notify, message);
}

void
notify_stopping(struct notify *notify)
{
	tell(notify, "STOPPING=1");
	tell_status(notify);
}
