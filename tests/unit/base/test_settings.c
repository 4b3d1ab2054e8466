/* Loading as a whole: defaults, environment, -o, and what must hold between keys. */
#include "settings_helpers.h"

#define MAP "[map m]\nkey = m:{id}\nquery = SELECT 1\n"
#define HEX16 "0123456789abcdef"

#define CHECK_LOADS(text) CHECK_TEXT(test_refusal(text), "")
#define CHECK_REFUSED(text) CHECK(test_refusal(text)[0] != '\0')

TEST(without_a_file_the_defaults_count)
{
	struct settings *s = settings_load(NULL, NULL, 0, test_error, sizeof(test_error));

	CHECK_TEXT(test_error, "");
	CHECK(s->file == NULL);
	CHECK_TEXT(s->listen.address, "127.0.0.1");
	CHECK_INT(s->listen.port, 6380);
	CHECK_TEXT(s->listen.socket, "");
	CHECK_INT(s->listen.max_request, 64 << 20);
	CHECK_INT(s->cache.ttl_ms, 30000);
	CHECK_INT(s->cache.stale_ms, 86400000);
	CHECK_TEXT(s->cache.keys, "*");
	CHECK_INT(s->cache.coherence, COHERENCE_AUTO);
	CHECK_TEXT(s->redis.url, "");
	CHECK_TEXT(s->postgres.url, "");
	CHECK_INT(s->limits.per_user.count, 1000);
	CHECK_INT(s->limits.per_user.period_ms, 60000);
	CHECK_INT(s->breaker.failure_rate, 50);
	CHECK_TEXT(s->commands.deny, "SHUTDOWN REPLICAOF SLAVEOF FAILOVER");
	CHECK_INT(s->map_count, 0);
	settings_free(s);
	settings_free(NULL);
}

TEST(a_map_has_defaults_for_what_it_leaves_out)
{
	struct settings *s = test_load(MAP);

	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->maps[0].name, "m");
	CHECK_TEXT(s->maps[0].free, "");
	CHECK_INT(s->maps[0].missing, MISSING_NIL);
	CHECK_INT(s->maps[0].type, MAP_STRING);
	CHECK(s->maps[0].limit);
	settings_free(s);
}

TEST(threads_are_resolved_to_between_one_and_four)
{
	struct settings *s = test_load_option("server.threads=0");

	CHECK_TEXT(test_error, "");
	CHECK_INT(s->server.threads, 0);
	CHECK(s->server.thread_count >= 1 && s->server.thread_count <= 4);
	settings_free(s);
	s = test_load_option("server.threads=7");
	CHECK_TEXT(test_error, "");
	CHECK_INT(s->server.threads, 7);
	CHECK_INT(s->server.thread_count, 7);
	settings_free(s);
}

/* -o */

TEST(an_option_wins_over_the_file_and_the_last_one_over_the_others)
{
	struct settings_override overrides[] = { { "cache.ttl=7s" }, { " cache.ttl = 8s " },
		{ "map m.query=SELECT a=b.c" }, { "map new-1.key=n:{id}" },
		{ "map new-1.query=x" } };

	test_write("sidecar.ini", "[cache]\nttl = 5s\n" MAP, strlen("[cache]\nttl = 5s\n" MAP));
	struct settings *s =
	    settings_load("sidecar.ini", overrides, 5, test_error, sizeof(test_error));
	CHECK_TEXT(test_error, "");
	CHECK_INT(s->cache.ttl_ms, 8000);
	CHECK_INT(s->map_count, 2);
	CHECK_TEXT(s->maps[0].query, "SELECT a=b.c");
	CHECK_TEXT(s->maps[1].name, "new-1");
	CHECK_INT(s->maps[1].line, 0);
	settings_free(s);
}

