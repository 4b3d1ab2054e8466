/* See prober.h. */
#include "ladder/prober.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "ladder/replay.h"
#include "upstream/redis_conn.h"
#include "upstream/redis_error.h"
#include "wire/request.h"

#define LAST_PINGS 2   /* with the first: three answers in a row */
#define RETRY_MS 500   /* after a repair that failed */
#define HELD_MS 50     /* until keys that were held are looked at again */
#define GRACE_MS 10000 /* how long a connection that cannot be killed may still write */

enum prober_state {
	PROBER_IDLE, /* connected or not */
	AWAIT_READY,
	AWAIT_INFO, /* the first answer, and which Redis it is */
	AWAIT_KILL,
	AWAIT_REPLAY, /* of the journal */
	AWAIT_LAST_PING,
};

struct prober {
	struct event_base *base;
	struct evdns_base *dns;
	struct backends *backends;
	struct prober_times times;
	struct redis_metrics *metrics;
	struct redis_conn *conn;
	struct event *due; /* of what is awaited */
	enum prober_state state;
	bool is_probe;
	int pings_left;
	struct replay replay;
	int64_t *orphans;
	size_t orphan_count, orphan_room;
	size_t killing;         /* which one, in AWAIT_KILL; others may be added behind it */
	int64_t grace_until_ms; /* 0: none */
	int64_t retry_at_ms;    /* 0: none */
	bool owes_grace;        /* the journal's file held keys: see count_grace() */
	bool has_lost_idle;     /* an idle connection was closed: see who is there now */
	bool has_late_orphan;   /* came when the run's kills were over */
	struct redis_identity *identity;
	void (*run_ended)(void *arg);
	void *arg;
	_Atomic bool has_met_redis;
};

/* The one setter: every wait has its time, and being idle has none. */
static void
enter(struct prober *prober, enum prober_state state)
{
	int64_t wait_ms = state == AWAIT_INFO || state == AWAIT_LAST_PING
	    ? prober->times.ping_ms
	    : prober->times.connect_ms;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

	assert(state == PROBER_IDLE || state >= prober->state);
	prober->state = state;
	if (state == PROBER_IDLE)
		event_del(prober->due);
	else
		event_add(prober->due, &wait);
}

/* ---- the ends of a run ---- */

/*
 * What a killed process had sent may still lie in the buffers of a Redis that
 * hung, and the ids of its connections died with it: nobody can kill them (by
 * name would hit other sidecars'). Redis runs it within moments of its first
 * answer to us, so the grace time counts from there.
 */
static void
count_grace(struct prober *prober, int64_t now_ms)
{
	if (!prober->owes_grace)
		return;
	prober->owes_grace = false;
	prober->grace_until_ms = now_ms + GRACE_MS;
	log_info("journal: keys of an earlier run are not read from redis for %d s",
	    GRACE_MS / 1000);
}

static void
succeed(struct prober *prober)
{
	int64_t now_ms = clock_mono_ms();
	count_grace(prober, now_ms);
	bool is_in_grace = prober->grace_until_ms > now_ms;

	/* In the grace time what was unlinked may come back: once more later. */
	replay_end(&prober->replay, !is_in_grace && !prober->has_late_orphan);
	if (!is_in_grace)
		prober->grace_until_ms = 0;
	/* What is left is held: something sent earlier may still land. */
	prober->retry_at_ms = journal_pending(prober->backends->journal) > 0 ? now_ms + HELD_MS : 0;
	enter(prober, PROBER_IDLE);
	if (prober->is_probe)
		breaker_probe_succeeded(prober->backends->redis, now_ms);
	if (!prober->has_met_redis && !prober->is_probe) {
		char name[256];
		redis_target_name(prober->backends->redis_target, name, sizeof(name));
		log_info("redis up: %s", name);
	}
	prober->has_met_redis = true;
	prober->has_lost_idle = false;
	prober->run_ended(prober->arg);
}

