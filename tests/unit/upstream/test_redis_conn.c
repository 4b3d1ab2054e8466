#include "upstream/redis_conn.h"

#include <sys/un.h>

#include "redis_world.h"

/* What has happened to the one connection under test. */
static struct {
	struct redis_conn *conn;
	bool is_ready, is_closed, has_reply;
	bool is_inside; /* one of our calls is running: no callback may come */
	int replies, batches;
	int free_after; /* replies; 0: never */
	enum failure_kind kind;
	char reason[200];
	char types[16];
	char all[400]; /* the replies, one behind the other */
	size_t all_len;
	counter commands;
} seen;

static void
on_ready(struct redis_conn *conn, void *arg)
{
	(void)arg;
	CHECK(conn == seen.conn && redis_conn_is_ready(conn) && !seen.is_inside);
	seen.is_ready = true;
}

static void
on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg)
{
	(void)arg;
	CHECK(!seen.is_inside);
	seen.has_reply = true;
	if (seen.replies < 15)
		seen.types[seen.replies] = type;
	seen.replies++;
	if (seen.all_len + reply.len < sizeof(seen.all)) {
		memcpy(seen.all + seen.all_len, reply.at, reply.len);
		seen.all_len += reply.len;
	}
	if (seen.replies == seen.free_after) {
		redis_conn_free(conn);
		seen.conn = NULL;
		seen.is_closed = true;
	}
}

static void
on_batch_end(struct redis_conn *conn, void *arg)
{
	(void)conn, (void)arg;
	seen.batches++;
}

static void
on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	(void)arg;
	CHECK(conn == seen.conn && !seen.is_closed && !seen.is_inside);
	seen.is_closed = true;
	seen.kind = kind;
	snprintf(seen.reason, sizeof(seen.reason), "%s", reason);
}

static const struct redis_conn_events events = { on_ready, on_reply, on_batch_end, on_closed };

static void
connect_with(const struct redis_target *target, const struct redis_conn_options *options)
{
	memset(&seen, 0, sizeof(seen));
	seen.is_inside = true;
	seen.conn = redis_conn_new(base, NULL, target, options, &events, NULL);
	seen.is_inside = false;
}

static void
connect_to(const struct redis_target *target, int resp_version)
{
	struct redis_conn_options options = {
		.resp_version = resp_version,
		.database = -1,
		.client_name = "sidecar",
		.connect_ms = 2000,
		.commands = &seen.commands,
	};

	connect_with(target, &options);
}

static void
write_now(const char *text)
{
	seen.is_inside = true;
	redis_conn_write(seen.conn, slice_of(text));
	redis_conn_flush(seen.conn);
	seen.is_inside = false;
}

static void
disconnect(void)
{
	redis_conn_free(seen.conn);
	seen.conn = NULL;
}

/* Writes, and waits for that many replies. */
static void
ask(const char *text, int replies)
{
	seen.all_len = 0;
	seen.replies = 0;
	memset(seen.all, 0, sizeof(seen.all));
	write_now(text);
	for (int64_t until = clock_mono_ms() + 2000;
	     seen.replies < replies && !seen.is_closed && clock_mono_ms() < until;) {
		seen.has_reply = false;
		true_after(&seen.has_reply, 100);
	}
	CHECK_INT(seen.replies, replies);
}

/* Connects, and checks that it ends so. */
static void
check_fails(struct redis_target *target, int resp_version, enum failure_kind kind,
    const char *reason)
{
	int64_t start = clock_mono_ms();

	connect_to(target, resp_version);
	CHECK(true_after(&seen.is_closed, 4000));
	CHECK(!seen.is_ready);
	CHECK_TEXT(failure_kind_name(seen.kind), failure_kind_name(kind));
	CHECK_TEXT(seen.reason, reason);
	CHECK(kind == FAILURE_TIMEOUT || clock_mono_ms() - start < 3000);
	disconnect();
	redis_target_free(target);
}

