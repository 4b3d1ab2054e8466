/*
 * Connections that come and go, many at a time. One thread, epoll.
 *
 *   storm PORT [name=value]...
 *
 *   mode=storm       so many connections at once, each of which sends PING and
 *                    stays | churn: one at a time in each of so many places:
 *                    connect, GET, close
 *   connections=10000
 *   addresses=50     they come from: 127.0.0.2, 127.0.0.3 ...
 *   probes=0         connections that stand already, each with one GET at a
 *                    time, probe_rate=2000 of them a second in all
 *   quiet=0          seconds of the probes alone before it begins
 *   seconds=2        of churn
 *   hold=no          yes: the connections stand until standard input ends
 *
 * Writes one line of JSON: how many it was, the seconds it took, how many
 * failed, latencies in microseconds: of a connection from connect() to its
 * answer, of a probe from when it was due, before (quiet_) and meanwhile.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTS_A_TURN 16
#define EVENTS_A_TURN 64
#define MOST_TIMES (4u << 20)

enum kind { CALLER, PROBE };

struct connection {
	int fd;
	enum kind kind;
	bool is_asking; /* it has sent, and waits for the answer */
	int64_t since_ns;
};

struct times {
	int64_t *ns;
	size_t count;
	int64_t last_at_ns;
};

static struct {
	int port, connections, addresses, probes;
	double probe_rate, quiet, seconds;
	bool is_churn, is_held;
} options = { .connections = 10000, .addresses = 50, .probe_rate = 2000, .seconds = 2 };

static int poll_fd;
static size_t begun, failed;
static bool is_quiet; /* the probes alone */
static struct times calls, probe_times, quiet_times;

static const char ping[] = "*1\r\n$4\r\nPING\r\n";
static const char get[] = "*2\r\n$3\r\nGET\r\n$20\r\nkey:0000000000000001\r\n";

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void
note(struct times *times, int64_t since_ns)
{
	int64_t at_ns = now_ns();

	if (times->ns == NULL)
		times->ns = malloc(MOST_TIMES * sizeof(*times->ns));
	if (times->ns != NULL && times->count < MOST_TIMES)
		times->ns[times->count++] = at_ns - since_ns;
	times->last_at_ns = at_ns;
}

/* ---- connections ---- */

