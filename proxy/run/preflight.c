/* See preflight.h. */
#include "run/preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <openssl/ssl.h>

#include "base/log.h"
#include "base/settings_entries.h"
#include "front/tls_context.h"
#include "upstream/postgres.h"

#define SPARE_DESCRIPTORS 256 /* beside clients: links, pool, logs, libraries */

static bool
make_redis_target(const struct settings *settings, struct preflight *preflight, char *error,
    size_t size)
{
	char phrase[SETTINGS_ERROR_SIZE / 2];

	if (settings->redis.url[0] == '\0')
		return true;
	preflight->redis_target = redis_target_new(settings->redis.url, settings->redis.token,
	    settings->redis.tls_ca, phrase, sizeof(phrase));
	return preflight->redis_target != NULL ||
	    settings_blame(settings, NULL, setting_find("redis", "url"), error, size, "%s", phrase);
}

static bool
check_postgres_url(const struct settings *settings, const char *key, const char *url, char *error,
    size_t size)
{
	char phrase[SETTINGS_ERROR_SIZE / 2];
	char *conninfo, dropped[512];

	if (url[0] == '\0')
		return true;
	if (!postgres_clean_url(url, &conninfo, dropped, sizeof(dropped), phrase, sizeof(phrase)))
		return settings_blame(settings, NULL, setting_find("postgres", key), error, size,
		    "%s", phrase);
	free(conninfo);
	return true;
}

bool
preflight_make(const struct settings *settings, struct preflight *preflight, char *error,
    size_t size)
{
	*preflight = (struct preflight){ .has_postgres = settings->postgres.url[0] != '\0' };
	if (tls_context_new(settings, &preflight->tls, error, size) &&
	    make_redis_target(settings, preflight, error, size) &&
	    check_postgres_url(settings, "url", settings->postgres.url, error, size) &&
	    check_postgres_url(settings, "listen_url", settings->postgres.listen_url, error, size))
		return true;
	preflight_drop(preflight);
	return false;
}

void
preflight_drop(struct preflight *preflight)
{
	SSL_CTX_free(preflight->tls);
	redis_target_free(preflight->redis_target);
	*preflight = (struct preflight){ .tls = NULL };
}

void
preflight_say_certificate(SSL_CTX *tls)
{
	char text[256];

	if (tls == NULL)
		return;
	tls_context_describe(tls, text, sizeof(text));
	log_info("tls: %s", text);
}

void
preflight_say(const struct settings *settings, const struct preflight *preflight)
{
	char name[256];

	preflight_say_certificate(preflight->tls);
	if (preflight->redis_target == NULL) {
		log_warn("no Redis is configured ([redis] url): commands that need one fail");
	} else {
		redis_target_name(preflight->redis_target, name, sizeof(name));
		log_info("redis: %s", name);
	}
	if (!preflight->has_postgres && settings->map_count > 0)
		log_warn("no Postgres is configured ([postgres] url)");
}

int64_t
preflight_descriptors(int64_t max_clients)
{
	struct rlimit limit, raised;
	rlim_t wanted = (rlim_t)max_clients + SPARE_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return max_clients;
	raised = limit;
	raised.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	if (limit.rlim_cur >= wanted)
		return max_clients;
	rlim_t half = limit.rlim_cur / 2;
	rlim_t room = limit.rlim_cur - (half < SPARE_DESCRIPTORS ? half : SPARE_DESCRIPTORS);
	log_warn("[listen] max_clients: %lld clients need %llu descriptors, the limit is %llu: "
		 "%llu are let in",
	    (long long)max_clients, (unsigned long long)wanted, (unsigned long long)limit.rlim_cur,
	    (unsigned long long)room);
	return (int64_t)room < max_clients ? (int64_t)room : max_clients;
}
