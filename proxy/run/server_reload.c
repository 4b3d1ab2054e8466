/*
 * Settings that take the place of others while it serves. First everything
 * new is made and found good; then it is put in place, and clients that are
 * there notice nothing. Main thread.
 */
#include <stdlib.h>

#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/settings_check.h"
#include "front/tls_context.h"
#include "ladder/keeper.h"
#include "ladder/limits.h"
#include "run/preflight.h"
#include "run/server_inside.h"
#include "run/worker.h"
#include "store/snapshot.h"
#include "upstream/postgres.h"

/* ---- what a reload replaces ---- */

struct breaker_policy
server_breaker_policy(const struct settings *settings)
{
	return (struct breaker_policy){
		.failures = settings->breaker.failures,
		.failure_rate = settings->breaker.failure_rate,
		.open_ms = settings->breaker.open_ms,
		.max_open_ms = settings->breaker.max_open_ms,
	};
}

struct cache_limits
server_cache_limits(const struct settings *settings)
{
	return (struct cache_limits){
		.max_entries = settings->cache.max_entries,
		.max_memory_bytes = settings->cache.max_memory,
		.max_value_bytes = settings->cache.max_value,
		.eviction =
		    settings->cache.eviction == EVICTION_LRU ? CACHE_EVICT_LRU : CACHE_EVICT_S3FIFO,
	};
}

void
server_add_rules(struct server *server, struct settings *settings)
{
	struct rules_age *age = alloc_zero(sizeof(*age));

	age->rules.settings = settings;
	age->rules.maps = maps_new(settings);
	age->older = server->rules;
	server->rules = age;
}

const struct settings *
server_settings(const struct server *server)
{
	return server->rules->rules.settings;
}

/* ---- what waits for a restart ---- */

/* To another place: not while it serves. */
struct moves {
	bool redis, postgres;
};

/* What belongs to another place goes there with the restart, too. */
static bool
is_of_a_move(const char *name, const struct moves *moves)
{
	static const char *const of_redis[] = { "redis.url", "redis.token", "redis.tls_ca" };

	for (size_t i = 0; moves->redis && i < sizeof(of_redis) / sizeof(of_redis[0]); i++) {
		if (strcmp(name, of_redis[i]) == 0)
			return true;
	}
	return moves->postgres && strcmp(name, "postgres.url") == 0;
}

/* Said at every reload for as long as the file and what is in force differ. */
static bool
waits_for_restart(const char *name, bool reloads, void *arg)
{
	if (reloads && !is_of_a_move(name, arg))
		return false;
	log_warn("reload: %s needs a restart to take effect", name);
	return true;
}

/*
 * From here on `settings` tells what will be in force, and that has to hold as
 * a whole: a password may go with the address that needs it, not before it.
 */
static bool
keep_what_waits(const struct server *server, struct settings *settings,
    const struct preflight *found, char *error, size_t size)
{
	const struct settings *in_force = server_settings(server);
	struct moves moves = {
		.redis =
		    !redis_target_is_same_place(server->backends.redis_target, found->redis_target),
		.postgres =
		    !postgres_url_is_same_place(in_force->postgres.url, settings->postgres.url),
	};

	settings_keep(settings, in_force, waits_for_restart, &moves);
	return settings_check(settings, error, size);
}

/* ---- the reload ---- */

static void
say_change(const char *name, bool takes_effect, void *arg)
{
	(void)takes_effect, (void)arg; /* what does not was kept as it is */
	log_info("reload: %s has changed", name);
}

/* Clients that are there keep the certificate with which they came. */
static void
take_certificate(struct server *server, struct preflight *found)
{
	SSL_CTX *old = server->tls;

	if (!tls_context_equal(old, found->tls))
		preflight_say_certificate(found->tls);
	server->tls = found->tls;
	found->tls = NULL;
	SSL_CTX_free(old);
}

/* Connections that stand have logged in, and stay. Not for another Redis. */
static void
take_redis_access(struct server *server, const struct preflight *found)
{
	struct redis_target *target = server->backends.redis_target;

	if (target == NULL || found->redis_target == NULL)
		return;
	bool is_taken = redis_target_renew(target, found->redis_target);
	(void)is_taken;
}

/* What was down for a wrong password may be up with the new one. */
static void
ask_backends(struct server *server)
{
	breaker_ask_now(server->backends.redis, clock_mono_ms());
	breaker_ask_now(server->backends.postgres, clock_mono_ms());
	keeper_on_breaker(server->backends.keeper, server->backends.redis);
}

static void
put_in_place(struct server *server, struct settings *settings)
{
	struct breaker_policy policy = server_breaker_policy(settings);
	struct cache_limits limits = server_cache_limits(settings);

	server_add_rules(server, settings);
	log_setup((enum log_level)settings->server.log_level,
	    (enum log_format)settings->server.log_format);
	breaker_set_policy(server->backends.redis, &policy);
	breaker_set_policy(server->backends.postgres, &policy);
	cache_set_limits(server->backends.cache, &limits);
	snapshot_set_every(server->snapshot, settings->snapshot.every_ms);
	server->most_clients = preflight_descriptors(settings->listen.max_clients);
	limits_set(server->backends.limits, settings->limits.per_user, settings->limits.per_ip);
	keeper_set_rules(server->backends.keeper, &server->rules->rules);
	for (size_t i = 0; i < server->census.worker_count; i++)
		worker_set_rules(server->workers[i], &server->rules->rules);
	ask_backends(server);
}

void
server_reload(struct server *server)
{
	char error[SETTINGS_ERROR_SIZE];
	struct preflight found = { .tls = NULL };
	struct settings *settings = settings_load(server->arguments->file,
	    server->arguments->overrides, server->arguments->override_count, error, sizeof(error));

	if (settings == NULL || !preflight_make(settings, &found, error, sizeof(error)) ||
	    !keep_what_waits(server, settings, &found, error, sizeof(error))) {
		log_error("reload refused, nothing has changed: %s", error);
		preflight_drop(&found);
		settings_free(settings);
		return;
	}
	settings_compare(server_settings(server), settings, say_change, NULL);
	take_redis_access(server, &found);
	take_certificate(server, &found);
	preflight_drop(&found);
	put_in_place(server, settings);
	log_info("reload done");
}