static void
check_works(struct redis_target *target, int resp_version)
{
	connect_to(target, resp_version);
	CHECK(true_after(&seen.is_ready, 4000));
	if (seen.is_closed)
		printf("closed: %s\n", seen.reason);
	if (seen.is_ready) {
		CHECK(redis_conn_client_id(seen.conn) > 0);
		ask("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*2\r\n$6\r\nCLIENT\r\n$7\r\nGETNAME\r\n", 2);
		CHECK_TEXT(seen.all, "$2\r\nhi\r\n$7\r\nsidecar\r\n");
		CHECK_TEXT(seen.types, "$$");
		ask("*2\r\n$7\r\nHGETALL\r\n$1\r\nx\r\n", 1);
		CHECK_TEXT(seen.all, resp_version == 3 ? "%0\r\n" : "*0\r\n");
	}
	disconnect();
	redis_target_free(target);
}

TEST(it_greets_in_both_versions_with_and_without_a_password)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, NULL);

	check_works(target_of(NULL, "redis://127.0.0.1:%d", port), 2);
	check_works(target_of(NULL, "redis://localhost:%d", port), 3);
	CHECK_INT(counter_get(&seen.commands), 1);
	stop_redis(pid);

	pid = start_plain_redis(port, "p w:/@%");
	check_works(target_of(NULL, "redis://:p%%20w%%3A%%2F%%40%%25@127.0.0.1:%d", port), 2);
	check_works(target_of(NULL, "redis://default:p%%20w%%3A%%2F%%40%%25@127.0.0.1:%d", port),
	    3);
	check_fails(target_of(NULL, "redis://:no@127.0.0.1:%d", port), 2, FAILURE_AUTH,
	    "authentication failed (WRONGPASS)");
	check_fails(target_of(NULL, "redis://nobody:no@127.0.0.1:%d", port), 3, FAILURE_AUTH,
	    "authentication failed (WRONGPASS)");
	check_fails(target_of(NULL, "redis://127.0.0.1:%d", port), 2, FAILURE_AUTH,
	    "authentication failed (NOAUTH)");
	check_fails(target_of(NULL, "redis://127.0.0.1:%d", port), 3, FAILURE_AUTH,
	    "authentication failed (NOAUTH)");
	stop_redis(pid);
}

TEST(it_selects_its_database)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, NULL);
	struct redis_target *target = target_of(NULL, "redis://127.0.0.1:%d/3", port);
	struct redis_conn_options options = { .resp_version = 2,
		.database = -1,
		.connect_ms = 2000 };

	connect_with(target, &options);
	CHECK(true_after(&seen.is_ready, 2000));
	ask("*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n", 1);
	CHECK(strstr(seen.all, " db=3 ") != NULL);
	disconnect();
	options.database = 5;
	connect_with(target, &options);
	CHECK(true_after(&seen.is_ready, 2000));
	ask("*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n", 1);
	CHECK(strstr(seen.all, " db=5 ") != NULL);
	disconnect();
	redis_target_free(target);
	check_fails(target_of(NULL, "redis://127.0.0.1:%d/99", port), 3, FAILURE_PROTOCOL,
	    "SELECT refused (ERR)");
	stop_redis(pid);
}

/* redis-server opens its unix socket after its port. */
static void
wait_for_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	bool is_up = false;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	for (int i = 0; i < 1000 && !is_up; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		is_up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
		close(fd);
		if (!is_up)
			usleep(5000);
	}
}

TEST(it_speaks_through_a_unix_socket)
{
	char path[96];
	int port = free_port();
	char number[8];
	const char *options[] = { "--port", number, "--unixsocket", in_world(path, "redis.sock"),
		NULL };

	snprintf(number, sizeof(number), "%d", port);
	check_fails(target_of(NULL, "unix://%s", path), 3, FAILURE_CONNECT, "no such socket");
	pid_t pid = start_redis(port, options);
	wait_for_unix(path);
	check_works(target_of(NULL, "unix://%s", path), 3);
	check_works(target_of(NULL, "unix://%s", path), 2);
	stop_redis(pid);
	check_fails(target_of(NULL, "unix://%s", path), 3, FAILURE_CONNECT, "connection refused");
}

