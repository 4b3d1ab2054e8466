#include "upstream/redis_target.h"

#include <unistd.h>

#include "../test.h"

static char error[200];

static struct redis_target *
parse(const char *url, const char *token)
{
	error[0] = '\0';
	return redis_target_new(url, token, NULL, error, sizeof(error));
}

/* Checks the host, port, user, password and database of a good URL. */
static void
check(const char *url, const char *token, const char *host, int port, const char *user,
    const char *password, int database)
{
	struct redis_target *target = parse(url, token);

	CHECK(target != NULL);
	if (target == NULL) {
		printf("%s: %s\n", url, error);
		return;
	}
	CHECK_TEXT(target->host, host);
	CHECK_INT(target->port, port);
	CHECK_TEXT(target->access->user != NULL ? target->access->user : "-",
	    user != NULL ? user : "-");
	CHECK_TEXT(target->access->password != NULL ? target->access->password : "-",
	    password != NULL ? password : "-");
	CHECK_INT(target->database, database);
	redis_target_free(target);
}

/* Checks that a URL is refused for a reason that starts so, and that the
 * reason holds nothing of the password. */
static void
check_bad(const char *url, const char *token, const char *reason)
{
	struct redis_target *target = parse(url, token);

	CHECK(target == NULL);
	redis_target_free(target);
	CHECK_TEXT(strncmp(error, reason, strlen(reason)) == 0 ? reason : error, reason);
	CHECK(strstr(error, "sec") == NULL && strstr(error, "ret") == NULL);
}

TEST(a_plain_url_is_taken_apart)
{
	check("redis://example.com", NULL, "example.com", 6379, NULL, NULL, 0);
	check("redis://example.com:7000/3", NULL, "example.com", 7000, NULL, NULL, 3);
	check("redis://127.0.0.1:7000/?db=4", NULL, "127.0.0.1", 7000, NULL, NULL, 4);
	check("redis://", NULL, "localhost", 6379, NULL, NULL, 0);
	check("REDIS://h", NULL, "h", 6379, NULL, NULL, 0);
	check("  redis://h:1 \n", " t\n", "h", 1, NULL, "t", 0);
	check("redis://h?client_name=x&db=2", NULL, "h", 6379, NULL, NULL, 2);
}

TEST(user_and_password_are_percent_decoded)
{
	check("redis://u:p@h", NULL, "h", 6379, "u", "p", 0);
	check("redis://:p@h:1", NULL, "h", 1, NULL, "p", 0);
	check("redis://u%40x:p%3A%2f%25@h", NULL, "h", 6379, "u@x", "p:/%", 0);
}

TEST(a_raw_slash_or_at_in_the_password_is_understood)
{
	check("redis://:a/b@c?d@h:1/2", NULL, "h", 1, NULL, "a/b@c?d", 2);
}

TEST(a_name_alone_is_the_password_unless_there_is_a_token)
{
	check("redis://secret@h", NULL, "h", 6379, NULL, "secret", 0);
	check("redis://u@h", "t", "h", 6379, "u", "t", 0);
	check("redis://u:p@h", "t", "h", 6379, "u", "p", 0);
	check("rediss://h", "t", "h", 6379, NULL, "t", 0);
}

TEST(a_password_may_hold_any_byte)
{
	struct redis_target *target = parse("redis://:a%00b%ff@h", NULL);

	CHECK(target != NULL && target->access->password_len == 4);
	CHECK(target != NULL && memcmp(target->access->password, "a\0b\xff", 4) == 0);
	redis_target_free(target);
}

TEST(an_ipv6_address_stands_in_brackets)
{
	char name[64];

	check("redis://[::1]", NULL, "::1", 6379, NULL, NULL, 0);
	check("redis://:p@[fe80::1%eth0]:7000/1", NULL, "fe80::1%eth0", 7000, NULL, "p", 1);
	struct redis_target *target = parse("rediss://[::1]:7", NULL);
	redis_target_name(target, name, sizeof(name));
	CHECK_TEXT(name, "rediss://[::1]:7");
	redis_target_free(target);
	check_bad("redis://[::1", NULL, "the host's '['");
	check_bad("redis://[secret]", NULL, "what stands in []");
}