TEST(a_wrong_option_is_named_as_it_was_given)
{
	CHECK_TEXT(test_option_refusal("cache.ttl=abc"),
	    "-o cache.ttl=abc: \"abc\" is not a duration (for example 30s)");
	CHECK_TEXT(test_option_refusal("listen.port=0"),
	    "-o listen.port=0: 0 is out of range (1 to 65535)");
	CHECK_TEXT(test_option_refusal("cache.tll=5s"),
	    "-o cache.tll: unknown key (did you mean ttl?)");
	CHECK_TEXT(test_option_refusal("cach.ttl=5s"),
	    "-o cach.ttl: unknown section (did you mean cache?)");
	CHECK_TEXT(test_option_refusal("map m.fre=x"),
	    "-o map m.fre: unknown key (did you mean free?)");
	CHECK_TEXT(test_option_refusal("map a b.key=x"),
	    "-o map a b.key: \"a b\" is no name for a map (up to 64 letters, digits, _ and -)");
	CHECK_TEXT(test_option_refusal("map.key=x"),
	    "-o map.key: a map needs a name (for example [map profile])");
	CHECK_TEXT(test_option_refusal("ttl=5s"),
	    "-o ttl: is not section.key=value (for example cache.ttl=30s)");
	CHECK_TEXT(test_option_refusal("cache.ttl"),
	    "-o cache.ttl: is not section.key=value (for example cache.ttl=30s)");
	CHECK_TEXT(test_option_refusal("ttl=1.5"),
	    "-o ttl: is not section.key=value (for example cache.ttl=30s)");
	CHECK_TEXT(test_option_refusal(""),
	    "-o : is not section.key=value (for example cache.ttl=30s)");
	CHECK_TEXT(test_option_refusal("map m.query=SELECT 1"),
	    "[map m] key: is missing (for example profile:{id})");
}

TEST(no_message_repeats_a_secret)
{
	CHECK_TEXT(test_option_refusal("listen.password=hun\x01ter2"),
	    "-o listen.password=********: contains a control character");
	CHECK_TEXT(test_option_refusal("listen.pasword=hunter2"),
	    "-o listen.pasword: unknown key (did you mean password?)");
	CHECK_TEXT(test_option_refusal("redis.url=foo://u:hunter2@h"),
	    "-o redis.url=foo://u:********@h: does not begin with redis://, rediss://, unix:// or "
	    "https:// (for example redis://127.0.0.1:6379)");
	CHECK_TEXT(test_option_refusal("redis.token=${X-hunter2}"),
	    "-o redis.token=********: \"${X\" goes on as neither ${NAME} nor ${NAME:-default}");
	CHECK_TEXT(test_refusal("[snapshot]\nfile = x\nkey = hunter2\n"),
	    "sidecar.ini:3: [snapshot] key: is not 64 hex digits (openssl rand -hex 32)");
	CHECK_TEXT(test_refusal("[postgres]\nurl = hunter2\n"),
	    "sidecar.ini:2: [postgres] url: does not begin with postgres:// or postgresql:// (for "
	    "example postgres://app@127.0.0.1:6432/app)");
}

TEST(a_message_fits_and_is_one_line)
{
	char text[4000];

	snprintf(text, sizeof(text), "map %.2000d.key=%01000d", 1, 2);
	CHECK(strlen(test_option_refusal(text)) < sizeof(test_error));
	snprintf(text, sizeof(text), "[warm]\nquery = SELECT 1\nmap = %01000d\n", 1);
	CHECK_TEXT(test_refusal(text),
	    "sidecar.ini:3: [warm] map: there is no [map "
	    "000000000000000000000000000000000000000000000000000000000000]");
	char tiny[20];
	CHECK(settings_load("a-file-with-a-long-name.ini", NULL, 0, tiny, sizeof(tiny)) == NULL);
	CHECK_TEXT(tiny, "a-file-with-a-long-");
	CHECK(settings_load(NULL, &(struct settings_override){ "cache.ttl=a\nb" }, 1, test_error,
		  sizeof(test_error)) == NULL);
	CHECK(strchr(test_error, '\n') == NULL);
}

/* The environment. */

TEST(a_variable_that_is_not_set_is_refused_with_file_line_and_key)
{
	unsetenv("T_UNSET");
	CHECK_TEXT(test_refusal("[listen]\n\npassword = ${T_UNSET}\n"),
	    "sidecar.ini:3: [listen] password: the environment variable T_UNSET is not set "
	    "(${T_UNSET:-} would allow that)");
	CHECK_TEXT(test_option_refusal("cache.ttl=${T_UNSET}"),
	    "-o cache.ttl=${T_UNSET}: the environment variable T_UNSET is not set (${T_UNSET:-} would "
	    "allow that)");
}