/* Starts a redis-server with that certificate on a TLS port and a plain one. */
static pid_t
start_tls_redis(const struct cert *cert, int tls_port, int port)
{
	char numbers[2][8];
	const char *options[] = { "--port", numbers[0], "--tls-port", numbers[1], "--tls-cert-file",
		cert->crt_path, "--tls-key-file", cert->key_path, "--tls-ca-cert-file",
		cert->crt_path, "--tls-auth-clients", "no", NULL };

	snprintf(numbers[0], sizeof(numbers[0]), "%d", port);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", tls_port);
	return start_redis(tls_port, options);
}

TEST(tls_checks_the_certificate_and_the_name)
{
	struct cert ca = make_cert("ca", NULL, NULL, 7200);
	struct cert other_ca = make_cert("other-ca", NULL, NULL, 7200);
	struct cert good = make_cert("good", "DNS:localhost,IP:127.0.0.1", &ca, 7200);
	struct cert named = make_cert("named", "DNS:localhost", &ca, 7200);
	struct cert expired = make_cert("expired", "DNS:localhost", &ca, -3600);
	struct cert foreign = make_cert("foreign", "DNS:other.example", &ca, 7200);
	int tls_port = free_port(), port = free_port();
	pid_t pid = start_tls_redis(&good, tls_port, port);

	check_works(target_of(ca.crt_path, "rediss://localhost:%d", tls_port), 3);
	check_works(target_of(ca.crt_path, "rediss://localhost:%d", tls_port), 2);
	check_works(target_of(ca.crt_path, "rediss://127.0.0.1:%d", tls_port), 3);
	check_fails(target_of(NULL, "rediss://localhost:%d", tls_port), 3, FAILURE_TLS,
	    "certificate is not trusted (unable to get local issuer certificate)");
	check_fails(target_of(other_ca.crt_path, "rediss://localhost:%d", tls_port), 3, FAILURE_TLS,
	    "certificate is not trusted (unable to get local issuer certificate)");
	check_fails(target_of(ca.crt_path, "rediss://localhost:%d", port), 3, FAILURE_TIMEOUT,
	    "no answer to the TLS handshake (redis://?) within 2 s");
	check_fails(target_of(NULL, "redis://localhost:%d", tls_port), 3, FAILURE_LOST,
	    "connection closed by Redis at HELLO (does it expect rediss://?)");
	/* One connection's failure must not poison OpenSSL's error queue. */
	check_works(target_of(ca.crt_path, "rediss://localhost:%d", tls_port), 3);
	stop_redis(pid);

	pid = start_tls_redis(&named, tls_port, port);
	check_fails(target_of(ca.crt_path, "rediss://127.0.0.1:%d", tls_port), 3, FAILURE_TLS,
	    "certificate is for another host name");
	stop_redis(pid);
	pid = start_tls_redis(&expired, tls_port, port);
	check_fails(target_of(ca.crt_path, "rediss://localhost:%d", tls_port), 3, FAILURE_TLS,
	    "certificate has expired");
	stop_redis(pid);
	pid = start_tls_redis(&foreign, tls_port, port);
	check_fails(target_of(ca.crt_path, "rediss://localhost:%d", tls_port), 3, FAILURE_TLS,
	    "certificate is for another host name");
	stop_redis(pid);
	free_cert(&ca), free_cert(&other_ca), free_cert(&good);
	free_cert(&named), free_cert(&expired), free_cert(&foreign);
}