static void
fail(struct prober *prober, enum failure_kind kind, const char *reason)
{
	int64_t now_ms = clock_mono_ms();
	bool was_idle = prober->state == PROBER_IDLE;

	replay_end(&prober->replay, false);
	enter(prober, PROBER_IDLE);
	redis_conn_free(prober->conn);
	prober->conn = NULL;
	prober->retry_at_ms = now_ms + RETRY_MS;
	if (was_idle) { /* closed, and nothing was asked of it: is it the same Redis? */
		prober->retry_at_ms = 0;
		prober->has_lost_idle = true;
		prober->run_ended(prober->arg);
		return;
	}
	counter_add(&prober->metrics->errors[kind], 1);
	log_debug("redis probe failed: %s", reason);
	if (prober->is_probe)
		breaker_probe_failed(prober->backends->redis, now_ms, kind, reason);
	else
		breaker_failed(prober->backends->redis, now_ms, kind, reason);
	prober->run_ended(prober->arg);
}

/* ---- one step after the other ---- */

static void
ask(struct prober *prober, enum prober_state state, struct slice command)
{
	redis_conn_write(prober->conn, command);
	redis_conn_flush(prober->conn);
	counter_add(&prober->metrics->commands, 1);
	enter(prober, state);
}

static void
send_ping(struct prober *prober, enum prober_state state)
{
	ask(prober, state, SLICE("*1\r\n$4\r\nPING\r\n"));
}

/* PING, and which Redis this is; once a connection. */
static void
send_info(struct prober *prober)
{
	ask(prober, AWAIT_INFO, SLICE("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"));
}

static void
send_kill(struct prober *prober)
{
	char id[24];
	struct buf command = BUF_EMPTY;

	prober->killing = prober->orphan_count - 1;
	snprintf(id, sizeof(id), "%" PRId64, prober->orphans[prober->killing]);
	struct slice argv[] = { SLICE("CLIENT"), SLICE("KILL"), SLICE("ID"), slice_of(id) };
	request_append(&command, argv, 4);
	ask(prober, AWAIT_KILL, buf_slice(&command));
	buf_free(&command);
}

/* True when there was something to replay. */
static bool
send_replay(struct prober *prober)
{
	struct buf command = BUF_EMPTY;
	bool has_more = replay_next(&prober->replay, &command);

	if (has_more)
		ask(prober, AWAIT_REPLAY, buf_slice(&command));
	buf_free(&command);
	return has_more;
}

static void
go_on(struct prober *prober)
{
	/* A connection may still write until it is killed, so kills come first. */
	if (prober->state <= AWAIT_KILL && prober->orphan_count > 0) {
		send_kill(prober);
	} else if (prober->state <= AWAIT_REPLAY && send_replay(prober)) {
		return;
	} else if (prober->is_probe && prober->pings_left > 0) {
		prober->pings_left--;
		send_ping(prober, AWAIT_LAST_PING);
	} else {
		succeed(prober);
	}
}

static void
start_grace(struct prober *prober, const char *why)
{
	log_warn("redis: a connection given up cannot be killed there (%s): keys written "
		 "meanwhile are read from postgres for %d s",
	    why, GRACE_MS / 1000);
	prober->grace_until_ms = clock_mono_ms() + GRACE_MS;
}

static void
on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg)
{
	struct prober *prober = arg;

	(void)conn;
	if (type == '>' || prober->state == PROBER_IDLE)
		return;
	if (prober->state == AWAIT_INFO && type != '-') {
		/* Client ids begin anew with the process: those of one that is gone
		 * would hit somebody else's connections. */
		if (redis_identity_note(prober->identity, reply))
			prober->orphan_count = 0;
	} else if (prober->state == AWAIT_INFO && redis_error_kind(reply) < 0) {
		/* INFO is not ours to use; that it answers is enough. */
	} else if (prober->state == AWAIT_KILL) {
		prober->orphans[prober->killing] = prober->orphans[--prober->orphan_count];
		if (type == '-')
			start_grace(prober, "CLIENT KILL is refused");
	} else if (type == '-') {
		int kind = redis_error_kind(reply);
		fail(prober, kind >= 0 ? (enum failure_kind)kind : FAILURE_PROTOCOL,
		    prober->state == AWAIT_REPLAY ? "SCAN or UNLINK is refused"
						  : "PING is refused");
		return;
	} else if (prober->state == AWAIT_REPLAY && !replay_answer(&prober->replay, reply)) {
		fail(prober, FAILURE_PROTOCOL, "no answer to SCAN");
		return;
	}
	go_on(prober);
}

