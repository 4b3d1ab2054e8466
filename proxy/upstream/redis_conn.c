/*
 * One connection to Redis, from its name to its last reply. Owned by whoever
 * made it (a link, a session, the prober); run by that thread's event loop.
 */
#include "upstream/redis_conn.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/resp.h"
#include "upstream/redis_dial.h"
#include "upstream/redis_greeting.h"
#include "upstream/redis_socket.h"

/* Reads of one loop turn, so that one busy connection lets the others in. */
#define READS_PER_TURN 16

enum conn_state {
	CONN_DIALLING, /* RESOLVING to SECURING, in redis_dial.c */
	CONN_GREETING,
	CONN_READY,
	CONN_CLOSED,
};

struct redis_conn {
	struct event_base *base;
	const struct redis_target *target;
	struct redis_conn_options options;
	const struct redis_conn_events *events;
	void *arg;
	enum conn_state state;
	bool is_paused;
	bool is_freed;  /* inside one of our callbacks: it goes when that returns */
	bool is_broken; /* a write failed: what can still be read is, then it closes */
	int depth;      /* of handlers that are using us */

	int64_t due_ms;          /* when it has to be READY */
	struct redis_dial *dial; /* while DIALLING */
	struct redis_socket socket;
	struct redis_greeting greeting;
	struct event deadline; /* while GREETING */

	struct event readable, writable;
	bool has_events;             /* the two are about the socket */
	bool is_reading, is_writing; /* they are in the loop */
	struct event later;          /* reads on, one turn later */

	struct buf in;
	struct resp_scan scan;
	struct redis_failure failure;
};

static void on_later(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void on_dialled(const struct redis_failure *failure, void *arg);
static void on_socket(evutil_socket_t fd, short what, void *arg);
static void start_greeting(struct redis_conn *conn);
static void read_some(struct redis_conn *conn);
static void send_some(struct redis_conn *conn);

/* The one setter of `state`. */
static void
enter(struct redis_conn *conn, enum conn_state state)
{
	assert(state > conn->state);
	assert(state != CONN_READY || conn->state == CONN_GREETING);
	conn->state = state;
}

static void
on_a_later_turn(struct redis_conn *conn)
{
	static const struct timeval at_once = { 0, 0 };

	event_add(&conn->later, &at_once);
}

struct redis_conn *
redis_conn_new(struct event_base *base, struct evdns_base *dns, const struct redis_target *target,
    const struct redis_conn_options *options, const struct redis_conn_events *events, void *arg)
{
	struct redis_conn *conn = alloc_zero(sizeof(*conn));

	conn->base = base;
	conn->target = target;
	conn->options = *options;
	conn->events = events;
	conn->arg = arg;
	conn->state = CONN_DIALLING;
	conn->greeting = (struct redis_greeting){
		.access = redis_target_access(target),
		.name = options->client_name,
		.resp_version = options->resp_version,
		.database = options->database >= 0 ? options->database : target->database,
	};
	resp_scan_start(&conn->scan);
	evtimer_assign(&conn->deadline, base, on_deadline, conn);
	evtimer_assign(&conn->later, base, on_later, conn);
	conn->due_ms = clock_mono_ms() + options->connect_ms;
	conn->dial =
	    redis_dial_new(base, dns, target, &conn->socket, options->connect_ms, on_dialled, conn);
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
	redis_dial_free(conn->dial);
	conn->dial = NULL;
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
	redis_access_unref(conn->greeting.access);
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

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *conn = arg;

	(void)fd, (void)what;
	begin(conn);
	redis_fail_by_timeout(&conn->failure, "no answer to HELLO", conn->options.connect_ms);
	fail(conn);
	end(conn);
}

static void
on_dialled(const struct redis_failure *failure, void *arg)
{
	struct redis_conn *conn = arg;

	begin(conn);
	if (failure != NULL) {
		conn->failure = *failure;
		fail(conn);
	} else {
		redis_dial_free(conn->dial);
		conn->dial = NULL;
		start_greeting(conn);
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
	int64_t left_ms = conn->due_ms - clock_mono_ms();
	struct timeval left = { left_ms / 1000, left_ms > 0 ? left_ms % 1000 * 1000 : 0 };

	enter(conn, CONN_GREETING);
	event_add(&conn->deadline, &left);
	watch_socket(conn);
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
	case GREETING_SEND:
		send_greeting(conn, &command);
		break;
	case GREETING_DONE:
		greeted(conn);
		break;
	case GREETING_FAILED:
		fail(conn);
		break;
	}
	buf_free(&command);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *conn = arg;

	(void)fd;
	begin(conn);
	if ((what & EV_WRITE) != 0 || conn->socket.write_wants_read)
		send_some(conn);
	if ((what & EV_READ) != 0 || conn->socket.read_wants_write)
		read_some(conn);
	end(conn);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *conn = arg;

	(void)fd, (void)what;
	begin(conn);
	read_some(conn);
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
	/* Redis's TLS port hangs up on plain text; its alert is lost with the reset. */
	if (conn->state == CONN_GREETING && !conn->target->is_tls && conn->target->path == NULL &&
	    conn->greeting.await == AWAIT_HELLO)
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