TEST(large_requests_and_replies_pass_over_tls)
{
	enum { SIZE = 3000000 };
	struct cert ca = make_cert("ca", NULL, NULL, 7200);
	struct cert good = make_cert("good", "DNS:localhost", &ca, 7200);
	int tls_port = free_port();
	pid_t pid = start_tls_redis(&good, tls_port, 0);
	struct redis_target *target = target_of(ca.crt_path, "rediss://localhost:%d", tls_port);
	char *big = malloc(SIZE + 64);
	int start = sprintf(big, "*2\r\n$4\r\nECHO\r\n$%d\r\n", SIZE);

	memset(big + start, 'x', SIZE);
	strcpy(big + start + SIZE, "\r\n");
	connect_to(target, 3);
	CHECK(true_after(&seen.is_ready, 2000));
	ask(big, 1);
	ask("*1\r\n$4\r\nPING\r\n", 1);
	CHECK_TEXT(seen.all, "+PONG\r\n");
	CHECK_INT(redis_conn_unsent(seen.conn), 0);
	disconnect();
	redis_target_free(target);
	stop_redis(pid);
	free(big);
	free_cert(&ca), free_cert(&good);
}

TEST(a_refused_connection_and_an_unknown_host_say_so)
{
	check_fails(target_of(NULL, "redis://127.0.0.1:%d", free_port()), 3, FAILURE_CONNECT,
	    "connection refused");
	check_fails(target_of(NULL, "redis://[::1]:%d", free_port()), 3, FAILURE_CONNECT,
	    "connection refused");
}

TEST(a_server_that_never_answers_is_given_up)
{
	struct fake fake;

	fake_start(&fake, NULL);
	check_fails(target_of(NULL, "redis://127.0.0.1:%d", fake.port), 3, FAILURE_TIMEOUT,
	    "no answer to HELLO within 2 s");
	check_fails(target_of(NULL, "rediss://127.0.0.1:%d", fake.port), 3, FAILURE_TIMEOUT,
	    "no answer to the TLS handshake (redis://?) within 2 s");
	fake_stop(&fake);
}

static const char *answers[4];

/* Answers each read with the next of `answers`; after the last it hangs up. */
static void
say_next(struct fake *fake, const char *bytes, size_t len)
{
	(void)bytes, (void)len;
	if (answers[fake->commands] != NULL)
		fake_say(fake, answers[fake->commands++]);
	else
		fake_hang_up(fake);
}

TEST(tls_against_a_server_of_another_kind_fails_at_once)
{
	struct fake fake;

	answers[0] = "-ERR what?\r\n";
	answers[1] = NULL;
	fake_start(&fake, say_next);
	check_fails(target_of(NULL, "rediss://127.0.0.1:%d", fake.port), 3, FAILURE_TLS,
	    "the server does not speak TLS (redis://?)");
	answers[0] = NULL;
	check_fails(target_of(NULL, "rediss://127.0.0.1:%d", fake.port), 3, FAILURE_TLS,
	    "connection closed by Redis in the TLS handshake");
	fake_stop(&fake);
}

static void
check_fails_with(const char *answer, int resp_version, enum failure_kind kind, const char *reason)
{
	struct fake fake;

	answers[0] = answer;
	answers[1] = NULL;
	fake_start(&fake, say_next);
	check_fails(target_of(NULL, "redis://:secret@127.0.0.1:%d", fake.port), resp_version, kind,
	    reason);
	fake_stop(&fake);
}

TEST(what_is_not_resp_is_found_out_at_once)
{
	check_fails_with("HTTP/1.1 400 Bad Request\r\n\r\n", 3, FAILURE_PROTOCOL, "not RESP");
	check_fails_with("hello\n", 2, FAILURE_PROTOCOL, "not RESP");
	check_fails_with("\x15\x03\x03", 2, FAILURE_TLS, "the server expects TLS (rediss://?)");
	check_fails_with(NULL, 2, FAILURE_LOST,
	    "connection closed by Redis at HELLO (does it expect rediss://?)");
	check_fails_with("$5\r\nhelloXX", 3, FAILURE_PROTOCOL, "not RESP");
}