static void
on_ready(struct redis_conn *conn, void *arg)
{
	(void)conn;
	send_info(arg);
}

static void
on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	(void)conn;
	fail(arg, kind, reason);
}

static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	fail(arg, FAILURE_TIMEOUT, "no answer in time");
}

static void
start(struct prober *prober, bool is_probe)
{
	static const struct redis_conn_events events = {
		.ready = on_ready,
		.reply = on_reply,
		.closed = on_closed,
	};
	struct redis_conn_options options = {
		.resp_version = 2,
		.database = -1,
		.client_name = "sidecar-keeper",
		.connect_ms = prober->times.connect_ms,
		.commands = &prober->metrics->commands,
	};

	if (prober->state != PROBER_IDLE)
		return;
	prober->is_probe = is_probe;
	prober->pings_left = LAST_PINGS;
	prober->has_late_orphan = false;
	if (prober->conn != NULL) {
		send_ping(prober, AWAIT_INFO);
		return;
	}
	prober->conn = redis_conn_new(prober->base, prober->dns, prober->backends->redis_target,
	    &options, &events, prober);
	enter(prober, AWAIT_READY);
}

void
prober_probe(struct prober *prober)
{
	/* The old connection knew the Redis that is gone. */
	prober_stop(prober);
	start(prober, true);
}

void
prober_repair(struct prober *prober)
{
	start(prober, false);
}

void
prober_stop(struct prober *prober)
{
	replay_end(&prober->replay, false);
	enter(prober, PROBER_IDLE);
	redis_conn_free(prober->conn);
	prober->conn = NULL;
}

/* ---- the rest ---- */

struct prober *
prober_new(struct event_base *base, struct evdns_base *dns, struct backends *backends,
    const struct prober_times *times, struct redis_metrics *metrics, void (*run_ended)(void *arg),
    void *arg)
{
	struct prober *prober = alloc_zero(sizeof(*prober));

	prober->identity = redis_identity_new();
	prober->base = base;
	prober->dns = dns;
	prober->backends = backends;
	prober->replay.journal = backends->journal;
	prober->owes_grace = journal_pending(backends->journal) > 0;
	prober->times = *times;
	prober->metrics = metrics;
	prober->run_ended = run_ended;
	prober->arg = arg;
	prober->due = event_new(base, -1, 0, on_due, prober);
	return prober;
}

void
prober_free(struct prober *prober)
{
	if (prober == NULL)
		return;
	prober_stop(prober);
	event_free(prober->due);
	redis_identity_free(prober->identity);
	replay_free(&prober->replay);
	free(prober->orphans);
	free(prober);
}

void
prober_set_times(struct prober *prober, const struct prober_times *times)
{
	prober->times = *times;
}

void
prober_add_orphan(struct prober *prober, int64_t client_id)
{
	prober->has_late_orphan |= prober->state > AWAIT_KILL;
	if (client_id == 0) {
		start_grace(prober, "Redis did not tell its id");
		return;
	}
	if (prober->orphan_count == prober->orphan_room) {
		prober->orphan_room = prober->orphan_room > 0 ? prober->orphan_room * 2 : 16;
		prober->orphans =
		    alloc_again(prober->orphans, prober->orphan_room * sizeof(int64_t));
	}
	prober->orphans[prober->orphan_count++] = client_id;
}

int64_t
prober_repair_at(const struct prober *prober, int64_t now_ms)
{
	bool has_work = prober->orphan_count > 0 ||
	    journal_pending(prober->backends->journal) > 0 || !prober->has_met_redis ||
	    prober->has_lost_idle;

	if (prober->state != PROBER_IDLE || !has_work)
		return TIME_NEVER;
	if (prober->retry_at_ms > now_ms)
		return prober->retry_at_ms;
	if (prober->grace_until_ms > now_ms && prober->orphan_count == 0)
		return prober->grace_until_ms;
	return now_ms;
}

bool
prober_has_met_redis(const struct prober *prober)
{
	return atomic_load(&((struct prober *)prober)->has_met_redis);
}

struct redis_identity *
prober_redis(const struct prober *prober)
{
	return prober->identity;
}
