/*
 * A load generator that looks at what it gets: closed loop (each connection
 * sends a batch, waits for its answers, sends the next) or open loop (so many
 * a second, whatever the answers do; latency counts from the moment a request
 * was due, so that a server that stalls cannot hide it). One thread, epoll.
 *
 *   load PORT [name=value]...
 *
 *   mode=get         get | mget | set | fill (each key once, SET) |
 *                    warm (each key once, GET) | profile (GET profile:ID, a row)
 *   protocol=redis   redis | memcached (get and mget, which is a get of many)
 *   connections=50 pipeline=1 first=0 keys=100000 mget=100 seconds=2
 *   key=20 value=128 bytes; a key has 20 at least
 *   rate=0           requests a second in all, open loop; 0: closed loop
 *   zipf=0           exponent; 0: uniform
 *   seed=1
 *   check=1          one answer of so many is compared byte by byte, of the others
 *                    the length (an MGET's is not even copied), and 256 requests are
 *                    sent again and again: where the load must not be the limit
 *   sources=1        addresses of loopback that connections come from, in turn
 *   pid=0            of the server: tells its CPU time a request, too
 *
 * Writes one line of JSON: requests, seconds, errors, wrong, and latencies in
 * microseconds. Ends with status 1 when an answer was wrong.
 */
#include "traffic.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEPS 64 /* of the histogram, per doubling */

static uint64_t histogram[64 * STEPS];
static uint64_t requests;
static int64_t total_ns, max_ns;

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void
give_up(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
note_latency(int64_t ns)
{
	int64_t us = ns / 1000 > 0 ? ns / 1000 : 1;
	int doubling = 63 - __builtin_clzll((uint64_t)us);
	int64_t step = (us - (INT64_C(1) << doubling)) * STEPS >> doubling;

	histogram[doubling * STEPS + step]++;
	total_ns += ns;
	if (ns > max_ns)
		max_ns = ns;
}

static void
take_answers(struct connection *c, int64_t at_ns)
{
	const char *at = c->in, *end = c->in + c->in_len;

	while (c->head != c->tail && at < end) {
		const struct waiting *waiting = &c->queue[c->head % traffic_queue_room];
		const char *after = traffic_read_answer(at, end, waiting->key);
		if (after == NULL)
			break;
		note_latency(at_ns - waiting->due_ns);
		requests++;
		c->head++;
		at = after;
	}
	c->in_len = (size_t)(end - at);
	memmove(c->in, at, c->in_len);
}

/* ---- sockets ---- */

/* How many bytes the socket has taken. */
static size_t
push_bytes(int fd, const char *at, size_t len)
{
	size_t all = 0;

	while (all < len) {
		ssize_t sent = send(fd, at + all, len - all, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			break; /* level-triggered: it comes again with the next answers */
		if (sent < 0)
			give_up("send");
		all += (size_t)sent;
	}
	return all;
}

static void
push(struct connection *c)
{
	c->out_at += push_bytes(c->fd, c->out + c->out_at, c->out_len - c->out_at);
	if (c->out_at < c->out_len)
		return;
	c->out_at = c->out_len = 0;
	size_t sent = push_bytes(c->fd, c->ready, c->ready_len);
	c->ready += sent;
	c->ready_len -= sent;
}

static void
pull(struct connection *c)
{
	if (c->in_room - c->in_len < 65536) {
		c->in_room = c->in_room * 2 + 65536;
		c->in = realloc(c->in, c->in_room);
	}
	ssize_t got = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len, 0);
	if (got == 0 || (got < 0 && errno != EAGAIN))
		give_up("recv");
	if (got > 0)
		c->in_len += (size_t)got;
}

/* The kernel throws it away without a copy (tcp(7)). One that is not as long as
 * it must be never ends. */
static void
skip(struct connection *c)
{
	ssize_t got = recv(c->fd, NULL, c->unseen, MSG_TRUNC);

	if (got == 0 || (got < 0 && errno != EAGAIN))
		give_up("recv");
	c->unseen -= got > 0 ? (size_t)got : 0;
	if (c->unseen > 0)
		return;
	note_latency(now_ns() - c->queue[c->head % traffic_queue_room].due_ns);
	requests++;
	c->head++;
	traffic_skip_answer();
}

/* From one of several addresses: one has no more than 28,000 ports, and each is
 * free again at once, as it is closed by a reset. */
static void
choose_source(int fd, int number)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr =
		    htonl(INADDR_LOOPBACK + (uint32_t)number % (uint32_t)options.sources) };
	struct linger at_once = { 1, 0 };
	int yes = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) != 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		give_up("bind");
}