TEST(a_variable_may_hold_what_a_file_cannot_say_and_loses_its_newline)
{
	setenv("T_SECRET", " a ;b # ${c} \n", 1);
	struct settings *s = test_load("[listen]\npassword = ${T_SECRET}\n");
	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->listen.password, "a ;b # ${c}");
	settings_free(s);
}

/* redis.url with these two variables (NULL: unset); NULL when refused. */
static const char *
redis_url(const char *text, const char *redis, const char *upstash)
{
	static char url[100];

	unsetenv("REDIS_URL");
	unsetenv("UPSTASH_REDIS_REST_URL");
	if (redis != NULL)
		setenv("REDIS_URL", redis, 1);
	if (upstash != NULL)
		setenv("UPSTASH_REDIS_REST_URL", upstash, 1);
	struct settings *s = test_load(text);
	if (s != NULL)
		snprintf(url, sizeof(url), "%s", s->redis.url);
	bool is_fine = s != NULL;
	settings_free(s);
	unsetenv("REDIS_URL");
	unsetenv("UPSTASH_REDIS_REST_URL");
	return is_fine ? url : NULL;
}

TEST(upstash_url_counts_where_redis_url_is_unset_or_empty)
{
	CHECK_TEXT(redis_url("", NULL, "https://up.io"), "https://up.io");
	CHECK_TEXT(redis_url("", "", "https://up.io\n"), "https://up.io");
	CHECK_TEXT(redis_url("", "redis://a", "https://up.io"), "redis://a");
	CHECK_TEXT(redis_url("[redis]\nurl = ${REDIS_URL:-}\n", NULL, "https://up.io"),
	    "https://up.io");
	CHECK_TEXT(redis_url("[redis]\nurl =\n", "redis://a", "https://up.io"), "");
	CHECK_TEXT(redis_url("[redis]\nurl = redis://b\n", "redis://a", "https://up.io"),
	    "redis://b");
	CHECK_TEXT(redis_url("", NULL, NULL), "");
	CHECK(redis_url("", NULL, "http://up.io") == NULL);
	CHECK_TEXT(test_error,
	    "UPSTASH_REDIS_REST_URL in the environment: [redis] url: http:// would send the token "
	    "unencrypted (take https://, or redis:// for a Redis of your own)");
}

TEST(the_other_defaults_come_from_the_environment_too)
{
	setenv("UPSTASH_REDIS_REST_TOKEN", "tok", 1);
	setenv("DATABASE_URL", "postgresql://h/d", 1);
	setenv("SIDECAR_SNAPSHOT_KEY", HEX16 HEX16 HEX16 HEX16, 1);
	struct settings *s = settings_load(NULL, NULL, 0, test_error, sizeof(test_error));
	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->redis.token, "tok");
	CHECK_TEXT(s->postgres.url, "postgresql://h/d");
	CHECK_TEXT(s->snapshot.key, HEX16 HEX16 HEX16 HEX16);
	settings_free(s);
	unsetenv("UPSTASH_REDIS_REST_TOKEN");
	unsetenv("DATABASE_URL");
	unsetenv("SIDECAR_SNAPSHOT_KEY");
}

/* What must hold between keys. */

TEST(whoever_serves_others_needs_a_password_or_client_certificates)
{
	static const char *const loopback[] = { "127.0.0.1", "127.8.9.1", "::1", "localhost",
		"::ffff:127.0.0.1" };
	static const char *const others[] = { "0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1",
		"fe80::1" };
	char text[200];

	for (size_t i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "[listen]\naddress = %s\n", loopback[i]);
		CHECK_LOADS(text);
		snprintf(text, sizeof(text), "[listen]\naddress = %s\n", others[i]);
		CHECK(strstr(test_refusal(text), "can be reached by others") != NULL);
		snprintf(text, sizeof(text), "[listen]\naddress = %s\npassword = x\n", others[i]);
		CHECK_LOADS(text);
	}
	CHECK_TEXT(test_refusal("[listen]\n\naddress = 0.0.0.0\n"),
	    "sidecar.ini:3: [listen] address: 0.0.0.0 can be reached by others: set password or "
	    "tls_client_ca");
	CHECK_LOADS("[listen]\naddress = 0.0.0.0\ntls_cert = /dev/null\ntls_key = /dev/null\n"
		    "tls_client_ca = /dev/null\n");
	CHECK_LOADS("[admin]\naddress = 0.0.0.0\n");
}

