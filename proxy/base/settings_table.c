/*
 * See settings_table.h. The order of the rows is the order of sidecar.ini, of
 * --print-config and of sidecar.ini(5).
 */
#include "base/settings_table.h"

#include "base/log.h"

#define KB INT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEAR (365 * DAY)

#define AT(field) offsetof(struct settings, field)
#define IN_MAP(field) offsetof(struct map_settings, field)

#define RELOADS SETTING_RELOADS
#define SECRET SETTING_SECRET

/* Each in the order of its enum. */
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const evictions[] = { "s3fifo", "lru", NULL };
static const char *const coherences[] = { "auto", "tracking", "broadcast", "ttl", NULL };
static const char *const missings[] = { "nil", "free", NULL };
static const char *const types[] = { "string", "hash", NULL };

_Static_assert(LOG_DEBUG == 0 && LOG_ERROR == 3 && LOG_TEXT == 0 && LOG_JSON == 1, "log");
_Static_assert(EVICTION_S3FIFO == 0 && EVICTION_LRU == 1, "eviction");
_Static_assert(COHERENCE_AUTO == 0 && COHERENCE_TTL == 3, "coherence");
_Static_assert(MISSING_NIL == 0 && MISSING_FREE == 1, "missing");
_Static_assert(MAP_STRING == 0 && MAP_HASH == 1, "type");

