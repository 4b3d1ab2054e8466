/* See keeper.h. */
#include "ladder/keeper.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ladder/coherence.h"
#include "ladder/prober.h"
#include "ladder/row_changes.h"
#include "upstream/resolve.h"

#define UNKNOWN_VERSION "7.0.15" /* whose commands wire/commands.inc has */
#define HELD_RETRY_MS 50         /* how often to look at journal keys that are held */

struct keeper {
	struct event_base *base;
	struct evdns_base *dns;
	struct mailbox *mailbox;
	struct backends *backends;
	struct postgres *postgres;
	struct prober *prober;       /* NULL: no Redis is configured */
	struct coherence *coherence; /* the same */
	struct row_changes *changes; /* NULL: nobody announces any */
	struct event *timer;         /* the next thing that is due */
	struct letter nudge;         /* "look again", posted at most once at a time */
	_Atomic bool is_nudged, has_postgres_changed;
	struct letter stop;
	struct redis_metrics redis_metrics;
	struct postgres_metrics postgres_metrics;
};

/* ---- deciding what to do ---- */

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
look_after_redis(struct keeper *keeper, int64_t now_ms)
{
	struct breaker *breaker = keeper->backends->redis;

	if (keeper->prober == NULL)
		return;
	if (breaker_start_probe(breaker, now_ms))
		prober_probe(keeper->prober);
	else if (breaker_allows(breaker) && prober_repair_at(keeper->prober, now_ms) <= now_ms)
		prober_repair(keeper->prober);
}

static void
set_timer(struct keeper *keeper, int64_t now_ms)
{
	int64_t at_ms = earliest(breaker_probe_at(keeper->backends->redis),
	    breaker_probe_at(keeper->backends->postgres));

	if (keeper->prober != NULL && breaker_allows(keeper->backends->redis))
		at_ms = earliest(at_ms, prober_repair_at(keeper->prober, now_ms));
	if (at_ms == TIME_NEVER) {
		event_del(keeper->timer);
		return;
	}
	int64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : HELD_RETRY_MS;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };
	event_add(keeper->timer, &wait);
}

static void
look(struct keeper *keeper)
{
	int64_t now_ms = clock_mono_ms();

	look_after_redis(keeper, now_ms);
	/* What follows for the pool comes by way of keeper_on_breaker(). */
	bool is_probing = breaker_start_probe(keeper->backends->postgres, now_ms);
	(void)is_probing;
	set_timer(keeper, now_ms);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	look(arg);
}

static void
on_nudge(struct letter *letter)
{
	struct keeper *keeper = (struct keeper *)((char *)letter - offsetof(struct keeper, nudge));

	atomic_store(&keeper->is_nudged, false);
	/* A forced breaker takes a probe's verdict away. */
	if (keeper->prober != NULL && breaker_state(keeper->backends->redis) == BREAKER_OPEN)
		prober_stop(keeper->prober);
	if (keeper->coherence != NULL) {
		coherence_on_breaker(keeper->coherence);
		coherence_flush(keeper->coherence);
	}
	if (atomic_exchange(&keeper->has_postgres_changed, false))
		postgres_on_breaker(keeper->postgres);
	look(keeper);
}

static void
nudge(struct keeper *keeper)
{
	if (!atomic_exchange(&keeper->is_nudged, true))
		mailbox_post(keeper->mailbox, &keeper->nudge);
}

/* The prober is idle again: is there more for it to do, now or later? */
static void
on_run_ended(void *arg)
{
	nudge(arg);
}

/* ---- life ---- */

static struct prober_times
times_of(const struct settings *settings)
{
	return (struct prober_times){
		.connect_ms = backends_connect_ms(settings),
		.ping_ms = settings->redis.budget_ms,
	};
}

struct keeper *
keeper_new(struct backends *backends, const struct rules *rules)
{
	struct keeper *keeper = alloc_zero(sizeof(*keeper));
	struct prober_times times = times_of(rules->settings);

	keeper->backends = backends;
	keeper->base = event_base_new();
	if (keeper->base == NULL)
		abort();
	keeper->dns = resolve_base_new(keeper->base);
	keeper->mailbox = mailbox_new(keeper->base);
	keeper->timer = event_new(keeper->base, -1, 0, on_timer, keeper);
	keeper->nudge.deliver = on_nudge;
	keeper->postgres = postgres_new(keeper->base, keeper->dns, rules->settings,
	    backends->postgres, &keeper->postgres_metrics);
	if (backends->redis_target != NULL) {
		keeper->prober = prober_new(keeper->base, keeper->dns, backends, &times,
		    &keeper->redis_metrics, on_run_ended, keeper);
		keeper->coherence = coherence_new(keeper->base, keeper->dns, backends, rules,
		    &keeper->redis_metrics);
	}
	keeper->changes = row_changes_new(keeper->base, keeper->dns, backends, rules);
	backends->keeper = keeper;
	return keeper;
}

void
keeper_run(struct keeper *keeper)
{
	look(keeper);
	event_base_dispatch(keeper->base);
}

static void
on_stop(struct letter *letter)
{
	struct keeper *keeper = (struct keeper *)((char *)letter - offsetof(struct keeper, stop));

	event_base_loopbreak(keeper->base);
}

void
keeper_stop(struct keeper *keeper)
{
	keeper->stop.deliver = on_stop;
	mailbox_post(keeper->mailbox, &keeper->stop);
}

