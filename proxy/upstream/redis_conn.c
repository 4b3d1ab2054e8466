/*
 * One connection to Redis, from its name to its last reply. Owned by whoever
 * made it (a link, a session, the prober); run by that thread's event loop.
 */
#include "upstream/redis_conn.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/resp.h"
#include "upstream/redis_greeting.h"
#include "upstream/redis_socket.h"
#include "upstream/resolve.h"

/* Reads of one loop turn, so that one busy connection lets the others in. */
#define READS_PER_TURN 16
#define RESP_TYPES "+-:$*_,#(!=%~>|"

enum conn_state {
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_SECURING,
	CONN_GREETING,
	CONN_READY,
	CONN_CLOSED,
};

struct redis_conn {
	struct event_base *base;
	struct evdns_base *dns;
	const struct redis_target *target;
	struct redis_conn_options options;
	const struct redis_conn_events *events;
	void *arg;
	enum conn_state state;
	bool is_paused;
	bool is_freed;     /* inside one of our callbacks: it goes when that returns */
	bool is_broken;    /* a write failed: what can still be read is, then it closes */
	int depth;         /* of handlers that are using us */

	struct resolve *resolve;
	char addresses[RESOLVE_MAX_ADDRESSES][RESOLVE_ADDRESS_SIZE];
	int address_count;
	int address_next;

	struct redis_socket socket;
	struct event readable, writable;
	bool has_events; /* the two are about the socket that is open */
	bool is_reading, is_writing; /* they are in the loop */
	struct event deadline; /* of the state, before READY */
	struct event later;    /* on with it, one turn later */
	int64_t due_ms;        /* when it has to be READY */

	struct redis_greeting greeting;
	struct buf in;
	struct resp_scan scan;
	struct redis_failure failure;
};