/* clang-format off */
const struct setting settings_table[] = {
	{ "listen", "address", SETTING_TEXT, AT(listen.address), "127.0.0.1", 0, 0,
	  SETTING_REQUIRED, "127.0.0.1",
	  "IP address to serve on; anything but loopback requires password or tls_client_ca", NULL },
	{ "listen", "port", SETTING_INTEGER, AT(listen.port), "6380", 1, 65535,
	  0, "6380", "TCP port to serve on", NULL },
	{ "listen", "socket", SETTING_TEXT, AT(listen.socket), "", 0, 0,
	  0, "/run/sidecar/sidecar.sock", "path of a unix socket to serve on as well; empty: none", NULL },
	{ "listen", "password", SETTING_TEXT, AT(listen.password), "", 0, 0,
	  SECRET | RELOADS, "${SIDECAR_PASSWORD}", "what clients must AUTH with; empty: nothing", NULL },
	{ "listen", "tls_cert", SETTING_TEXT, AT(listen.tls_cert), "", 0, 0,
	  SETTING_READABLE | RELOADS, "/etc/sidecar/cert.pem", "certificate chain (PEM) for TLS on the port; empty: no TLS", NULL },
	{ "listen", "tls_key", SETTING_TEXT, AT(listen.tls_key), "", 0, 0,
	  SETTING_READABLE | RELOADS, "/etc/sidecar/key.pem", "private key (PEM) of tls_cert", NULL },
	{ "listen", "tls_client_ca", SETTING_TEXT, AT(listen.tls_client_ca), "", 0, 0,
	  SETTING_READABLE | RELOADS, "/etc/sidecar/clients.pem", "CA (PEM) that client certificates must come from; empty: clients need none", NULL },
	{ "listen", "max_clients", SETTING_INTEGER, AT(listen.max_clients), "20000", 1, 1000000,
	  RELOADS, "20000", "clients connected at a time; more are refused", NULL },
	{ "listen", "max_request", SETTING_SIZE, AT(listen.max_request), "64mb", KB, GB,
	  RELOADS, "64mb", "bytes of one command; a client that sends more is disconnected", NULL },
	{ "listen", "max_args", SETTING_INTEGER, AT(listen.max_args), "1048576", 1, 16777216,
	  RELOADS, "1048576", "arguments of one command; a client that sends more is disconnected", NULL },
	{ "listen", "max_pipeline", SETTING_INTEGER, AT(listen.max_pipeline), "10000", 1, 1000000,
	  RELOADS, "10000", "commands of one client under way; the rest waits unread", NULL },
	{ "listen", "output_limit", SETTING_SIZE, AT(listen.output_limit), "8mb", KB, GB,
	  RELOADS, "8mb", "bytes of replies that a client may leave unread before its commands wait unread, too", NULL },

	{ "admin", "address", SETTING_TEXT, AT(admin.address), "127.0.0.1", 0, 0,
	  SETTING_REQUIRED, "127.0.0.1", "IP address of the admin pages; they know no password", NULL },
	{ "admin", "port", SETTING_INTEGER, AT(admin.port), "9380", 1, 65535,
	  0, "9380", "TCP port of /metrics /healthz /readyz /status.json and the status page", NULL },

	{ "server", "threads", SETTING_INTEGER, AT(server.threads), "0", 0, 64,
	  0, "2", "worker threads; 0: one per core, at most 4", NULL },
	{ "server", "drain", SETTING_DURATION, AT(server.drain_ms), "5s", 0, HOUR,
	  RELOADS, "5s", "how long clients get to finish after SIGTERM", NULL },
	{ "server", "log_level", SETTING_CHOICE, AT(server.log_level), "info", 0, 0,
	  RELOADS, "info", "the least that is logged: debug, info, warn or error", log_levels },
	{ "server", "log_format", SETTING_CHOICE, AT(server.log_format), "text", 0, 0,
	  RELOADS, "text", "text or json", log_formats },

	{ "cache", "max_entries", SETTING_INTEGER, AT(cache.max_entries), "50000", 1, 100000000,
	  RELOADS, "50000", "keys held in memory; when there are more, eviction says who gives way", NULL },
	{ "cache", "max_memory", SETTING_SIZE, AT(cache.max_memory), "64mb", 64 * KB, 1024 * GB,
	  RELOADS, "64mb", "memory for keys, values and overhead", NULL },
	{ "cache", "max_value", SETTING_SIZE, AT(cache.max_value), "1mb", 1, 512 * MB,
	  RELOADS, "1mb", "larger values pass through uncached", NULL },
	{ "cache", "eviction", SETTING_CHOICE, AT(cache.eviction), "s3fifo", 0, 0,
	  0, "s3fifo", "who gives way: s3fifo (what is read once leaves first, so scans do no harm) or lru (least recently used)", evictions },
	{ "cache", "ttl", SETTING_DURATION, AT(cache.ttl_ms), "30s", 1, YEAR,
	  RELOADS, "30s", "how long a value counts as fresh, up to 10 % less", NULL },
	{ "cache", "negative_ttl", SETTING_DURATION, AT(cache.negative_ttl_ms), "3s", 0, YEAR,
	  RELOADS, "3s", "how long \"there is no such key\" counts as fresh; 0: not remembered", NULL },
	{ "cache", "stale", SETTING_DURATION, AT(cache.stale_ms), "24h", 0, YEAR,
	  RELOADS, "24h", "how long past that it may serve as the stale rung; 0: never", NULL },
	{ "cache", "keys", SETTING_LIST, AT(cache.keys), "*", 0, 0,
	  SETTING_LINES | RELOADS, "profile:* !profile:tmp:*", "glob patterns of cacheable keys, space separated; \"!\" excludes", NULL },
	{ "cache", "coherence", SETTING_CHOICE, AT(cache.coherence), "auto", 0, 0,
	  0, "auto", "how writes elsewhere are noticed: tracking, broadcast, ttl, or auto, which tries them in that order", coherences },

	{ "redis", "url", SETTING_TEXT, AT(redis.url), "${REDIS_URL:-}", 0, 0,
	  SETTING_URL | RELOADS, "redis://127.0.0.1:6379",
	  "redis:// rediss:// unix:// or the Upstash REST URL (https://); where its variables are unset: UPSTASH_REDIS_REST_URL; empty: no Redis", NULL },
	{ "redis", "token", SETTING_TEXT, AT(redis.token), "${UPSTASH_REDIS_REST_TOKEN:-}", 0, 0,
	  SECRET | RELOADS, "${UPSTASH_REDIS_REST_TOKEN:-}", "password where the URL has none: the REST token of Upstash", NULL },
	{ "redis", "tls_ca", SETTING_TEXT, AT(redis.tls_ca), "", 0, 0,
	  SETTING_READABLE | RELOADS, "/etc/ssl/certs/ca-certificates.crt", "CA (PEM) that the server's certificate must come from; empty: the system's", NULL },
	{ "redis", "connections", SETTING_INTEGER, AT(redis.connections), "2", 1, 64,
	  0, "2", "shared connections per thread", NULL },
	{ "redis", "max_sessions", SETTING_INTEGER, AT(redis.max_sessions), "1000", 0, 100000,
	  RELOADS, "1000",
	  "dedicated connections in all: transactions, subscriptions, blocking commands", NULL },
	{ "redis", "budget", SETTING_DURATION, AT(redis.budget_ms), "40ms", 1, MINUTE,
	  RELOADS, "40ms", "how long one mapped read waits for Redis", NULL },
	{ "redis", "timeout", SETTING_DURATION, AT(redis.timeout_ms), "5s", 1, HOUR,
	  RELOADS, "5s", "how long a command that has no other rung waits; blocking commands are exempt", NULL },
	{ "redis", "ttl", SETTING_DURATION, AT(redis.ttl_ms), "5m", 0, YEAR,
	  RELOADS, "5m", "what a fill from Postgres is stored with; 0: do not fill Redis", NULL },

	{ "postgres", "url", SETTING_TEXT, AT(postgres.url), "${DATABASE_URL:-}", 0, 0,
	  SETTING_URL | RELOADS, "postgres://app@127.0.0.1:6432/app", "where the queries of the maps run, PgBouncer or Postgres; empty: no Postgres", NULL },
	{ "postgres", "listen_url", SETTING_TEXT, AT(postgres.listen_url), "", 0, 0,
	  SETTING_URL, "postgres://app@127.0.0.1:5432/app", "where changes of rows are announced (deploy/postgres/003_notify.sql): straight to Postgres, no pooler in transaction mode; empty: not listened to", NULL },
	{ "postgres", "pool", SETTING_INTEGER, AT(postgres.pool), "2", 1, 100,
	  RELOADS, "2", "connections in all", NULL },
	{ "postgres", "budget", SETTING_DURATION, AT(postgres.budget_ms), "90ms", 1, MINUTE,
	  RELOADS, "90ms", "how long one query may take before it is cancelled", NULL },
	{ "postgres", "max_batch", SETTING_INTEGER, AT(postgres.max_batch), "256", 1, 10000,
	  RELOADS, "256", "ids in one query", NULL },
	{ "postgres", "max_waiting", SETTING_INTEGER, AT(postgres.max_waiting), "10000", 1, 1000000,
	  RELOADS, "10000", "ids that wait for a connection; more are answered by the next rung", NULL },

	{ "ladder", "deadline", SETTING_DURATION, AT(ladder.deadline_ms), "100ms", 1, MINUTE,
	  RELOADS, "100ms", "no mapped read takes longer, whatever the backends do", NULL },
	{ "ladder", "journal", SETTING_TEXT, AT(ladder.journal), "", 0, 0,
	  0, "/var/lib/sidecar/journal", "file for invalidations that Redis missed; empty: memory only", NULL },
	{ "ladder", "max_journal_keys", SETTING_INTEGER, AT(ladder.max_journal_keys), "1000000", 1, 100000000,
	  0, "1000000", "keys that the journal names; where there are more, their whole map counts as changed", NULL },

	{ "breaker", "failures", SETTING_INTEGER, AT(breaker.failures), "5", 1, 1000,
	  RELOADS, "5", "failures in a row that open a backend's breaker", NULL },
	{ "breaker", "failure_rate", SETTING_PERCENT, AT(breaker.failure_rate), "50", 1, 100,
	  RELOADS, "50", "or percent of at least 20 calls in 10 s; slow counts as failed", NULL },
	{ "breaker", "open", SETTING_DURATION, AT(breaker.open_ms), "1s", 1, HOUR,
	  RELOADS, "1s", "how long it stays open at first; doubled per failed probe, full jitter", NULL },
	{ "breaker", "max_open", SETTING_DURATION, AT(breaker.max_open_ms), "30s", 1, DAY,
	  RELOADS, "30s", "and at most", NULL },

	{ "limits", "per_user", SETTING_RATE, AT(limits.per_user), "1000/min", 1, 1000000000,
	  RELOADS, "1000/min", "requests by the id in a mapped key; 0: off", NULL },
	{ "limits", "per_ip", SETTING_RATE, AT(limits.per_ip), "10000/min", 1, 1000000000,
	  RELOADS, "10000/min", "requests by address, not for loopback and unix sockets; 0: off", NULL },

	{ "warm", "query", SETTING_TEXT, AT(warm.query), "", 0, 0,
	  SETTING_LINES | RELOADS, "SELECT id FROM profiles ORDER BY last_seen DESC", "ids to load before the instance is ready, most active first; empty: none", NULL },
	{ "warm", "map", SETTING_TEXT, AT(warm.map), "", 0, 0,
	  RELOADS, "profile", "which map they belong to", NULL },
	{ "warm", "limit", SETTING_INTEGER, AT(warm.limit), "10000", 1, 10000000,
	  RELOADS, "10000", "how many of them are loaded", NULL },
	{ "warm", "wait", SETTING_DURATION, AT(warm.wait_ms), "10s", 0, HOUR,
	  RELOADS, "10s", "how long /readyz waits for them; loading goes on after that", NULL },

	{ "snapshot", "file", SETTING_TEXT, AT(snapshot.file), "", 0, 0,
	  0, "/var/lib/sidecar/snapshot", "encrypted copy of the memory, read at start; empty: none", NULL },
	{ "snapshot", "key", SETTING_TEXT, AT(snapshot.key), "${SIDECAR_SNAPSHOT_KEY:-}", 0, 0,
	  SECRET, "${SIDECAR_SNAPSHOT_KEY}", "32 bytes, hex; required with file", NULL },
	{ "snapshot", "every", SETTING_DURATION, AT(snapshot.every_ms), "5m", 100, DAY,
	  RELOADS, "5m", "how often it is written", NULL },

	{ "commands", "deny", SETTING_LIST, AT(commands.deny), "SHUTDOWN REPLICAOF SLAVEOF FAILOVER", 0, 0,
	  SETTING_LINES | RELOADS, "SHUTDOWN DEBUG", "commands that are refused, space separated", NULL },
};
const size_t settings_table_count = sizeof(settings_table) / sizeof(settings_table[0]);

