/* --print-config, the reference, and what a reload has changed. */
#include "base/settings_table.h"
#include "settings_helpers.h"

#define MAP "[map m]\nkey = m:{id}\nquery = SELECT 1\n"

static char changes[600];

static void
on_changed(const char *name, bool takes_effect, void *arg)
{
	size_t len = strlen(changes);
	(void)arg;

	snprintf(changes + len, sizeof(changes) - len, "%s%s ", name, takes_effect ? "" : "!");
}

/* "cache.ttl listen.port! ": what differs, with '!' where it needs a restart. */
static const char *
compared(const struct settings *before, const struct settings *after)
{
	changes[0] = '\0';
	settings_compare(before, after, on_changed, NULL);
	return changes;
}

/* Whether what settings_print() writes loads as the same again. */
static bool
comes_back(const struct settings *settings)
{
	char *text = test_printed(settings);
	test_write("printed.ini", text, strlen(text));
	struct settings *again =
	    settings_load("printed.ini", NULL, 0, test_error, sizeof(test_error));
	bool is_same = again != NULL && compared(settings, again)[0] == '\0';

	if (!is_same)
		printf("%s\nerror: %s\nchanged: %s\n", text, test_error, changes);
	settings_free(again);
	free(text);
	return is_same;
}

TEST(what_is_printed_loads_as_the_same)
{
	struct settings *s = settings_load(NULL, NULL, 0, test_error, sizeof(test_error));
	CHECK(comes_back(s));
	settings_free(s);

	s = test_load("[listen]\nport = 7000\nmax_request = 5000\n[server]\nthreads = 3\n"
		      "[cache]\nttl = 1500ms\nkeys = a:*\n  !b:*\ncoherence = ttl\n"
		      "[redis]\nurl = redis://h:1/2\n[limits]\nper_user = 0\nper_ip = 7/h\n"
		      "[warm]\nquery = SELECT id\n FROM t;\nmap = m\n" MAP
		      "  FROM a;x\n # no\n  -- yes\nfree = {\"a\":\"#;\"}\ntype = hash\n"
		      "missing = free\nlimit = off\n[map n]\nkey = n:{id:uuid}\nquery =;y\n");
	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->maps[0].query, "SELECT 1\nFROM a;x\n-- yes");
	CHECK(comes_back(s));
	settings_free(s);
}

TEST(a_long_query_comes_back_too)
{
	char text[3000], words[2600] = "";

	for (size_t len = 0; len + 12 < sizeof(words); len += 11)
		snprintf(words + len, sizeof(words) - len, "column%02zu,  ", len % 100);
	snprintf(text, sizeof(text), "[map m]\nkey = m:{id}\nquery = SELECT %s x\n", words);
	struct settings *s = test_load(text);
	CHECK_TEXT(test_error, "");
	CHECK(comes_back(s));
	settings_free(s);
}

static bool
prints(const struct settings *settings, const char *line)
{
	char *text = test_printed(settings);
	bool is_there = strstr(text, line) != NULL;

	if (!is_there)
		printf("%s\nhas no: %s\n", text, line);
	free(text);
	return is_there;
}

TEST(every_key_is_printed_with_its_help_value_and_origin)
{
	struct settings_override override = { "cache.stale=2h" };

	setenv("T_TTL", "90s", 1);
	setenv("REDIS_URL", "redis://u:hunter2@h", 1);
	const char *ini = "[cache]\nttl = ${T_TTL}\nmax_entries = 7\n" MAP "  FROM t\n";
	test_write("sidecar.ini", ini, strlen(ini));
	struct settings *s =
	    settings_load("sidecar.ini", &override, 1, test_error, sizeof(test_error));
	CHECK_TEXT(test_error, "");
	CHECK(prints(s,
	    "\n# how long a value counts as fresh, up to 10 % less\nttl = 90s  ; sidecar.ini:2, from T_TTL\n"));
	CHECK(prints(s, "\nmax_entries = 7  ; sidecar.ini:3\n"));
	CHECK(prints(s, "\nstale = 2h  ; -o\n"));
	CHECK(prints(s, "\nnegative_ttl = 3s  ; default\n"));
	CHECK(prints(s, "\nsocket =  ; default\n"));
	CHECK(prints(s, "\nurl = redis://u:********@h  ; default, from REDIS_URL\n"));
	CHECK(prints(s, "\n\n[map m]\n"));
	CHECK(prints(s, "\nquery = SELECT 1  ; sidecar.ini:6\n    FROM t\n"));
	CHECK(prints(s, "\nlimit = yes  ; default\n"));
	settings_free(s);
	unsetenv("REDIS_URL");
}

TEST(how_many_threads_is_shown_where_the_machine_says_it)
{
	char line[100];
	struct settings *s = test_load("[server]\nthreads = 0\n");

	snprintf(line, sizeof(line), ", at most 4; here %d\nthreads = 0  ; sidecar.ini:2\n",
	    (int)s->server.thread_count);
	CHECK(prints(s, line));
	CHECK(comes_back(s));
	settings_free(s);
	s = test_load("[server]\nthreads = 3\n");
	CHECK(prints(s, ", at most 4\nthreads = 3  ; sidecar.ini:2\n"));
	settings_free(s);
}