TEST(a_greeting_that_is_refused_tells_its_kind)
{
	check_fails_with("-LOADING Redis is loading the dataset in memory\r\n", 3, FAILURE_LOADING,
	    "not ready (LOADING)");
	check_fails_with("-ERR max requests limit exceeded. Limit: 10000\r\n", 3, FAILURE_QUOTA,
	    "over its quota (ERR)");
	check_fails_with("-ERR max daily request limit exceeded\r\n", 2, FAILURE_QUOTA,
	    "over its quota (ERR)");
	check_fails_with("-ERR max number of clients reached\r\n", 2, FAILURE_LOADING,
	    "max number of clients reached");
	check_fails_with("-NOPERM no\r\n", 2, FAILURE_AUTH, "authentication failed (NOPERM)");
	check_fails_with("-DENIED Redis is running in protected mode\r\n", 2, FAILURE_AUTH,
	    "refused by protected mode (DENIED)");
	check_fails_with("-ERR unknown command `HELLO`, with args beginning with: `secret`\r\n", 3,
	    FAILURE_PROTOCOL, "HELLO 3 is not supported (ERR)");
	check_fails_with("*2\r\n+a\r\n+b\r\n", 3, FAILURE_PROTOCOL,
	    "HELLO 3 was not answered as RESP3");
}

static char heard[1000];

/* Redis 5: no HELLO, passwords without a user. */
static void
play_redis_5(struct fake *fake, const char *bytes, size_t len)
{
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%.*s", (int)len, bytes);
	if (strstr(bytes, "HELLO") != NULL)
		fake_say(fake, "-ERR unknown command `HELLO`, with args beginning with: \r\n");
	else if (strstr(bytes, "$2\r\nID") != NULL)
		fake_say(fake, ":77\r\n");
	else
		fake_say(fake, "+OK\r\n");
}

TEST(a_server_without_hello_is_greeted_the_old_way)
{
	struct fake fake;
	struct redis_target *target;

	heard[0] = '\0';
	fake_start(&fake, play_redis_5);
	target = target_of(NULL, "redis://default:pw@127.0.0.1:%d/2", fake.port);
	connect_to(target, 2);
	CHECK(true_after(&seen.is_ready, 2000));
	CHECK_INT(redis_conn_client_id(seen.conn), 77);
	CHECK_INT(counter_get(&seen.commands), 5);
	CHECK_TEXT(heard,
	    "*7\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$2\r\npw\r\n"
	    "$7\r\nSETNAME\r\n$7\r\nsidecar\r\n*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"
	    "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$7\r\nsidecar\r\n"
	    "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n");
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
}

TEST(hello_without_setname_is_tried_where_setname_is_refused)
{
	struct fake fake;
	struct redis_target *target;

	answers[0] = "-ERR syntax error\r\n";
	answers[1] = "%2\r\n$6\r\nserver\r\n*1\r\n+x\r\n$2\r\nid\r\n:5\r\n";
	answers[2] = "-ERR unknown subcommand\r\n";
	answers[3] = NULL;
	fake_start(&fake, say_next);
	target = target_of(NULL, "redis://127.0.0.1:%d", fake.port);
	connect_to(target, 3);
	CHECK(true_after(&seen.is_ready, 2000));
	CHECK_INT(redis_conn_client_id(seen.conn), 5);
	CHECK_INT(counter_get(&seen.commands), 3);
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
}

TEST(replies_that_come_byte_by_byte_are_handed_up_whole)
{
	static const char text[] =
	    ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+a\r\n:1\r\n$3\r\n\r\nx\r\n"
	    "*2\r\n:1\r\n*-1\r\n";
	struct fake fake;
	struct redis_target *target;

	answers[0] = "%1\r\n$2\r\nid\r\n:9\r\n";
	answers[1] = NULL;
	fake_start(&fake, say_next);
	target = target_of(NULL, "redis://127.0.0.1:%d", fake.port);
	connect_to(target, 3);
	CHECK(true_after(&seen.is_ready, 2000));
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		CHECK(write(fake.fd, text + i, 1) == 1);
		run_for(1);
	}
	CHECK_INT(seen.replies, 3);
	CHECK_TEXT(seen.types, ">$*");
	CHECK_TEXT(seen.all, text);
	CHECK(seen.batches > 0);
	fake_hang_up(&fake);
	CHECK(true_after(&seen.is_closed, 1000));
	CHECK_TEXT(seen.reason, "connection closed by Redis");
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
}