static void on_later(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void on_resolved(const char *const *addresses, int count, const char *error, void *arg);
static void on_socket(evutil_socket_t fd, short what, void *arg);
static void connect_next(struct redis_conn *conn);
static void start_securing(struct redis_conn *conn);
static void go_on_securing(struct redis_conn *conn);
static void start_greeting(struct redis_conn *conn);
static void read_some(struct redis_conn *conn);
static void send_some(struct redis_conn *conn);

/* The one setter of `state`. */
static void
enter(struct redis_conn *conn, enum conn_state state)
{
	/* CONNECTING follows itself, from one address to the next. */
	assert(conn->state != CONN_CLOSED);
	assert(state == CONN_CONNECTING ? conn->state <= CONN_CONNECTING : state > conn->state);
	conn->state = state;
}

static void
on_a_later_turn(struct redis_conn *conn)
{
	static const struct timeval at_once = { 0, 0 };

	event_add(&conn->later, &at_once);
}

static void
set_deadline(struct redis_conn *conn, int64_t wait_ms)
{
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

	event_add(&conn->deadline, &wait);
}

struct redis_conn *
redis_conn_new(struct event_base *base, struct evdns_base *dns, const struct redis_target *target,
    const struct redis_conn_options *options, const struct redis_conn_events *events, void *arg)
{
	struct redis_conn *conn = alloc_zero(sizeof(*conn));

	conn->base = base;
	conn->dns = dns;
	conn->target = target;
	conn->options = *options;
	conn->events = events;
	conn->arg = arg;
	conn->state = CONN_RESOLVING;
	conn->greeting = (struct redis_greeting){
		.target = target,
		.name = options->client_name,
		.resp_version = options->resp_version,
		.database = options->database >= 0 ? options->database : target->database,
	};
	resp_scan_start(&conn->scan);
	evtimer_assign(&conn->deadline, base, on_deadline, conn);
	evtimer_assign(&conn->later, base, on_later, conn);
	conn->due_ms = clock_mono_ms() + options->connect_ms;
	set_deadline(conn, options->connect_ms);
	if (target->path != NULL)
		on_a_later_turn(conn); /* or a refusal would come inside this call */
	else
		conn->resolve = resolve_start(base, dns, target->host, on_resolved, conn);
	return conn;
}

/* Takes the connection out of the event loop and closes it; tells nobody. */
static void
close_socket(struct redis_conn *conn)
{
	if (conn->has_events) {
		event_del(&conn->readable);
		event_del(&conn->writable);
		conn->has_events = conn->is_reading = conn->is_writing = false;
	}
	redis_socket_close(&conn->socket);
}

static void
stop(struct redis_conn *conn)
{
	resolve_cancel(conn->resolve);
	conn->resolve = NULL;
	event_del(&conn->deadline);
	event_del(&conn->later);
	close_socket(conn);
	if (conn->state != CONN_CLOSED)
		enter(conn, CONN_CLOSED);
}

void
redis_conn_free(struct redis_conn *conn)
{
	if (conn == NULL)
		return;
	stop(conn);
	conn->is_freed = true;
	if (conn->depth > 0)
		return;
	buf_free(&conn->in);
	free(conn);
}

/* Every handler of the event loop stands between these two. */
static void
begin(struct redis_conn *conn)
{
	conn->depth++;
}

static void
end(struct redis_conn *conn)
{
	if (--conn->depth == 0 && conn->is_freed)
		redis_conn_free(conn);
}

/* From handlers only. Calls closed() last: the connection may be gone then. */
static void
fail(struct redis_conn *conn)
{
	assert(conn->depth > 0);
	if (conn->state == CONN_CLOSED)
		return;
	stop(conn);
	conn->events->closed(conn, conn->failure.kind, conn->failure.reason, conn->arg);
}

static const char *
seconds(int64_t ms, char text[32])
{
	snprintf(text, 32, ms % 1000 == 0 ? "%" PRId64 " s" : "%" PRId64 " ms",
	    ms % 1000 == 0 ? ms / 1000 : ms);
	return text;
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	static const char *const waited_for[] = {
		[CONN_RESOLVING] = "no answer from the resolver",
		[CONN_CONNECTING] = "no connection",
		/* A Redis without TLS takes the handshake for half a command. */
		[CONN_SECURING] = "no answer to the TLS handshake (redis://?)",
		[CONN_GREETING] = "no answer to HELLO",
	};
	struct redis_conn *conn = arg;
	char text[32];

	(void)fd;
	(void)what;
	begin(conn);
	redis_fail(&conn->failure, FAILURE_TIMEOUT, "%s within %s", waited_for[conn->state],
	    seconds(conn->options.connect_ms, text));
	if (conn->state == CONN_CONNECTING && conn->address_next < conn->address_count)
		connect_next(conn);
	else
		fail(conn);
	end(conn);
}

static void
on_resolved(const char *const *addresses, int count, const char *error, void *arg)
{
	struct redis_conn *conn = arg;

	begin(conn);
	conn->resolve = NULL;
	for (int i = 0; i < count; i++)
		snprintf(conn->addresses[i], RESOLVE_ADDRESS_SIZE, "%s", addresses[i]);
	conn->address_count = count;
	if (count == 0) {
		redis_fail(&conn->failure, FAILURE_CONNECT, "%s", error);
		fail(conn);
	} else {
		connect_next(conn);
	}
	end(conn);
}

static void
watch_socket(struct redis_conn *conn)
{
	int fd = redis_socket_fd(&conn->socket);

	event_assign(&conn->readable, conn->base, fd, EV_READ | EV_PERSIST, on_socket, conn);
	event_assign(&conn->writable, conn->base, fd, EV_WRITE | EV_PERSIST, on_socket, conn);
	conn->has_events = true;
}

/* Sets what the loop watches; costs nothing while that stays the same. */
static void
watch(struct redis_conn *conn, bool reads, bool writes)
{
	if (reads != conn->is_reading)
		(reads ? event_add(&conn->readable, NULL) : event_del(&conn->readable));
	if (writes != conn->is_writing)
		(writes ? event_add(&conn->writable, NULL) : event_del(&conn->writable));
	conn->is_reading = reads;
	conn->is_writing = writes;
}

static void
connected(struct redis_conn *conn)
{
	int64_t left_ms = conn->due_ms - clock_mono_ms();

	set_deadline(conn, left_ms > 1 ? left_ms : 1);
	if (conn->target->tls != NULL)
		start_securing(conn);
	else
		start_greeting(conn);
}

/* Tries the next address; each may take its share of the time that is left. */
static void
connect_next(struct redis_conn *conn)
{
	enum socket_step step = SOCKET_FAILED;

	enter(conn, CONN_CONNECTING);
	close_socket(conn);
	while (step == SOCKET_FAILED && conn->address_next < conn->address_count) {
		int left = conn->address_count - conn->address_next;
		int64_t share_ms = (conn->due_ms - clock_mono_ms()) / left;

		set_deadline(conn, share_ms > 1 ? share_ms : 1);
		step = redis_socket_open(&conn->socket, conn->target,
		    conn->addresses[conn->address_next++], &conn->failure);
		if (step == SOCKET_FAILED)
			close_socket(conn);
	}
	if (step == SOCKET_FAILED) {
		fail(conn);
		return;
	}
	watch_socket(conn);
	if (step == SOCKET_DONE)
		connected(conn);
	else
		watch(conn, false, true);
}

static void
finish_connecting(struct redis_conn *conn)
{
	if (redis_socket_finish(&conn->socket, &conn->failure) == SOCKET_DONE)
		connected(conn);
	else
		connect_next(conn);
}

static void
start_securing(struct redis_conn *conn)
{
	enter(conn, CONN_SECURING);
	go_on_securing(conn);
}

static void
go_on_securing(struct redis_conn *conn)
{
	switch (redis_socket_secure(&conn->socket, conn->target, &conn->failure)) {
	case SOCKET_DONE: start_greeting(conn); break;
	case SOCKET_WANTS_READ: watch(conn, true, false); break;
	case SOCKET_WANTS_WRITE: watch(conn, false, true); break;
	case SOCKET_FAILED: fail(conn); break;
	}
}

static void
send_greeting(struct redis_conn *conn, struct buf *command)
{
	redis_socket_write(&conn->socket, buf_slice(command));
	if (conn->options.commands != NULL)
		counter_add(conn->options.commands, 1);
	send_some(conn);
}

static void
start_greeting(struct redis_conn *conn)
{
	struct buf command = BUF_EMPTY;

	enter(conn, CONN_GREETING);
	watch(conn, true, false);
	redis_greeting_start(&conn->greeting, &command);
	send_greeting(conn, &command);
	buf_free(&command);
}

static void
greeted(struct redis_conn *conn)
{
	enter(conn, CONN_READY);
	event_del(&conn->deadline);
	conn->events->ready(conn, conn->arg);
}

static void
on_greeting_reply(struct redis_conn *conn, char type, struct slice reply)
{
	struct buf command = BUF_EMPTY;

	if (type == '>') /* a push may come between; nobody wants it yet */
		return;
	switch (redis_greeting_reply(&conn->greeting, type, reply, &command, &conn->failure)) {
	case GREETING_SEND: send_greeting(conn, &command); break;
	case GREETING_DONE: greeted(conn); break;
	case GREETING_FAILED: fail(conn); break;
	}
	buf_free(&command);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *conn = arg;

	(void)fd;
	begin(conn);
	switch (conn->state) {
	case CONN_CONNECTING: finish_connecting(conn); break;
	case CONN_SECURING: go_on_securing(conn); break;
	case CONN_GREETING:
	case CONN_READY:
		if ((what & EV_WRITE) != 0 || conn->socket.write_wants_read)
			send_some(conn);
		if ((what & EV_READ) != 0 || conn->socket.read_wants_write)
			read_some(conn);
		break;
	case CONN_RESOLVING:
	case CONN_CLOSED: break;
	}
	end(conn);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *conn = arg;

	(void)fd;
	(void)what;
	begin(conn);
	if (conn->state == CONN_RESOLVING) { /* a unix socket has no name to resolve */
		conn->address_count = 1;
		connect_next(conn);
	} else {
		read_some(conn);
	}
	end(conn);
}

static bool
is_open(const struct redis_conn *conn)
{
	return conn->state == CONN_GREETING || conn->state == CONN_READY;
}

static void
fail_as_not_resp(struct redis_conn *conn, struct slice bytes)
{
	/* OpenSSL answers plain text with an alert record. */
	if (conn->state == CONN_GREETING && bytes.at[0] == 0x15)
		redis_fail(&conn->failure, FAILURE_TLS, "the server expects TLS (rediss://?)");
	else
		redis_fail(&conn->failure, FAILURE_PROTOCOL, "not RESP");
	fail(conn);
}

/* Hands up every whole reply in `in`; what is left there is the start of one. */
static void
hand_up(struct redis_conn *conn)
{
	while (is_open(conn) && !conn->is_paused && buf_len(&conn->in) > 0) {
		struct slice bytes = buf_slice(&conn->in);
		size_t len;

		switch (resp_scan(&conn->scan, bytes)) {
		case RESP_PARTIAL:
			/* The scan finds that out at the line's end, which may
			 * never come. */
			if (conn->scan.at == 0 && strchr(RESP_TYPES, bytes.at[0]) == NULL)
				fail_as_not_resp(conn, bytes);
			return;
		case RESP_BROKEN:
			fail_as_not_resp(conn, bytes);
			return;
		case RESP_WHOLE:
			break;
		}
		len = conn->scan.at;
		if (conn->state == CONN_GREETING)
			on_greeting_reply(conn, conn->scan.type, slice_make(bytes.at, len));
		else
			conn->events->reply(conn, conn->scan.type, slice_make(bytes.at, len),
			    conn->arg);
		resp_scan_start(&conn->scan);
		buf_take(&conn->in, len);
	}
}

static void
fail_as_closed(struct redis_conn *conn)
{
	/* Redis's TLS port hangs up on plain text, and its alert is lost with
	 * the reset. */
	if (conn->state == CONN_GREETING && conn->target->tls == NULL &&
	    conn->target->path == NULL && conn->greeting.await == AWAIT_HELLO)
		redis_fail(&conn->failure, FAILURE_LOST,
		    "connection closed by Redis at HELLO (does it expect rediss://?)");
	fail(conn);
}

static void
read_some(struct redis_conn *conn)
{
	enum socket_step step = SOCKET_DONE;

	hand_up(conn); /* what a pause has left */
	for (int i = 0; i < READS_PER_TURN && step == SOCKET_DONE; i++) {
		if (!is_open(conn) || conn->is_paused)
			break;
		step = redis_socket_read(&conn->socket, &conn->in, &conn->failure);
		if (step != SOCKET_FAILED)
			hand_up(conn);
	}
	if (conn->state == CONN_READY && conn->events->batch_end != NULL)
		conn->events->batch_end(conn, conn->arg);
	if (!is_open(conn))
		return;
	if (step == SOCKET_FAILED || conn->is_broken) {
		fail_as_closed(conn);
		return;
	}
	if (step == SOCKET_DONE && !conn->is_paused)
		on_a_later_turn(conn);
	if (conn->socket.read_wants_write)
		watch(conn, conn->is_reading, true);
}

static void
send_some(struct redis_conn *conn)
{
	enum socket_step step;

	if (conn->is_broken)
		return;
	step = redis_socket_send(&conn->socket, &conn->failure);
	if (step == SOCKET_FAILED) {
		/* What Redis has said before it hung up is still worth reading,
		 * and closed() must not come inside redis_conn_flush(). */
		conn->is_broken = true;
		watch(conn, conn->is_reading, false);
		on_a_later_turn(conn);
		return;
	}
	watch(conn, !conn->is_paused, step == SOCKET_WANTS_WRITE || conn->socket.read_wants_write);
}

bool
redis_conn_is_ready(const struct redis_conn *conn)
{
	return conn->state == CONN_READY;
}

void
redis_conn_write(struct redis_conn *conn, struct slice bytes)
{
	if (conn->state == CONN_READY)
		redis_socket_write(&conn->socket, bytes);
}

void
redis_conn_flush(struct redis_conn *conn)
{
	/* While the event loop waits to send, asking the kernel is in vain. */
	if (conn->state == CONN_READY && !conn->is_writing)
		send_some(conn);
}

size_t
redis_conn_unsent(const struct redis_conn *conn)
{
	return redis_socket_unsent(&conn->socket);
}

int64_t
redis_conn_client_id(const struct redis_conn *conn)
{
	return conn->greeting.client_id;
}

void
redis_conn_pause(struct redis_conn *conn, bool is_paused)
{
	if (conn->is_paused == is_paused)
		return;
	conn->is_paused = is_paused;
	if (conn->state != CONN_READY)
		return;
	watch(conn, !is_paused, conn->is_writing);
	if (!is_paused)
		on_a_later_turn(conn); /* replies may have been read already */
}