TEST(secrets_are_never_printed)
{
	setenv("T_SECRET", "hunter2", 1);
	setenv("UPSTASH_REDIS_REST_TOKEN", "hunter2", 1);
	struct settings *s =
	    test_load("[listen]\npassword = ${T_SECRET:-hunter2}\n"
		      "[redis]\nurl = rediss://:hunter2@h\n"
		      "[postgres]\nurl = postgres://u:${T_SECRET}@h/d?password=hunter2\n"
		      "[snapshot]\nkey = hunter2\n");
	CHECK_TEXT(test_error, "");
	char *text = test_printed(s);
	CHECK(strstr(text, "hunter2") == NULL);
	CHECK(strstr(text, "password = ********  ; sidecar.ini:2, from T_SECRET\n") != NULL);
	CHECK(strstr(text, "token = ********  ; default, from UPSTASH_REDIS_REST_TOKEN\n") != NULL);
	CHECK(strstr(text, "url = postgres://u:********@h/d?password=********") != NULL);
	CHECK(strstr(text, "key = ********") != NULL);
	free(text);
	settings_free(s);
	unsetenv("UPSTASH_REDIS_REST_TOKEN");
}

TEST(what_only_a_variable_can_hold_is_printed_as_the_variable)
{
	setenv("T_FREE", "a ;b", 1);
	setenv("T_QUERY", "SELECT 1\n\n  FROM ${x}", 1);
	struct settings *s =
	    test_load("[map m]\nkey = m:{id}\nquery = ${T_QUERY}\nfree = ${T_FREE}\n");
	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->maps[0].free, "a ;b");
	CHECK(prints(s, "\nquery = ${T_QUERY}  ; sidecar.ini:3, from T_QUERY\n"));
	CHECK(prints(s, "\nfree = ${T_FREE}  ; sidecar.ini:4, from T_FREE\n"));
	CHECK(comes_back(s));
	settings_free(s);

	s = test_load_option("commands.deny=A ;B");
	CHECK_TEXT(test_error, "");
	CHECK(prints(s, "\n# deny: its value can only stand in a variable\n"));
	settings_free(s);
}

TEST(a_reload_is_told_key_by_key)
{
	struct settings *before =
	    test_load("[cache]\nttl = 5s\n" MAP "[map gone]\nkey = g{id}\nquery = x\n");
	struct settings *after =
	    test_load("[listen]\nport = 7000\n[cache]\nttl = 6s\n[limits]\n"
		      "per_user = 1/s\n" MAP "limit = no\ntype = hash\nfree = {}\n"
		      "[map new]\nkey = n{id}\nquery = x\n");
	CHECK(before != NULL && after != NULL);
	CHECK_TEXT(compared(before, after),
	    "listen.port! cache.ttl limits.per_user map m.free map m.type map m.limit map gone map new ");
	CHECK_TEXT(compared(before, before), "");
	settings_free(before);
	settings_free(after);
}

static bool
waits(const char *name, bool reloads, void *arg)
{
	const char *also = arg;

	return !reloads || strcmp(name, also) == 0;
}

static bool
waits_always(const char *name, bool reloads, void *arg)
{
	(void)name, (void)reloads, (void)arg;
	return true;
}

TEST(what_waits_for_a_restart_stays_as_it_is)
{
	static const char wished[] =
	    "[listen]\nport = 7000\nsocket = /s\n[server]\nlog_level = warn\n"
	    "[cache]\nttl = 6s\neviction = lru\nkeys = a:*\n[redis]\nurl = redis://h\n"
	    "[breaker]\nfailure_rate = 60\n[limits]\nper_user = 1/s\n" MAP;
	struct settings *in_force = test_load("[listen]\nsocket = /in-force\n");
	struct settings *settings = test_load(wished);
	CHECK(in_force != NULL && settings != NULL);

	settings_keep(settings, in_force, waits, "redis.url");
	CHECK_TEXT(settings->listen.socket, "/in-force");
	CHECK_TEXT(settings->redis.url, "");
	CHECK_TEXT(compared(in_force, settings),
	    "server.log_level cache.ttl cache.keys breaker.failure_rate limits.per_user map m ");
	settings_keep(settings, in_force, waits_always, NULL);
	CHECK_TEXT(compared(in_force, settings), "map m ");
	settings_free(settings);
	settings_free(in_force);
}

TEST(one_value_in_two_spellings_is_no_change)
{
	struct settings *before =
	    test_load("[cache]\nttl = 60s\nmax_memory = 64mb\n[limits]\nper_ip = 0\n");
	struct settings *after =
	    test_load("[cache]\nttl = 1m\nmax_memory = 65536kb\n[limits]\nper_ip = 0/min\n");

	CHECK_TEXT(compared(before, after), "");
	settings_free(before);
	settings_free(after);
}

TEST(the_reference_has_a_line_for_every_key)
{
	char *text = NULL, line[100];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	settings_print_reference(out);
	fclose(out);
	for (size_t i = 0; i < settings_table_count; i++) {
		snprintf(line, sizeof(line), "\n| `%s` |", settings_table[i].key);
		CHECK(strstr(text, line) != NULL);
	}
	CHECK(strstr(text, "\n### [map NAME]\n") != NULL);
	CHECK(
	    strstr(text,
		"\n| `ttl` | `30s` | 1ms to 365d | yes | how long a value counts as fresh, up to 10 % less |\n") !=
	    NULL);
	free(text);
}

TEST(the_names_of_modes_are_those_of_the_file)
{
	CHECK_TEXT(settings_coherence_name(COHERENCE_AUTO), "auto");
	CHECK_TEXT(settings_coherence_name(COHERENCE_TRACKING), "tracking");
	CHECK_TEXT(settings_coherence_name(COHERENCE_BROADCAST), "broadcast");
	CHECK_TEXT(settings_coherence_name(COHERENCE_TTL), "ttl");
}

TEST_MAIN
