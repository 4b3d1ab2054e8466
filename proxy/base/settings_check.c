/* See settings_check.h. */
#include "base/settings_check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/settings_entries.h"
#include "base/settings_value.h"

#define REDIS_PORT 6379
#define SNAPSHOT_KEY_DIGITS 64

/* Where messages go to, and how one is made: blame(check, "section", "key",
 * "what is wrong") is false. */
struct check {
	const struct settings *settings;
	char *error;
	size_t error_size;
};

#define blame(check, section, key, ...) \
	settings_blame((check)->settings, NULL, setting_find(section, key), (check)->error, \
	    (check)->error_size, __VA_ARGS__)

static bool
is_set(const char *text)
{
	return text[0] != '\0';
}

static bool
is_ip(const char *text)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool
is_loopback(const char *text)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(text, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, text, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static bool
is_everywhere(const char *text)
{
	return strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0;
}

/* Listening and TLS. */

static bool
check_addresses(const struct check *check)
{
	const struct settings *s = check->settings;

	if (!is_ip(s->listen.address))
		return blame(check, "listen", "address",
		    "\"%.*s\" is not an IP address (for example 127.0.0.1)", SETTINGS_SHOWN_BYTES,
		    s->listen.address);
	if (!is_ip(s->admin.address))
		return blame(check, "admin", "address",
		    "\"%.*s\" is not an IP address (for example 127.0.0.1)", SETTINGS_SHOWN_BYTES,
		    s->admin.address);
	if (!is_loopback(s->listen.address) && !is_set(s->listen.password) &&
	    !is_set(s->listen.tls_client_ca))
		return blame(check, "listen", "address",
		    "%s can be reached by others: set password or tls_client_ca",
		    s->listen.address);
	if (s->listen.port == s->admin.port &&
	    (strcmp(s->listen.address, s->admin.address) == 0 || is_everywhere(s->listen.address) ||
		is_everywhere(s->admin.address)))
		return blame(check, "admin", "port", "%d is also the port of [listen]",
		    (int)s->admin.port);
	if (strlen(s->listen.socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return blame(check, "listen", "socket",
		    "is longer than a socket's path may be (%zu bytes)",
		    sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return true;
}

static bool
check_tls(const struct check *check)
{
	const struct settings *s = check->settings;

	if (is_set(s->listen.tls_cert) && !is_set(s->listen.tls_key))
		return blame(check, "listen", "tls_cert", "needs tls_key, too");
	if (is_set(s->listen.tls_key) && !is_set(s->listen.tls_cert))
		return blame(check, "listen", "tls_key", "needs tls_cert, too");
	if (is_set(s->listen.tls_client_ca) && !is_set(s->listen.tls_cert))
		return blame(check, "listen", "tls_client_ca", "needs tls_cert and tls_key, too");
	return true;
}

/* Backends. No message repeats a URL: there may be a password in it, perhaps
 * not even where a password belongs. */

struct endpoint {
	char host[256];
	int64_t port;
};

/* "host:port", "host" or "[v6]:port". */
static bool
split_host(struct slice text, struct endpoint *endpoint)
{
	struct slice host = text, port = SLICE_NONE;
	const char *close =
	    text.len > 0 && text.at[0] == '[' ? memchr(text.at, ']', text.len) : NULL;
	const char *colon;

	if (close != NULL) {
		host = slice_make(text.at + 1, (size_t)(close - text.at - 1));
		colon = close + 1 < text.at + text.len ? close + 1 : NULL;
		if (colon != NULL && *colon != ':')
			return false;
	} else {
		colon = memchr(text.at, ':', text.len);
		if (colon != NULL)
			host.len = (size_t)(colon - text.at);
	}
	endpoint->port = REDIS_PORT;
	if (colon != NULL) {
		port = slice_make(colon + 1, (size_t)(text.at + text.len - colon - 1));
		if (!slice_to_int64(port, &endpoint->port) || endpoint->port < 1 ||
		    endpoint->port > 65535)
			return false;
	}
	if (host.len >= sizeof(endpoint->host))
		return false;
	snprintf(endpoint->host, sizeof(endpoint->host), "%.*s", (int)host.len, host.at);
	return true;
}

static bool
split_redis_url(const char *url, struct endpoint *endpoint)
{
	const char *start = strstr(url, "://") + 3;
	struct slice authority = { start, strcspn(start, "/?#") };
	const char *at = memrchr(authority.at, '@', authority.len);

	if (at != NULL)
		authority = slice_make(at + 1, authority.len - (size_t)(at + 1 - authority.at));
	return split_host(authority, endpoint);
}

/* Two different addresses in 127.0.0.0/8 are two places. */
static bool
is_us(const struct settings *s, const struct endpoint *redis)
{
	const char *ours = s->listen.address;
	bool is_here = is_loopback(redis->host) || is_everywhere(redis->host);

	if (redis->port != s->listen.port)
		return false;
	if (strcasecmp(redis->host, ours) == 0)
		return true;
	if (is_everywhere(ours) || is_everywhere(redis->host))
		return is_here && (is_loopback(ours) || is_everywhere(ours));
	if (strncmp(ours, "127.", 4) == 0 && strncmp(redis->host, "127.", 4) == 0)
		return false;
	return is_here && is_loopback(ours);
}

static bool
check_redis_socket(const struct check *check, const char *path)
{
	size_t len = strcspn(path, "?");

	if (len == 0)
		return blame(check, "redis", "url",
		    "names no socket (for example unix:///run/redis/redis.sock)");
	if (slice_equal(slice_make(path, len), slice_of(check->settings->listen.socket)))
		return blame(check, "redis", "url",
		    "is our own socket: sidecar would forward to itself");
	return true;
}

static bool
check_redis(const struct check *check)
{
	static const char *const schemes[] = { "redis://", "rediss://", "https://" };
	const char *url = check->settings->redis.url;
	struct endpoint endpoint = { "", 0 };
	bool is_known = false;

	if (!is_set(url))
		return true;
	if (strncasecmp(url, "http://", 7) == 0)
		return blame(check, "redis", "url",
		    "http:// would send the token unencrypted (take https://, or redis:// for a "
		    "Redis of your own)");
	if (strncasecmp(url, "unix://", 7) == 0)
		return check_redis_socket(check, url + 7);
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		is_known = is_known || strncasecmp(url, schemes[i], strlen(schemes[i])) == 0;
	if (!is_known)
		return blame(check, "redis", "url",
		    "does not begin with redis://, rediss://, unix:// or https:// (for example "
		    "redis://127.0.0.1:6379)");
	if (!split_redis_url(url, &endpoint))
		return blame(check, "redis", "url",
		    "names no usable host and port (for example redis://127.0.0.1:6379)");
	if (!is_set(endpoint.host))
		return blame(check, "redis", "url",
		    "names no host (for example redis://127.0.0.1:6379)");
	if (is_us(check->settings, &endpoint))
		return blame(check, "redis", "url",
		    "is our own address and port: sidecar would forward to itself");
	return true;
}

static bool
is_postgres_url(const char *url)
{
	if (!is_set(url) || strncmp(url, "postgres://", 11) == 0 ||
	    strncmp(url, "postgresql://", 13) == 0)
		return true;
	/* libpq's "host=... dbname=..." */
	return strstr(url, "://") == NULL && strchr(url, '=') != NULL;
}

static bool
check_postgres(const struct check *check)
{
	if (!is_postgres_url(check->settings->postgres.url))
		return blame(check, "postgres", "url",
		    "does not begin with postgres:// or postgresql:// (for example "
		    "postgres://app@127.0.0.1:6432/app)");
	if (!is_postgres_url(check->settings->postgres.listen_url))
		return blame(check, "postgres", "listen_url",
		    "does not begin with postgres:// or postgresql:// (for example "
		    "postgres://app@127.0.0.1:5432/app)");
	return true;
}

/* The rest. */

static bool
check_snapshot(const struct check *check)
{
	const struct settings *s = check->settings;
	size_t digits = 0;

	if (!is_set(s->snapshot.file))
		return true;
	if (!is_set(s->snapshot.key))
		return blame(check, "snapshot", "file",
		    "needs key, too: 64 hex digits (openssl rand -hex 32)");
	while (isxdigit((unsigned char)s->snapshot.key[digits]))
		digits++;
	if (digits != SNAPSHOT_KEY_DIGITS || s->snapshot.key[digits] != '\0')
		return blame(check, "snapshot", "key",
		    "is not 64 hex digits (openssl rand -hex 32)");
	return true;
}

static bool
check_breaker(const struct check *check)
{
	struct buf open = BUF_EMPTY;

	if (check->settings->breaker.max_open_ms >= check->settings->breaker.open_ms)
		return true;
	setting_format(setting_find("breaker", "open"), &check->settings->breaker.open_ms, &open);
	blame(check, "breaker", "max_open", "is less than open (%.*s)", (int)buf_len(&open),
	    buf_slice(&open).at);
	buf_free(&open);
	return false;
}

static bool
check_warm(const struct check *check)
{
	const struct settings *s = check->settings;

	if (is_set(s->warm.query) && !is_set(s->warm.map))
		return blame(check, "warm", "query", "needs map, too");
	if (is_set(s->warm.map) && settings_find_map(s, slice_of(s->warm.map)) == s->map_count)
		return blame(check, "warm", "map", "there is no [map %.*s]", SETTINGS_SHOWN_BYTES,
		    s->warm.map);
	return true;
}

bool
settings_check(const struct settings *settings, char *error, size_t error_size)
{
	static bool (*const checks[])(const struct check *) = {
		check_addresses,
		check_tls,
		check_redis,
		check_postgres,
		check_snapshot,
		check_breaker,
		check_warm,
	};
	struct check check = { settings, error, error_size };

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (!checks[i](&check))
			return false;
	}
	return true;
}

static void
warn_of_admin(const struct settings *s)
{
	if (!is_loopback(s->admin.address))
		log_warn("settings: admin.address %s can be reached by others, and the admin "
			 "pages know no password",
		    s->admin.address);
}

static void
warn_of_budgets(const struct settings *s)
{
	if (is_set(s->redis.url) && s->redis.budget_ms > s->ladder.deadline_ms)
		log_warn(
		    "settings: redis.budget is longer than ladder.deadline, which cuts it short");
	if (is_set(s->postgres.url) && s->postgres.budget_ms > s->ladder.deadline_ms)
		log_warn("settings: postgres.budget is longer than ladder.deadline: a reply that "
			 "comes later still fills, but answers nobody");
}

void
settings_warn(const struct settings *settings)
{
	warn_of_admin(settings);
	warn_of_budgets(settings);
}
