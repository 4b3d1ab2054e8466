/*
 * What sidecar.ini, the environment and -o say, checked and in one struct.
 * One table (settings_table) names every key with its type, default, range
 * and help; reading, --print-config, the reference and the tests walk it.
 *
 * A loaded struct settings never changes. Reload makes a new one; the old
 * one stays until exit, because requests under way still point into it.
 */
#ifndef SIDECAR_BASE_SETTINGS_H
#define SIDECAR_BASE_SETTINGS_H

#include <stdio.h>

#include "base/slice.h"

/* Enough for every message of settings_load(). */
#define SETTINGS_ERROR_SIZE 512

struct setting_entry;

struct rate {
	int64_t count; /* 0: off */
	int64_t period_ms;
};

enum eviction_mode { EVICTION_S3FIFO, EVICTION_LRU };
enum coherence_mode { COHERENCE_AUTO, COHERENCE_TRACKING, COHERENCE_BROADCAST, COHERENCE_TTL };
enum map_missing { MISSING_NIL, MISSING_FREE };
enum map_type { MAP_STRING, MAP_HASH };

/* One [map NAME] section. */
struct map_settings {
	char *name;
	int line;  /* of the section's header, 0 for -o */
	char *key; /* "profile:{id:int}" */
	char *query;
	char *free;
	int missing; /* enum map_missing */
	int type;    /* enum map_type */
	bool limit;

	struct setting_entry *entries; /* settings_*.c's own: where each key came from */
};

struct settings {
	char *file; /* as given to settings_load(); NULL: built-in defaults only */

	struct {
		char *address;
		int64_t port;
		char *socket; /* "" when unset, as all texts */
		char *password;
		char *tls_cert, *tls_key, *tls_client_ca;
		int64_t max_clients;
		int64_t max_request; /* bytes of one command */
		int64_t max_args;
		int64_t max_pipeline; /* commands of one client under way */
		int64_t
		    output_limit; /* bytes a client may leave unread before we stop reading it */
	} listen;
	struct {
		char *address;
		int64_t port;
	} admin;
	struct {
		int64_t threads;      /* as set, perhaps 0 */
		int64_t thread_count; /* what that comes to, never 0 */
		int64_t drain_ms;
		int log_level;  /* enum log_level */
		int log_format; /* enum log_format */
	} server;
	struct {
		int64_t max_entries;
		int64_t max_memory;
		int64_t max_value;
		int eviction; /* enum eviction_mode */
		int64_t ttl_ms;
		int64_t negative_ttl_ms;
		int64_t stale_ms;
		char *keys;
		int coherence; /* enum coherence_mode */
	} cache;
	struct {
		char *url;
		char *token;
		char *tls_ca;
		int64_t connections;
		int64_t max_sessions; /* dedicated connections in all */
		int64_t budget_ms;
		int64_t timeout_ms;
		int64_t ttl_ms;
	} redis;
	struct {
		char *url, *listen_url;
		int64_t pool;
		int64_t budget_ms;
		int64_t max_batch;
		int64_t max_waiting;
	} postgres;
	struct {
		int64_t deadline_ms;
		char *journal;
		int64_t max_journal_keys;
	} ladder;
	struct {
		int64_t failures;
		int64_t failure_rate; /* percent */
		int64_t open_ms;
		int64_t max_open_ms;
	} breaker;
	struct {
		struct rate per_user, per_ip;
	} limits;
	struct {
		char *query, *map;
		int64_t limit;
		int64_t wait_ms;
	} warm;
	struct {
		char *file, *key;
		int64_t every_ms;
	} snapshot;
	struct {
		char *deny; /* space separated */
	} commands;

	struct map_settings *maps;
	size_t map_count;

	struct setting_entry *entries; /* settings_*.c's own, as in map_settings */
};

/* One "section.key=value" of the command line, in order; -o wins over the file. */
struct settings_override {
	const char *text;
};

/*
 * Loads FILE (NULL: none, not even ./sidecar.ini: that is looked for by
 * arguments_parse) with the overrides on top. On failure returns NULL and
 * writes one message without a newline into `error`, such as
 *   sidecar.ini:12: [cache] ttl: "abc" is not a duration (for example 30s)
 * A secret is never part of a message. Warnings (a budget that the deadline
 * cuts short, ...) go to the log.
 * Reads files and the environment; not for an event loop's thread while
 * serving, except at reload.
 */
MUST_CHECK struct settings *settings_load(const char *file,
    const struct settings_override *overrides, size_t override_count, char *error,
    size_t error_size);
void settings_free(struct settings *settings);

/*
 * Every key with its value, origin (default, FILE:LINE, or -o) and one line
 * of help, secrets masked. The output is itself a valid sidecar.ini.
 */
void settings_print(const struct settings *settings, FILE *out);

/*
 * For a reload: puts the value that is in force in the place of one that has
 * to wait for a restart. stays() is asked about each key outside of maps in
 * which the two differ, by "section.key", and told whether the table lets it
 * take effect at once; true: the value in force stays. `settings` is not in
 * use yet.
 */
void settings_keep(struct settings *settings, const struct settings *in_force,
    bool (*stays)(const char *name, bool reloads, void *arg), void *arg);

/*
 * Calls `changed` for each key in which two loaded settings differ, with
 * "section.key" and whether it takes effect without a restart.
 */
void settings_compare(const struct settings *before, const struct settings *after,
    void (*changed)(const char *name, bool takes_effect, void *arg), void *arg);

/* The table of all keys in markdown, for the man page. */
void settings_print_reference(FILE *out);

/* The name of an enum value as sidecar.ini spells it. */
const char *settings_coherence_name(int mode);

#endif