TEST(an_address_is_an_ip_address)
{
	CHECK_TEXT(test_refusal("[listen]\naddress = example.com\n"),
	    "sidecar.ini:2: [listen] address: \"example.com\" is not an IP address (for example "
	    "127.0.0.1)");
	CHECK_TEXT(test_refusal("[admin]\naddress = *\n"),
	    "sidecar.ini:2: [admin] address: \"*\" is not an IP address (for example 127.0.0.1)");
	CHECK_TEXT(test_refusal("[listen]\naddress =\n"),
	    "sidecar.ini:2: [listen] address: is missing (for example 127.0.0.1)");
	struct settings *s = test_load("[listen]\naddress = localhost\n");
	CHECK_TEXT(test_error, "");
	CHECK_TEXT(s->listen.address, "127.0.0.1");
	settings_free(s);
}

TEST(the_two_ports_are_not_one)
{
	CHECK_TEXT(test_refusal("[admin]\nport = 6380\n"),
	    "sidecar.ini:2: [admin] port: 6380 is also the port of [listen]");
	CHECK_TEXT(test_refusal("[admin]\nport = 6380\naddress = 0.0.0.0\n"),
	    "sidecar.ini:2: [admin] port: 6380 is also the port of [listen]");
	CHECK_LOADS("[admin]\nport = 6380\naddress = 127.0.0.2\n");
}

TEST(certificate_key_and_client_ca_belong_together)
{
	CHECK_TEXT(test_refusal("[listen]\ntls_cert = /dev/null\n"),
	    "sidecar.ini:2: [listen] tls_cert: needs tls_key, too");
	CHECK_TEXT(test_refusal("[listen]\ntls_key = /dev/null\n"),
	    "sidecar.ini:2: [listen] tls_key: needs tls_cert, too");
	CHECK_TEXT(test_refusal("[listen]\ntls_client_ca = /dev/null\n"),
	    "sidecar.ini:2: [listen] tls_client_ca: needs tls_cert and tls_key, too");
	CHECK_TEXT(test_refusal("[listen]\ntls_cert = /nope.pem\n"),
	    "sidecar.ini:2: [listen] tls_cert: cannot read \"/nope.pem\": No such file or directory");
	CHECK_LOADS("[listen]\ntls_cert = /dev/null\ntls_key = /dev/null\n");
}

TEST(a_socket_path_ends_at_the_system_s_limit)
{
	char text[200];

	snprintf(text, sizeof(text), "[listen]\nsocket = /%0106d\n", 1);
	CHECK_LOADS(text);
	snprintf(text, sizeof(text), "[listen]\nsocket = /%0107d\n", 1);
	CHECK_TEXT(test_refusal(text),
	    "sidecar.ini:2: [listen] socket: is longer than a socket's path may be (107 bytes)");
}