static void
open_connection(struct connection *c, int number, int poll)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)options.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { EPOLLIN, { .ptr = c } };
	int one = 1;

	c->queue = calloc(traffic_queue_room, sizeof(*c->queue));
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0)
		give_up("socket");
	if (options.sources > 1)
		choose_source(c->fd, number);
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		give_up("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 ||
	    epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		give_up("epoll");
}

/* CPU time of the server so far, of all its threads. */
static int64_t
server_cpu_ns(void)
{
	char path[320];
	int64_t total = 0, spent;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)options.pid);
	DIR *tasks = options.pid != 0 ? opendir(path) : NULL;
	if (tasks == NULL)
		return 0;
	for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
		if (task->d_name[0] == '.')
			continue; /* ".." has a schedstat, too: the first thread's */
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)options.pid,
		    task->d_name);
		FILE *file = fopen(path, "r");
		if (file != NULL && fscanf(file, "%" SCNd64, &spent) == 1)
			total += spent;
		if (file != NULL)
			fclose(file);
	}
	closedir(tasks);
	return total;
}

/* ---- the two loops ---- */

static bool
is_once(void)
{
	return options.mode == FILL || options.mode == WARM;
}

static void
send_batch(struct connection *c)
{
	int64_t at_ns = now_ns();

	for (int i = 0; i < options.pipeline && !(is_once() && traffic_next_key() >= options.keys);
	     i++)
		traffic_append_request(c, at_ns);
	push(c);
}

/* Requests that are due, to the connections in turn. */
static void
send_due(struct connection *all, int64_t started_ns, int64_t *sent)
{
	int64_t due = (int64_t)((double)(now_ns() - started_ns) * options.rate / 1e9);

	for (; *sent < due; ++*sent) {
		struct connection *c = &all[*sent % options.connections];
		if (c->tail - c->head == traffic_queue_room) {
			traffic_errors++; /* it has not answered for that long */
			continue;
		}
		traffic_append_request(c,
		    started_ns + (int64_t)((double)*sent * 1e9 / options.rate));
		push(c);
	}
}

static void
turn(int poll, int wait_ms)
{
	struct epoll_event events[256];
	int count = epoll_wait(poll, events, 256, wait_ms);

	for (int i = 0; i < count; i++) {
		struct connection *c = events[i].data.ptr;
		if (c->unseen == 0 && c->in_len == 0 && options.pipeline == 1)
			c->unseen = traffic_unseen_bytes();
		if (c->unseen > 0) {
			skip(c);
		} else {
			pull(c);
			take_answers(c, now_ns());
		}
		push(c);
		if (options.rate == 0 && c->head == c->tail)
			send_batch(c);
	}
}

static double
run(struct connection *all, int poll)
{
	int64_t started_ns = now_ns(), sent = 0;
	int64_t until_ns = started_ns + (int64_t)(options.seconds * 1e9);

	for (int i = 0; i < options.connections && options.rate == 0; i++)
		send_batch(&all[i]);
	while (is_once() ? requests < (uint64_t)(options.keys - options.first_key)
			 : now_ns() < until_ns) {
		if (options.rate > 0)
			send_due(all, started_ns, &sent);
		turn(poll, options.rate > 0 ? 0 : 100);
	}
	return (double)(now_ns() - started_ns) / 1e9;
}

