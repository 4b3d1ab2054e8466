/*
 * A circuit breaker: remembers whether a backend is worth asking.
 *
 *   CLOSED --failures in a row, or failure rate--> OPEN
 *   OPEN --open time over, the prober asks--> HALF_OPEN
 *   HALF_OPEN --every probe answered--> CLOSED
 *   HALF_OPEN --a probe failed--> OPEN, for twice as long, full jitter
 *
 * Only one prober (the keeper) moves it out of OPEN; traffic passes in
 * CLOSED only. Time is passed in, nothing sleeps. Any thread may call: one
 * lock, no I/O; breaker_allows() is a single atomic load.
 *
 * After Nygard, "Release It!" (2007), with resilience4j's rate window and
 * Envoy's consecutive failures.
 */
#ifndef SIDECAR_UPSTREAM_BREAKER_H
#define SIDECAR_UPSTREAM_BREAKER_H

#include <stdint.h>

#include "base/slice.h"

/* As in sidecar_breaker_state. */
enum breaker_state { BREAKER_CLOSED = 0, BREAKER_HALF_OPEN = 1, BREAKER_OPEN = 2 };

/* What kind of failure; as in sidecar_backend_errors_total{kind}. */
enum failure_kind {
	FAILURE_CONNECT,  /* refused, unreachable, unknown host */
	FAILURE_LOST,     /* the connection broke while we waited */
	FAILURE_TIMEOUT,  /* slower than its budget */
	FAILURE_PROTOCOL, /* garbage */
	FAILURE_LOADING,  /* LOADING, READONLY, MASTERDOWN, starting up, shutting down */
	FAILURE_AUTH,     /* wrong password, no such user: retrying makes it worse */
	FAILURE_QUOTA,    /* over a paid limit: retrying makes it worse */
	FAILURE_TLS,      /* certificate, host name, handshake */
	FAILURE_KINDS,
};

/* "connect", "lost", ...: the metric's label. */
const char *failure_kind_name(enum failure_kind kind);

enum breaker_force { BREAKER_AUTO, BREAKER_FORCE_OPEN, BREAKER_FORCE_CLOSE };

struct breaker_policy {
	int64_t failures;     /* in a row */
	int64_t failure_rate; /* percent of at least 20 calls in 10 s */
	int64_t open_ms;
	int64_t max_open_ms;
};

struct breaker;

/*
 * Called after each change of state, by the thread that caused it, without
 * the lock. `reason` as given to breaker_failed(); "" for a recovery.
 */
typedef void (*breaker_changed_fn)(struct breaker *breaker, enum breaker_state before,
    enum breaker_state after, const char *reason, void *arg);

struct breaker *breaker_new(const char *name, const struct breaker_policy *policy, uint64_t seed,
    breaker_changed_fn changed, void *arg);
void breaker_free(struct breaker *breaker);
void breaker_set_policy(struct breaker *breaker, const struct breaker_policy *policy);

const char *breaker_name(const struct breaker *breaker);
enum breaker_state breaker_state(const struct breaker *breaker);
enum breaker_force breaker_forced(const struct breaker *breaker);

static inline const char *
breaker_state_name(enum breaker_state state)
{
	return state == BREAKER_CLOSED ? "closed" : state == BREAKER_OPEN ? "open" : "half-open";
}

/* Whether traffic may pass: CLOSED, or forced closed. */
bool breaker_allows(const struct breaker *breaker);

/* One call ended well; or so many. */
void breaker_succeeded(struct breaker *breaker, int64_t now_ms);
void breaker_succeeded_often(struct breaker *breaker, int64_t now_ms, int64_t times);

/*
 * One call or connection attempt failed. AUTH, QUOTA and TLS open it at once,
 * AUTH and QUOTA for max_open. `reason` is one short phrase for the log, without secrets.
 */
void breaker_failed(struct breaker *breaker, int64_t now_ms, enum failure_kind kind,
    const char *reason);

/* When OPEN ends (monotonic ms); TIME_NEVER when not OPEN or forced. */
int64_t breaker_probe_at(const struct breaker *breaker);
/* OPEN and the time has come: HALF_OPEN, and the caller is the one prober. */
MUST_CHECK bool breaker_start_probe(struct breaker *breaker, int64_t now_ms);
/* The prober's verdict; only in HALF_OPEN. */
void breaker_probe_succeeded(struct breaker *breaker, int64_t now_ms);
void breaker_probe_failed(struct breaker *breaker, int64_t now_ms, enum failure_kind kind,
    const char *reason);

/* What it failed for may have been mended: an OPEN one is asked at once. */
void breaker_ask_now(struct breaker *breaker, int64_t now_ms);

/* For drills: holds it OPEN or CLOSED until BREAKER_AUTO. */
void breaker_force(struct breaker *breaker, enum breaker_force force, int64_t now_ms);

/* The last failure, copied into `text` for STATUS and EXPLAIN. */
void breaker_last_failure(const struct breaker *breaker, char *text, size_t size);

#endif