static struct redis_target *
connect_to_fake(struct fake *fake)
{
	struct redis_target *target;

	answers[0] = "%1\r\n$2\r\nid\r\n:9\r\n";
	answers[1] = NULL;
	fake_start(fake, say_next);
	target = target_of(NULL, "redis://127.0.0.1:%d", fake->port);
	connect_to(target, 3);
	CHECK(true_after(&seen.is_ready, 2000));
	return target;
}

TEST(it_may_be_freed_inside_a_reply)
{
	struct fake fake;
	struct redis_target *target = connect_to_fake(&fake);

	seen.free_after = 2;
	fake_say(&fake, "+1\r\n+2\r\n+3\r\n");
	CHECK(true_after(&seen.is_closed, 1000));
	run_for(20);
	CHECK_INT(seen.replies, 2);
	fake_stop(&fake);
	redis_target_free(target);
}

TEST(while_paused_nothing_is_read)
{
	struct fake fake;
	struct redis_target *target = connect_to_fake(&fake);

	redis_conn_pause(seen.conn, true);
	fake_say(&fake, "+1\r\n");
	run_for(20);
	CHECK_INT(seen.replies, 0);
	redis_conn_pause(seen.conn, false);
	CHECK_INT(seen.replies, 0);
	CHECK(true_after(&seen.has_reply, 1000));
	CHECK_INT(seen.replies, 1);
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
}

TEST(what_the_kernel_did_not_take_is_known_after_the_close)
{
	enum { SIZE = 20000000 };
	struct fake fake;
	struct redis_target *target = connect_to_fake(&fake);
	char *big = calloc(1, SIZE);
	size_t unsent;

	fake.is_deaf = true;
	redis_conn_write(seen.conn, slice_make(big, SIZE));
	redis_conn_flush(seen.conn);
	unsent = redis_conn_unsent(seen.conn);
	CHECK(unsent > 0 && unsent < SIZE);
	fake_reset(&fake);
	CHECK(true_after(&seen.is_closed, 1000));
	CHECK_TEXT(failure_kind_name(seen.kind), "lost");
	CHECK(redis_conn_unsent(seen.conn) > 0 && redis_conn_unsent(seen.conn) <= unsent);
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
	free(big);
}

TEST(a_write_to_a_connection_that_is_gone_closes_it_from_a_later_turn)
{
	struct fake fake;
	struct redis_target *target = connect_to_fake(&fake);

	fake_reset(&fake);
	usleep(1000); /* the reset is there, the loop has not seen it */
	write_now("*1\r\n$4\r\nPING\r\n");
	write_now("*1\r\n$4\r\nPING\r\n");
	CHECK(!seen.is_closed);
	CHECK(true_after(&seen.is_closed, 1000));
	CHECK_TEXT(failure_kind_name(seen.kind), "lost");
	disconnect();
	fake_stop(&fake);
	redis_target_free(target);
}

TEST(it_may_be_freed_at_any_time)
{
	struct fake fake;
	struct redis_target *target;

	fake_start(&fake, NULL);
	target = target_of(NULL, "redis://localhost:%d", fake.port);
	for (int turns = 0; turns < 6; turns++) {
		connect_to(target, 3);
		for (int i = 0; i < turns; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		disconnect();
	}
	run_for(10);
	CHECK(!seen.is_closed);
	redis_target_free(target);
	fake_stop(&fake);
}

int
main(void)
{
	int status;

	base = event_base_new();
	status = test_run_all();
	event_base_free(base);
	return status;
}
