/*
 * Settings that take the place of others while it serves. First everything
 * new is made and found good; then it is put in place, and clients that are
 * there notice nothing. Main thread.
 */
#include <stdlib.h>

#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/log.h"
#include "front/tls_context.h"
#include "ladder/keeper.h"
#include "ladder/limits.h"
#include "run/preflight.h"
#include "run/server_inside.h"
#include "run/worker.h"
#include "store/snapshot.h"

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

/* ---- the reload ---- */

static void
log_setting_change(const char *name, bool takes_effect, void *arg)
{
	(void)arg;
	if (takes_effect)
		log_info("reload: %s has changed", name);
	else
		log_warn("reload: %s needs a restart to take effect", name);
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

void
server_reload(struct server *server)
{
	char error[SETTINGS_ERROR_SIZE];
	struct settings *settings = settings_load(server->arguments->file,
	    server->arguments->overrides, server->arguments->override_count, error, sizeof(error));

	if (settings == NULL) {
		log_error("reload refused, nothing has changed: %s", error);
		return;
	}
	struct preflight found;
	if (!preflight_make(settings, &found, error, sizeof(error))) {
		log_error("reload refused, nothing has changed: %s", error);
		settings_free(settings);
		return;
	}
	settings_compare(server_settings(server), settings, log_setting_change, NULL);
	take_certificate(server, &found);
	preflight_drop(&found);
	server_add_rules(server, settings);
	log_setup((enum log_level)settings->server.log_level,
	    (enum log_format)settings->server.log_format);
	struct breaker_policy policy = server_breaker_policy(settings);
	breaker_set_policy(server->backends.redis, &policy);
	breaker_set_policy(server->backends.postgres, &policy);
	snapshot_set_every(server->snapshot, settings->snapshot.every_ms);
	limits_set(server->backends.limits, settings->limits.per_user, settings->limits.per_ip);
	keeper_set_rules(server->backends.keeper, &server->rules->rules);
	for (size_t i = 0; i < server->census.worker_count; i++)
		worker_set_rules(server->workers[i], &server->rules->rules);
	log_info("reload done");
}