TEST(redis_is_not_ourselves)
{
	static const char *const us[] = { "redis://127.0.0.1:6380", "redis://localhost:6380/0",
		"rediss://u:p@[::1]:6380", "redis://0.0.0.0:6380", "redis://[::]:6380?x=1",
		"redis://:a@b@LOCALHOST:6380" };
	static const char *const others[] = { "redis://127.0.0.1", "redis://127.0.0.2:6380",
		"redis://example.com:6380", "redis://localhost:6379", "redis://[::1]" };
	char text[200];

	for (size_t i = 0; i < sizeof(us) / sizeof(us[0]); i++) {
		snprintf(text, sizeof(text), "[redis]\nurl = %s\n", us[i]);
		CHECK_TEXT(test_refusal(text),
		    "sidecar.ini:2: [redis] url: is our own address and port: sidecar would forward to "
		    "itself");
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(text, sizeof(text), "[redis]\nurl = %s\n", others[i]);
		CHECK_LOADS(text);
	}
	CHECK_REFUSED(
	    "[listen]\naddress = 0.0.0.0\npassword = x\n[redis]\nurl = redis://127.0.0.2:6380\n");
	CHECK_REFUSED(
	    "[listen]\naddress = 10.0.0.1\npassword = x\n[redis]\nurl = redis://10.0.0.1:6380\n");
	CHECK_LOADS(
	    "[listen]\naddress = 10.0.0.1\npassword = x\n[redis]\nurl = redis://127.0.0.1:6380\n");
	CHECK_TEXT(test_refusal("[listen]\nsocket = /run/s\n[redis]\nurl = unix:///run/s?db=0\n"),
	    "sidecar.ini:4: [redis] url: is our own socket: sidecar would forward to itself");
	CHECK_LOADS("[listen]\nsocket = /run/s\n[redis]\nurl = unix:///run/t\n");
}

TEST(a_redis_url_has_a_scheme_and_a_host)
{
	CHECK_TEXT(test_refusal("[redis]\nurl = localhost:6379\n"),
	    "sidecar.ini:2: [redis] url: does not begin with redis://, rediss://, unix:// or https:// "
	    "(for example redis://127.0.0.1:6379)");
	CHECK_TEXT(test_refusal("[redis]\nurl = http://x.upstash.io\n"),
	    "sidecar.ini:2: [redis] url: http:// would send the token unencrypted (take https://, or "
	    "redis:// for a Redis of your own)");
	CHECK_TEXT(test_refusal("[redis]\nurl = redis://\n"),
	    "sidecar.ini:2: [redis] url: names no host (for example redis://127.0.0.1:6379)");
	CHECK_TEXT(test_refusal("[redis]\nurl = redis://h:x\n"),
	    "sidecar.ini:2: [redis] url: names no usable host and port (for example "
	    "redis://127.0.0.1:6379)");
	CHECK_REFUSED("[redis]\nurl = redis://h:0\n");
	CHECK_LOADS("[redis]\nurl = redis://h:1\n");
	CHECK_LOADS("[redis]\nurl = redis://h:65535\n");
	CHECK_REFUSED("[redis]\nurl = redis://h:65536\n");
	CHECK_TEXT(test_refusal("[redis]\nurl = unix://\n"),
	    "sidecar.ini:2: [redis] url: names no socket (for example unix:///run/redis/redis.sock)");
	CHECK_LOADS("[postgres]\nurl = host=/run/postgresql dbname=app\n");
	CHECK_LOADS("[postgres]\nlisten_url = postgres://h:5432/d\n");
	CHECK_TEXT(test_refusal("[postgres]\nlisten_url = https://h/d\n"),
	    "sidecar.ini:2: [postgres] listen_url: does not begin with postgres:// or postgresql:// "
	    "(for example postgres://app@127.0.0.1:5432/app)");
}

TEST(a_snapshot_needs_its_key)
{
	CHECK_TEXT(test_refusal("[snapshot]\nfile = x\n"),
	    "sidecar.ini:2: [snapshot] file: needs key, too: 64 hex digits (openssl rand -hex 32)");
	CHECK_LOADS("[snapshot]\nfile = x\nkey = " HEX16 HEX16 HEX16 HEX16 "\n");
	CHECK_REFUSED("[snapshot]\nfile = x\nkey = " HEX16 HEX16 HEX16 HEX16 "0\n");
	CHECK_REFUSED("[snapshot]\nfile = x\nkey = " HEX16 HEX16 HEX16 "0123456789abcde\n");
	CHECK_REFUSED("[snapshot]\nfile = x\nkey = " HEX16 HEX16 HEX16 "0123456789abcdeg\n");
}

TEST(a_breaker_stays_open_no_shorter_than_at_first)
{
	CHECK_LOADS("[breaker]\nopen = 30s\n");
	CHECK_TEXT(test_refusal("[breaker]\nopen = 2s\nmax_open = 1999ms\n"),
	    "sidecar.ini:3: [breaker] max_open: is less than open (2s)");
	CHECK_TEXT(test_refusal("[breaker]\nopen = 31s\n"),
	    "sidecar.ini: [breaker] max_open: is less than open (31s)");
}

