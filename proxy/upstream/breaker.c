/*
 * See breaker.h. The lock guards everything but `state`, which breaker_allows()
 * reads on every request that leaves the process.
 */
#include "upstream/breaker.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/backoff.h"
#include "base/clock.h"

#define WINDOW_MS 10000
#define WINDOW_SLOTS 10
#define RATE_MIN_CALLS 20
#define REASON_SIZE 160

struct window_slot {
	int64_t second; /* which one this slot counts */
	int64_t good, bad;
};

struct breaker {
	const char *name;
	breaker_changed_fn changed;
	void *arg;
	_Atomic int state;

	pthread_mutex_t lock;
	struct breaker_policy policy;
	enum breaker_force force;
	int64_t failures_in_a_row;
	struct window_slot window[WINDOW_SLOTS];
	struct backoff backoff;
	int64_t probe_at_ms;
	char reason[REASON_SIZE];
};

const char *
failure_kind_name(enum failure_kind kind)
{
	static const char *const names[FAILURE_KINDS] = {
		[FAILURE_CONNECT] = "connect",
		[FAILURE_LOST] = "lost",
		[FAILURE_TIMEOUT] = "timeout",
		[FAILURE_PROTOCOL] = "protocol",
		[FAILURE_LOADING] = "loading",
		[FAILURE_AUTH] = "auth",
		[FAILURE_QUOTA] = "quota",
		[FAILURE_TLS] = "tls",
	};
	return names[kind];
}

struct breaker *
breaker_new(const char *name, const struct breaker_policy *policy, uint64_t seed,
    breaker_changed_fn changed, void *arg)
{
	struct breaker *breaker = alloc_zero(sizeof(*breaker));

	breaker->name = name;
	breaker->policy = *policy;
	breaker->changed = changed;
	breaker->arg = arg;
	breaker->probe_at_ms = TIME_NEVER;
	backoff_init(&breaker->backoff, policy->open_ms, policy->max_open_ms, seed);
	pthread_mutex_init(&breaker->lock, NULL);
	return breaker;
}

void
breaker_free(struct breaker *breaker)
{
	if (breaker == NULL)
		return;
	pthread_mutex_destroy(&breaker->lock);
	free(breaker);
}

void
breaker_set_policy(struct breaker *breaker, const struct breaker_policy *policy)
{
	pthread_mutex_lock(&breaker->lock);
	breaker->policy = *policy;
	breaker->backoff.first_ms = policy->open_ms;
	breaker->backoff.max_ms = policy->max_open_ms;
	pthread_mutex_unlock(&breaker->lock);
}

const char *
breaker_name(const struct breaker *breaker)
{
	return breaker->name;
}

enum breaker_state
breaker_state(const struct breaker *breaker)
{
	return (enum breaker_state)atomic_load_explicit((_Atomic int *)&breaker->state,
	    memory_order_acquire);
}

bool
breaker_allows(const struct breaker *breaker)
{
	return breaker_state(breaker) == BREAKER_CLOSED;
}

/* What the lock's holder has decided, to be told after the lock is gone. */
struct change {
	bool happened;
	enum breaker_state before, after;
	char reason[REASON_SIZE];
};

/* The one setter of `state`; the lock is held. */
static void
enter(struct breaker *breaker, enum breaker_state after, struct change *change)
{
	enum breaker_state before = breaker_state(breaker);

	if (before == after)
		return;
	/* Nobody is half-open without having been open. */
	assert(after != BREAKER_HALF_OPEN || before == BREAKER_OPEN);
	atomic_store_explicit(&breaker->state, (int)after, memory_order_release);
	change->happened = true;
	change->before = before;
	change->after = after;
	memcpy(change->reason, after == BREAKER_OPEN ? breaker->reason : "",
	    after == BREAKER_OPEN ? REASON_SIZE : 1);
}

static void
unlock_and_tell(struct breaker *breaker, const struct change *change)
{
	pthread_mutex_unlock(&breaker->lock);
	if (change->happened && breaker->changed != NULL) {
		breaker->changed(breaker, change->before, change->after, change->reason,
		    breaker->arg);
	}
}

static void
forget_calls(struct breaker *breaker)
{
	breaker->failures_in_a_row = 0;
	memset(breaker->window, 0, sizeof(breaker->window));
}

static void
open_it(struct breaker *breaker, int64_t now_ms, enum failure_kind kind, struct change *change)
{
	int64_t wait_ms = backoff_next_ms(&breaker->backoff);

	/* Asking again soon makes these worse: accounts get locked, quotas burn.
	 * Between half and all of max_open, so that a fleet spreads out. */
	if (kind == FAILURE_AUTH || kind == FAILURE_QUOTA) {
		struct backoff long_wait = breaker->backoff;
		long_wait.first_ms = long_wait.max_ms = breaker->policy.max_open_ms / 2;
		wait_ms = breaker->policy.max_open_ms / 2 + backoff_next_ms(&long_wait);
	}
	breaker->probe_at_ms = now_ms + wait_ms;
	enter(breaker, BREAKER_OPEN, change);
}

static struct window_slot *
window_slot(struct breaker *breaker, int64_t now_ms)
{
	int64_t second = now_ms / (WINDOW_MS / WINDOW_SLOTS);
	struct window_slot *slot = &breaker->window[second % WINDOW_SLOTS];

	if (slot->second != second)
		*slot = (struct window_slot){ .second = second };
	return slot;
}