/* Each from one of the addresses, whose ports alone would not do for all. */
static int
connect_from(size_t number)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	from.sin_addr.s_addr =
	    htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % (size_t)options.addresses));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)options.port);
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
	    (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
open_connection(struct connection *c, enum kind kind)
{
	struct epoll_event event = { EPOLLOUT, { .ptr = c } };

	*c = (struct connection){ .kind = kind, .since_ns = now_ns() };
	c->fd = connect_from(begun++);
	if (c->fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
		failed++;
}

static void
ask(struct connection *c, const char *what, size_t len)
{
	if (send(c->fd, what, len, MSG_NOSIGNAL) != (ssize_t)len)
		failed++;
	c->is_asking = true;
}

/* It stands: a caller asks, a probe waits for its turn. */
static void
on_connected(struct connection *c)
{
	struct epoll_event event = { EPOLLIN, { .ptr = c } };

	epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
	if (c->kind == PROBE)
		c->is_asking = false;
	else if (options.is_churn)
		ask(c, get, sizeof(get) - 1);
	else
		ask(c, ping, sizeof(ping) - 1);
}

static void
on_answer(struct connection *c)
{
	char answer[4096];
	ssize_t got = recv(c->fd, answer, sizeof(answer), 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || answer[0] == '-') {
		failed++;
		close(c->fd);
		c->fd = -1;
		return;
	}
	c->is_asking = false;
	note(c->kind == CALLER ? &calls : is_quiet ? &quiet_times : &probe_times, c->since_ns);
	if (c->kind == CALLER && options.is_churn) {
		close(c->fd);
		open_connection(c, CALLER);
	}
}

static void
turn(int wait_ms)
{
	struct epoll_event events[EVENTS_A_TURN];
	int count = epoll_wait(poll_fd, events, EVENTS_A_TURN, wait_ms);

	for (int i = 0; i < count; i++) {
		struct connection *c = events[i].data.ptr;
		if (c->fd >= 0 && (events[i].events & EPOLLOUT) != 0)
			on_connected(c);
		else if (c->fd >= 0)
			on_answer(c);
	}
}

/* ---- probes ---- */

/* Those that are due; who still waits for an answer lets its turn pass, and
 * that it waits is in its own latency. */
static void
send_probes(struct connection *probes, int64_t started_ns, int64_t *sent)
{
	int64_t due = (int64_t)((double)(now_ns() - started_ns) * options.probe_rate / 1e9) + 1;

	for (; options.probes > 0 && *sent < due; ++*sent) {
		struct connection *c = &probes[*sent % options.probes];
		if (c->is_asking)
			continue;
		c->since_ns = started_ns + (int64_t)((double)*sent * 1e9 / options.probe_rate);
		ask(c, get, sizeof(get) - 1);
	}
}

static void
wait_quietly(struct connection *probes)
{
	int64_t started_ns = now_ns(), sent = 0;

	is_quiet = true;
	while (now_ns() - started_ns < (int64_t)(options.quiet * 1e9)) {
		send_probes(probes, started_ns, &sent);
		turn(0);
	}
	is_quiet = false;
}

/* ---- the two modes ---- */

static double
run(struct connection *callers, struct connection *probes)
{
	int64_t started_ns = now_ns(), sent = 0, until_ns = INT64_MAX;
	size_t count = (size_t)options.connections, at = 0;

	if (options.is_churn)
		until_ns = started_ns + (int64_t)(options.seconds * 1e9);
	while ((options.is_churn || calls.count + failed < count) && now_ns() < until_ns) {
		for (int i = 0; i < CONNECTS_A_TURN && at < count; i++)
			open_connection(&callers[at++], CALLER);
		send_probes(probes, started_ns, &sent);
		turn(at < count || options.probes > 0 ? 0 : 100);
	}
	return (double)(calls.last_at_ns - started_ns) / 1e9;
}

/* ---- options and the report ---- */

static int
compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static void
print_times(const char *name, struct times *times)
{
	const struct {
		const char *name;
		double share;
	} points[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "max", 1 } };

	if (times->count == 0)
		return;
	qsort(times->ns, times->count, sizeof(*times->ns), compare);
	printf(", \"%scount\": %zu", name, times->count);
	for (int i = 0; i < 3; i++)
		printf(", \"%s%s_us\": %.1f", name, points[i].name,
		    (double)times->ns[(size_t)(points[i].share * (double)(times->count - 1))] /
			1000);
}

static void
set_option(const char *name, const char *value)
{
	const struct {
		const char *name;
		int *number;
		double *real;
	} known[] = {
		{ "connections", &options.connections, NULL },
		{ "addresses", &options.addresses, NULL },
		{ "probes", &options.probes, NULL },
		{ "probe_rate", NULL, &options.probe_rate },
		{ "quiet", NULL, &options.quiet },
		{ "seconds", NULL, &options.seconds },
	};

	if (strcmp(name, "mode") == 0)
		options.is_churn = strcmp(value, "churn") == 0;
	if (strcmp(name, "hold") == 0)
		options.is_held = strcmp(value, "yes") == 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(name, known[i].name) == 0 && known[i].number != NULL)
			*known[i].number = atoi(value);
		else if (strcmp(name, known[i].name) == 0)
			*known[i].real = atof(value);
	}
}

int
main(int argc, char **argv)
{
	char end;

	poll_fd = epoll_create1(0);
	options.port = argc > 1 ? atoi(argv[1]) : 0;
	for (int i = 2; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		if (equals == NULL)
			return 2;
		*equals = '\0';
		set_option(argv[i], equals + 1);
	}
	struct connection *callers = calloc((size_t)options.connections, sizeof(*callers));
	struct connection *probes = calloc((size_t)options.probes + 1, sizeof(*probes));
	if (callers == NULL || probes == NULL)
		return 2;
	for (int i = 0; i < options.probes; i++)
		open_connection(&probes[i], PROBE);
	for (int i = 0; i < options.probes; i++)
		turn(10);
	wait_quietly(probes);
	double seconds = run(callers, probes);
	printf("{\"seconds\": %.4f, \"failed\": %zu", seconds, failed);
	print_times("", &calls);
	print_times("quiet_", &quiet_times);
	print_times("probe_", &probe_times);
	printf("}\n");
	fflush(stdout);
	if (options.is_held && read(STDIN_FILENO, &end, 1) < 0)
		return 2;
	return failed > 0;
}
