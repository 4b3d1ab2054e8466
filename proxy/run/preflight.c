/* See preflight.h. */
#include "run/preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "upstream/postgres.h"

#define SPARE_DESCRIPTORS 256 /* beside clients: links, pool, logs, libraries */

static bool
redis_target(const struct settings *settings, struct backends *backends, char *error, size_t size)
{
	char name[256];

	if (settings->redis.url[0] == '\0') {
		log_warn("no Redis is configured ([redis] url): commands that need one fail");
		return true;
	}
	backends->redis_target = redis_target_new(settings->redis.url, settings->redis.token,
	    settings->redis.tls_ca, error, size);
	if (backends->redis_target == NULL)
		return false;
	redis_target_name(backends->redis_target, name, sizeof(name));
	log_info("redis: %s", name);
	return true;
}

static bool
postgres_url(const struct settings *settings, struct backends *backends, char *error, size_t size)
{
	char *conninfo, dropped[512];

	backends->has_postgres = settings->postgres.url[0] != '\0';
	if (!backends->has_postgres) {
		if (settings->map_count > 0)
			log_warn("no Postgres is configured ([postgres] url)");
		return true;
	}
	if (!postgres_clean_url(settings->postgres.url, &conninfo, dropped, sizeof(dropped), error,
		size))
		return false;
	free(conninfo);
	return true;
}

bool
preflight_targets(const struct settings *settings, struct backends *backends, char *error,
    size_t size)
{
	/* What is asked to be encrypted is not served in the clear. */
	if (settings->listen.tls_cert[0] != '\0') {
		snprintf(error, size, "[listen] tls_cert: this version has no TLS for clients");
		return false;
	}
	return redis_target(settings, backends, error, size) &&
	    postgres_url(settings, backends, error, size);
}

/* Settings whose part of the work is not there yet: said, not ignored. */
void
preflight_warn(const struct settings *settings)
{
	const struct {
		const char *name;
		bool is_set;
	} unserved[] = {
		{ "[snapshot] file", settings->snapshot.file[0] != '\0' },
		{ "[warm] query", settings->warm.query[0] != '\0' },
		{ "[limits]",
		    settings->limits.per_user.count > 0 || settings->limits.per_ip.count > 0 },
	};

	for (size_t i = 0; i < sizeof(unserved) / sizeof(unserved[0]); i++) {
		if (unserved[i].is_set)
			log_info("%s has no effect in this version", unserved[i].name);
	}
}

/* Some descriptors are not ours to give; the rest bounds the clients. */
void
preflight_descriptors(int64_t max_clients)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)max_clients + SPARE_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < wanted)
		log_warn("[listen] max_clients: %lld clients need %llu descriptors, the limit is "
			 "%llu: more connections than that will wait",
		    (long long)max_clients, (unsigned long long)wanted,
		    (unsigned long long)limit.rlim_cur);
}