static bool
rate_is_too_high(const struct breaker *breaker, int64_t now_ms)
{
	int64_t oldest = now_ms / (WINDOW_MS / WINDOW_SLOTS) - WINDOW_SLOTS + 1;
	int64_t good = 0, bad = 0;

	for (int i = 0; i < WINDOW_SLOTS; i++) {
		if (breaker->window[i].second < oldest)
			continue;
		good += breaker->window[i].good;
		bad += breaker->window[i].bad;
	}
	return good + bad >= RATE_MIN_CALLS &&
	    bad * 100 >= (good + bad) * breaker->policy.failure_rate;
}

static void
remember_reason(struct breaker *breaker, const char *reason)
{
	snprintf(breaker->reason, sizeof(breaker->reason), "%s", reason);
}

void
breaker_succeeded(struct breaker *breaker, int64_t now_ms)
{
	breaker_succeeded_often(breaker, now_ms, 1);
}

void
breaker_succeeded_often(struct breaker *breaker, int64_t now_ms, int64_t times)
{
	pthread_mutex_lock(&breaker->lock);
	breaker->failures_in_a_row = 0;
	window_slot(breaker, now_ms)->good += times;
	pthread_mutex_unlock(&breaker->lock);
}

void
breaker_failed(struct breaker *breaker, int64_t now_ms, enum failure_kind kind, const char *reason)
{
	struct change change = { 0 };

	pthread_mutex_lock(&breaker->lock);
	remember_reason(breaker, reason);
	window_slot(breaker, now_ms)->bad++;
	breaker->failures_in_a_row++;
	/* What is wrong with a certificate is not cured by asking again. */
	bool is_over = kind == FAILURE_AUTH || kind == FAILURE_QUOTA || kind == FAILURE_TLS ||
	    breaker->failures_in_a_row >= breaker->policy.failures ||
	    rate_is_too_high(breaker, now_ms);
	if (is_over && breaker_state(breaker) == BREAKER_CLOSED && breaker->force == BREAKER_AUTO)
		open_it(breaker, now_ms, kind, &change);
	unlock_and_tell(breaker, &change);
}

int64_t
breaker_probe_at(const struct breaker *breaker)
{
	struct breaker *b = (struct breaker *)breaker;

	pthread_mutex_lock(&b->lock);
	int64_t at_ms = breaker_state(b) == BREAKER_OPEN && b->force == BREAKER_AUTO
	    ? b->probe_at_ms
	    : TIME_NEVER;
	pthread_mutex_unlock(&b->lock);
	return at_ms;
}

bool
breaker_start_probe(struct breaker *breaker, int64_t now_ms)
{
	struct change change = { 0 };

	pthread_mutex_lock(&breaker->lock);
	bool may = breaker_state(breaker) == BREAKER_OPEN && breaker->force == BREAKER_AUTO &&
	    now_ms >= breaker->probe_at_ms;
	if (may)
		enter(breaker, BREAKER_HALF_OPEN, &change);
	unlock_and_tell(breaker, &change);
	return may;
}

void
breaker_probe_succeeded(struct breaker *breaker, int64_t now_ms)
{
	struct change change = { 0 };

	(void)now_ms;
	pthread_mutex_lock(&breaker->lock);
	if (breaker_state(breaker) == BREAKER_HALF_OPEN) {
		forget_calls(breaker);
		backoff_reset(&breaker->backoff);
		enter(breaker, BREAKER_CLOSED, &change);
	}
	unlock_and_tell(breaker, &change);
}

void
breaker_probe_failed(struct breaker *breaker, int64_t now_ms, enum failure_kind kind,
    const char *reason)
{
	struct change change = { 0 };

	pthread_mutex_lock(&breaker->lock);
	if (breaker_state(breaker) == BREAKER_HALF_OPEN) {
		remember_reason(breaker, reason);
		open_it(breaker, now_ms, kind, &change);
	}
	unlock_and_tell(breaker, &change);
}

void
breaker_ask_now(struct breaker *breaker, int64_t now_ms)
{
	pthread_mutex_lock(&breaker->lock);
	if (breaker_state(breaker) == BREAKER_OPEN && breaker->force == BREAKER_AUTO) {
		backoff_reset(&breaker->backoff);
		breaker->probe_at_ms = now_ms;
	}
	pthread_mutex_unlock(&breaker->lock);
}

void
breaker_force(struct breaker *breaker, enum breaker_force force, int64_t now_ms)
{
	struct change change = { 0 };

	pthread_mutex_lock(&breaker->lock);
	breaker->force = force;
	if (force == BREAKER_FORCE_OPEN) {
		remember_reason(breaker, "forced by SIDECAR BREAKER");
		enter(breaker, BREAKER_OPEN, &change);
	} else if (force == BREAKER_FORCE_CLOSE) {
		forget_calls(breaker);
		enter(breaker, BREAKER_CLOSED, &change);
	} else if (breaker_state(breaker) != BREAKER_CLOSED) {
		/* Back to automatic: ask the backend itself, now. */
		backoff_reset(&breaker->backoff);
		breaker->probe_at_ms = now_ms;
		if (breaker_state(breaker) == BREAKER_HALF_OPEN)
			enter(breaker, BREAKER_OPEN, &change);
	}
	unlock_and_tell(breaker, &change);
}

enum breaker_force
breaker_forced(const struct breaker *breaker)
{
	struct breaker *b = (struct breaker *)breaker;

	pthread_mutex_lock(&b->lock);
	enum breaker_force force = b->force;
	pthread_mutex_unlock(&b->lock);
	return force;
}

void
breaker_last_failure(const struct breaker *breaker, char *text, size_t size)
{
	struct breaker *b = (struct breaker *)breaker;

	pthread_mutex_lock(&b->lock);
	snprintf(text, size, "%s", b->reason);
	pthread_mutex_unlock(&b->lock);
}