const struct setting settings_map_table[] = {
	{ NULL, "key", SETTING_TEXT, IN_MAP(key), "", 0, 0,
	  SETTING_REQUIRED | RELOADS, "profile:{id}", "{id} stands for the id; typed: {id:int} or {id:uuid}", NULL },
	{ NULL, "query", SETTING_TEXT, IN_MAP(query), "", 0, 0,
	  SETTING_REQUIRED | SETTING_LINES | RELOADS, "SELECT id, tier FROM profiles WHERE id = ANY($1)",
	  "$1 is the array of wanted ids; returns id, value and, optionally, valid_until", NULL },
	{ NULL, "free", SETTING_TEXT, IN_MAP(free), "", 0, 0,
	  SETTING_LINES | RELOADS, "{\"subscription_tier\":\"free\"}", "the answer when nothing else is left; a JSON object with type = hash", NULL },
	{ NULL, "missing", SETTING_CHOICE, IN_MAP(missing), "nil", 0, 0,
	  RELOADS, "nil", "nil or free: what an id without a row gets", missings },
	{ NULL, "type", SETTING_CHOICE, IN_MAP(type), "string", 0, 0,
	  RELOADS, "string", "string, or hash: every further column is a field", types },
	{ NULL, "limit", SETTING_YESNO, IN_MAP(limit), "yes", 0, 0,
	  RELOADS, "yes", "counts against [limits] per_user", NULL },
};
const size_t settings_map_table_count = sizeof(settings_map_table) / sizeof(settings_map_table[0]);
/* clang-format on */

const char *
settings_coherence_name(int mode)
{
	return coherences[mode];
}