void
keeper_free(struct keeper *keeper)
{
	if (keeper == NULL)
		return;
	/* Letters first: lookups that have not reached the pool end with it. */
	mailbox_free(keeper->mailbox);
	postgres_free(keeper->postgres);
	row_changes_free(keeper->changes);
	prober_free(keeper->prober);
	coherence_free(keeper->coherence);
	event_free(keeper->timer);
	/* A cancelled query says so once more before its base may go. */
	event_base_loop(keeper->base, EVLOOP_NONBLOCK);
	resolve_base_free(keeper->dns);
	event_base_free(keeper->base);
	free(keeper);
}

/* ---- from other threads ---- */

void
keeper_post_all(struct keeper *keeper, struct letter *first)
{
	mailbox_post_all(keeper->mailbox, first);
}

void
keeper_on_breaker(struct keeper *keeper, struct breaker *breaker)
{
	if (breaker == keeper->backends->postgres)
		atomic_store(&keeper->has_postgres_changed, true);
	nudge(keeper);
}

void
keeper_journal_changed(struct keeper *keeper)
{
	if (breaker_allows(keeper->backends->redis) &&
	    journal_pending(keeper->backends->journal) > 0)
		nudge(keeper);
}

void
keeper_publish(struct keeper *keeper, struct slice key)
{
	if (keeper->coherence != NULL && coherence_publish(keeper->coherence, key))
		nudge(keeper);
}

void
keeper_note_fill(struct keeper *keeper, struct slice key)
{
	if (keeper->coherence != NULL)
		coherence_note_fill(keeper->coherence, key);
}

void
keeper_forget_fill(struct keeper *keeper, struct slice key)
{
	if (keeper->coherence != NULL)
		coherence_forget_fill(keeper->coherence, key);
}

enum coherence_mode
keeper_coherence(const struct keeper *keeper)
{
	return keeper->coherence != NULL ? coherence_mode_now(keeper->coherence) : COHERENCE_TTL;
}

int64_t
keeper_invalidations(const struct keeper *keeper)
{
	return keeper->coherence != NULL ? coherence_invalidations(keeper->coherence) : 0;
}

bool
keeper_hears_rows(const struct keeper *keeper)
{
	return row_changes_is_heard(keeper->changes);
}

int64_t
keeper_changed_rows(const struct keeper *keeper)
{
	return row_changes_count(keeper->changes);
}

struct orphan_letter {
	struct letter letter;
	struct keeper *keeper;
	int64_t client_id;
};

static void
on_orphan(struct letter *letter)
{
	struct orphan_letter *orphan = (struct orphan_letter *)letter;
	struct keeper *keeper = orphan->keeper;

	if (keeper->prober != NULL)
		prober_add_orphan(keeper->prober, orphan->client_id);
	free(orphan);
	look(keeper);
}

void
keeper_add_orphan(struct keeper *keeper, int64_t client_id)
{
	struct orphan_letter *orphan = alloc_zero(sizeof(*orphan));

	orphan->letter.deliver = on_orphan;
	orphan->keeper = keeper;
	orphan->client_id = client_id;
	mailbox_post(keeper->mailbox, &orphan->letter);
}

struct rules_letter {
	struct letter letter;
	struct keeper *keeper;
	const struct rules *rules;
};

static void
on_rules(struct letter *letter)
{
	struct rules_letter *change = (struct rules_letter *)letter;
	struct keeper *keeper = change->keeper;
	struct prober_times times = times_of(change->rules->settings);

	postgres_set_settings(keeper->postgres, change->rules->settings);
	row_changes_set_rules(keeper->changes, change->rules);
	if (keeper->prober != NULL)
		prober_set_times(keeper->prober, &times);
	if (keeper->coherence != NULL)
		coherence_set_rules(keeper->coherence, change->rules);
	free(change);
}

void
keeper_set_rules(struct keeper *keeper, const struct rules *rules)
{
	struct rules_letter *change = alloc_zero(sizeof(*change));

	change->letter.deliver = on_rules;
	change->keeper = keeper;
	change->rules = rules;
	mailbox_post(keeper->mailbox, &change->letter);
}

const struct postgres_metrics *
keeper_postgres_metrics(const struct keeper *keeper)
{
	return &keeper->postgres_metrics;
}

const struct redis_metrics *
keeper_redis_metrics(const struct keeper *keeper)
{
	return &keeper->redis_metrics;
}

void
keeper_lookup(struct keeper *keeper, struct lookup *lookup)
{
	postgres_lookup(keeper->postgres, lookup);
}

void
keeper_read_ids(struct keeper *keeper, struct id_query *query)
{
	postgres_read_ids(keeper->postgres, query);
}

bool
keeper_has_met_redis(const struct keeper *keeper)
{
	return keeper->prober != NULL && prober_has_met_redis(keeper->prober);
}

void
keeper_redis_version(const struct keeper *keeper, char *version, size_t size)
{
	version[0] = '\0';
	if (keeper->prober != NULL)
		redis_identity_version(prober_redis(keeper->prober), version, size);
	if (version[0] == '\0')
		snprintf(version, size, "%s", UNKNOWN_VERSION);
}

bool
keeper_knows_valid_until(const struct keeper *keeper, const struct map_settings *map)
{
	return postgres_map_has_valid_until(keeper->postgres, map);
}