TEST(warm_up_needs_a_map_that_is_there)
{
	CHECK_TEXT(test_refusal("[warm]\nquery = SELECT 1\n"),
	    "sidecar.ini:2: [warm] query: needs map, too");
	CHECK_TEXT(test_refusal("[warm]\nquery = SELECT 1\nmap = nope\n" MAP),
	    "sidecar.ini:3: [warm] map: there is no [map nope]");
	CHECK_TEXT(test_refusal("[warm]\nmap = nope\n" MAP),
	    "sidecar.ini:2: [warm] map: there is no [map nope]");
	CHECK_LOADS("[warm]\nquery = SELECT 1\nmap = m\n" MAP);
}

TEST(a_map_needs_key_and_query)
{
	CHECK_TEXT(test_refusal("\n[map m]\n"),
	    "sidecar.ini:2: [map m] key: is missing (for example profile:{id})");
	CHECK_TEXT(test_refusal("[map m]\nkey = m:{id}\n"),
	    "sidecar.ini:1: [map m] query: is missing (for example SELECT id, tier FROM profiles WHERE "
	    "id = ANY($1))");
	CHECK_TEXT(test_refusal("[map m]\nkey =\nquery = x\n"),
	    "sidecar.ini:2: [map m] key: is missing (for example profile:{id})");
}

TEST(a_map_s_key_has_one_id)
{
	static const char *const fine[] = { "{id}", "a:{id:int}", "{id:uuid}:b", "{tag}:{id}",
		"{{id}}", "{identity}{id}" };
	static const char *const wrong[] = { "m", "{id}{id:int}", "{id:integer}", "{ID}", "{id:}",
		"{id" };
	char text[200];

	for (size_t i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "[map m]\nkey = %s\nquery = x\n", fine[i]);
		CHECK_LOADS(text);
		snprintf(text, sizeof(text), "[map m]\nkey = %s\nquery = x\n", wrong[i]);
		CHECK_REFUSED(text);
	}
	CHECK_TEXT(test_refusal("[map m]\nkey = m\nquery = x\n"),
	    "sidecar.ini:2: [map m] key: \"m\" has no {id} (for example profile:{id} or "
	    "profile:{id:int})");
	CHECK_TEXT(test_refusal("[map m]\nkey = {id}{id}\nquery = x\n"),
	    "sidecar.ini:2: [map m] key: \"{id}{id}\" has more than one {id} (for example profile:{id} "
	    "or profile:{id:int})");
	CHECK_TEXT(test_refusal("[map m]\nkey = {id:text}\nquery = x\n"),
	    "sidecar.ini:2: [map m] key: \"{id:text}\" has an {id} of a type that is neither int nor "
	    "uuid (for example profile:{id} or profile:{id:int})");
}

TEST(two_maps_have_different_keys)
{
	CHECK_TEXT(test_refusal(MAP "[map n]\nkey = m:{id:int}\nquery = x\n"),
	    "sidecar.ini:5: [map n] key: [map m] has the same keys");
	CHECK_LOADS(MAP "[map n]\nkey = m:{id}:x\nquery = x\n");
}

TEST(a_hash_s_free_value_is_an_object)
{
	CHECK_TEXT(test_refusal(MAP "type = hash\nfree = free\n"),
	    "sidecar.ini:5: [map m] free: with type = hash it must be a JSON object (for example "
	    "{\"subscription_tier\":\"free\"})");
	CHECK_TEXT(test_refusal(MAP "type = hash\n"),
	    "sidecar.ini:1: [map m] free: with type = hash it must be a JSON object (for example "
	    "{\"subscription_tier\":\"free\"})");
	CHECK_LOADS(MAP "type = hash\nfree = {\"a\":{\"b\":[1]}}\n");
	CHECK_LOADS(MAP "free = anything\n");
}

TEST(a_budget_beyond_the_deadline_is_no_error)
{
	CHECK_LOADS("[postgres]\nurl = postgres://h/d\nbudget = 200ms\n[redis]\nurl = redis://h\n"
		    "budget = 150ms\n");
}

TEST_MAIN