TEST(the_rest_url_names_the_same_host_over_tls)
{
	struct redis_target *target = parse("https://eu1-x.upstash.io", "tok/en=%41");

	CHECK(target != NULL && target->access->tls != NULL);
	CHECK_TEXT(target->host, "eu1-x.upstash.io");
	CHECK_TEXT(target->access->password, "tok/en=%41");
	CHECK_INT(target->port, 6379);
	redis_target_free(target);
	check("https://h:443/", "t", "h", 6379, NULL, "t", 0);
	check("https://h:7443", "t", "h", 7443, NULL, "t", 0);
	check_bad("https://h", NULL, "an https:// URL needs its token");
	check_bad("http://h", "secret", "http:// would send the token unencrypted");
}

TEST(a_unix_socket_has_a_path_and_a_database)
{
	char name[64];
	struct redis_target *target = parse("unix://u:p@/run/a@b/redis.sock?db=5", NULL);

	CHECK(target != NULL && target->host == NULL && target->access->tls == NULL);
	CHECK_TEXT(target->path, "/run/a@b/redis.sock");
	CHECK_TEXT(target->access->user, "u");
	CHECK_TEXT(target->access->password, "p");
	CHECK_INT(target->database, 5);
	redis_target_name(target, name, sizeof(name));
	CHECK_TEXT(name, "unix:///run/a@b/redis.sock");
	redis_target_free(target);
	target = parse("unix:///r@/s", NULL);
	CHECK(target != NULL && strcmp(target->path, "/r@/s") == 0 &&
	    target->access->password == NULL);
	redis_target_free(target);
	check_bad("unix://run/redis.sock", NULL, "a unix:// URL needs an absolute path");
	check_bad("unix:///0123456789012345678901234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678901234567",
	    NULL, "the socket's path is longer");
}

TEST(an_unusable_url_is_refused_without_quoting_it)
{
	check_bad("", NULL, "the URL is empty");
	check_bad("secret:6379", NULL, "this is no redis://");
	check_bad("redis://h:secret", NULL, "the port is not");
	check_bad("redis://h:0", NULL, "the port is not");
	check_bad("redis://h:65536", NULL, "the port is not");
	check_bad("redis://h/secret", NULL, "the database is not");
	check_bad("redis://h/-1", NULL, "the database is not");
	check_bad("redis://:sec%zzret@h", NULL, "user or password has a '%'");
	check_bad("redis://:secret%4@h", NULL, "user or password has a '%'");
	check_bad("redis://a%00b:p@h", NULL, "the user's name holds a NUL");
	check_bad("redis://se cret", NULL, "the host is no name");
	check_bad("redis://:sec#ret/x?y", NULL, "the port is not");
}

TEST(tls_needs_a_readable_ca_file)
{
	char path[] = "/tmp/sidecar-test-ca-XXXXXX";
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	CHECK(redis_target_new("rediss://h", NULL, path, error, sizeof(error)) == NULL);
	CHECK(strncmp(error, "the CA file", 11) == 0);
	CHECK(redis_target_new("rediss://h", NULL, "/nowhere", error, sizeof(error)) == NULL);
	struct redis_target *plain =
	    redis_target_new("redis://h", NULL, "/nowhere", error, sizeof(error));
	CHECK(plain != NULL && !plain->is_tls && plain->access->tls == NULL);
	redis_target_free(plain);
	close(fd);
	unlink(path);
}

TEST(a_renewed_target_logs_in_anew_and_who_has_begun_keeps_the_old)
{
	struct redis_target *target = parse("redis://u:old@h:7", NULL);
	struct redis_target *newer = parse("redis://u:new@h:7", NULL);
	struct redis_access *begun = redis_target_access(target);

	CHECK(redis_target_renew(target, newer));
	redis_target_free(newer);
	struct redis_access *now = redis_target_access(target);
	CHECK_TEXT(begun->password, "old");
	CHECK_TEXT(now->password, "new");
	redis_access_unref(begun);
	redis_access_unref(now);
	redis_target_free(target);
}

TEST(a_target_does_not_move)
{
	static const char *const others[] = { "redis://:p@g:7", "redis://:p@h:8",
		"redis://:p@h:7/1", "rediss://:p@h:7", "unix://:p@/s" };
	struct redis_target *target = parse("redis://:p@h:7", NULL);

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct redis_target *other = parse(others[i], NULL);
		CHECK(other != NULL && !redis_target_renew(target, other));
		redis_target_free(other);
	}
	redis_target_free(target);
}

TEST_MAIN