/* ---- options and the report ---- */

static double
percentile(double share)
{
	uint64_t wanted = (uint64_t)(share * (double)requests), seen = 0;

	for (int i = 0; i < 64 * STEPS; i++) {
		seen += histogram[i];
		if (seen > wanted)
			return (double)(INT64_C(1) << i / STEPS) * (1 + (i % STEPS + 0.5) / STEPS);
	}
	return (double)max_ns / 1000;
}

static void
set_option(const char *name, const char *value)
{
	static const char *const modes[] = { "get", "mget", "set", "fill", "warm", "profile" };
	static const struct {
		const char *name;
		int64_t *count;
		double *real;
	} numbers[] = { { "connections", &options.connections, NULL },
		{ "pipeline", &options.pipeline, NULL }, { "first", &options.first_key, NULL },
		{ "keys", &options.keys, NULL }, { "key", &options.key_bytes, NULL }, { "value", &options.value_bytes, NULL },
		{ "mget", &options.keys_a_mget, NULL }, { "check", &options.check_every, NULL },
		{ "sources", &options.sources, NULL }, { "pid", &options.pid, NULL },
		{ "seconds", NULL, &options.seconds }, { "rate", NULL, &options.rate },
		{ "zipf", NULL, &options.zipf } };
	bool is_known = strcmp(name, "protocol") == 0 || strcmp(name, "seed") == 0;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (strcmp(name, numbers[i].name) != 0)
			continue;
		is_known = true;
		if (numbers[i].count != NULL)
			*numbers[i].count = atoll(value);
		else
			*numbers[i].real = atof(value);
	}
	for (int i = 0; i < 6 && strcmp(name, "mode") == 0; i++) {
		if (strcmp(value, modes[i]) == 0)
			options.mode = (enum mode)i, is_known = true;
	}
	if (strcmp(name, "protocol") == 0)
		options.is_memcached = strcmp(value, "memcached") == 0;
	if (strcmp(name, "seed") == 0)
		options.seed = strtoull(value, NULL, 10) | 1;
	if (!is_known) {
		fprintf(stderr, "load: no option %s=%s\n", name, value);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	int poll = epoll_create1(0);

	if (argc < 2) {
		fprintf(stderr, "load PORT [name=value]...\n");
		return 2;
	}
	options.port = atoi(argv[1]);
	for (int i = 2; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		if (equals == NULL)
			return 2;
		*equals = '\0';
		set_option(argv[i], equals + 1);
	}
	if (options.pipeline > MAX_WAITING || options.key_bytes < 20)
		return 2;
	traffic_start();
	struct connection *all = calloc((size_t)options.connections, sizeof(*all));
	for (int i = 0; i < options.connections; i++)
		open_connection(&all[i], i, poll);
	int64_t cpu_before_ns = server_cpu_ns();
	double seconds = run(all, poll);
	double cpu_us = (double)(server_cpu_ns() - cpu_before_ns) / 1000;
	printf(
	    "{\"requests\": %llu, \"seconds\": %.4f, \"errors\": %llu, \"wrong\": %llu, "
	    "\"cpu_us\": %.3f, \"mean_us\": %.1f, \"p50_us\": %.1f, \"p95_us\": %.1f, \"p99_us\": %.1f, "
	    "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
	    (unsigned long long)requests, seconds, (unsigned long long)traffic_errors,
	    (unsigned long long)traffic_wrong, requests > 0 ? cpu_us / (double)requests : 0,
	    requests > 0 ? (double)total_ns / 1000 / (double)requests : 0, percentile(0.5),
	    percentile(0.95), percentile(0.99), percentile(0.999), (double)max_ns / 1000);
	return traffic_wrong > 0;
}
