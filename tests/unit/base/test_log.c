#include "base/log.h"

#include <ctype.h>
#include <pthread.h>
#include <unistd.h>

#include "../test.h"
#include "base/hash.h"
#include "base/json.h"

/* Standard error goes to a file while `log` runs; what came of it. */
static const char *
logged_by(void (*log)(void))
{
	static char text[200000];
	FILE *file = tmpfile();
	int before = dup(STDERR_FILENO);

	dup2(fileno(file), STDERR_FILENO);
	log();
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(file);
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static void
one_line(void)
{
	log_warn("redis=down after=%d", 5);
}

static void
one_of_each(void)
{
	log_debug("a");
	log_info("b");
	log_warn("c");
	log_error("d");
}

static const char nasty[] = "a\r\n2026-11-22T00:00:00.000Z error forged\x1b[31m\t\"\\\x7f\x01";

static void
nasty_line(void)
{
	log_info("peer said %s", nasty);
}

static void
long_line(void)
{
	char text[10001];

	memset(text, '\n', 10000);
	text[10000] = '\0';
	log_info("%s", text);
}

static int
lines_in(const char *text)
{
	int lines = 0;

	for (; *text != '\0'; text++)
		lines += *text == '\n';
	return lines;
}

/* 2026-11-22T10:00:00.123Z */
static bool
is_time(const char *text)
{
	static const char shape[] = "0000-00-00T00:00:00.000Z";

	for (size_t i = 0; shape[i] != '\0'; i++) {
		if (shape[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != shape[i])
			return false;
	}
	return true;
}

TEST(a_line_has_a_time_a_level_and_what_happened)
{
	log_setup(LOG_INFO, LOG_TEXT);
	const char *text = logged_by(one_line);
	CHECK(is_time(text));
	CHECK_TEXT(text + 24, " warn redis=down after=5\n");
}

TEST(lines_below_the_lowest_level_are_left_out)
{
	log_setup(LOG_WARN, LOG_TEXT);
	CHECK_INT(lines_in(logged_by(one_of_each)), 2);
	CHECK(!log_wants(LOG_INFO) && log_wants(LOG_WARN));
	log_setup(LOG_DEBUG, LOG_TEXT);
	CHECK_INT(lines_in(logged_by(one_of_each)), 4);
	log_setup(LOG_ERROR, LOG_TEXT);
	CHECK_INT(lines_in(logged_by(one_of_each)), 1);
}

TEST(a_peers_text_cannot_forge_a_line)
{
	log_setup(LOG_INFO, LOG_TEXT);
	const char *text = logged_by(nasty_line);
	CHECK_INT(lines_in(text), 1);
	CHECK_INT(text[strlen(text) - 1], '\n');
	for (const char *c = text; c[1] != '\0'; c++)
		CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
	CHECK(strstr(text, "a\\x0d\\x0a2026") != NULL);
}

static char json_level[20], json_message[300];
static int json_members;

static void
note_member(struct slice key, enum json_kind kind, struct slice value, void *arg)
{
	(void)arg;
	CHECK_INT(kind, JSON_STRING);
	json_members++;
	if (slice_equal(key, SLICE("level")))
		snprintf(json_level, sizeof(json_level), "%.*s", (int)value.len, value.at);
	if (slice_equal(key, SLICE("message")))
		snprintf(json_message, sizeof(json_message), "%.*s", (int)value.len, value.at);
}

TEST(a_json_line_is_json_whatever_a_peer_said)
{
	log_setup(LOG_INFO, LOG_JSON);
	const char *text = logged_by(nasty_line);
	char wanted[300] = "peer said ";
	CHECK_INT(lines_in(text), 1);
	json_members = 0;
	CHECK(json_object_each(slice_make(text, strlen(text) - 1), note_member, NULL));
	CHECK_INT(json_members, 3);
	CHECK_TEXT(json_level, "info");
	strcat(wanted, nasty);
	CHECK_TEXT(json_message, wanted);
}

static void
line_of_no_utf8(void)
{
	/* é, a lone byte, an overlong '/', a surrogate, 😀, beyond Unicode, cut off */
	log_info("\xc3\xa9|\xe9|\xc0\xaf|\xed\xa0\x80|\xf0\x9f\x98\x80|\xf4\x90\x80\x80|\xe2\x82");
}

TEST(bytes_that_are_no_utf8_are_escaped_and_the_others_stay)
{
	log_setup(LOG_INFO, LOG_TEXT);
	CHECK(strstr(logged_by(line_of_no_utf8),
		  " \xc3\xa9|\\xe9|\\xc0\\xaf|\\xed\\xa0\\x80|\xf0\x9f\x98\x80|"
		  "\\xf4\\x90\\x80\\x80|\\xe2\\x82\n") != NULL);
	log_setup(LOG_INFO, LOG_JSON);
	CHECK(strstr(logged_by(line_of_no_utf8), "\"\xc3\xa9|\\u00e9|\\u00c0\\u00af|") != NULL);
}

TEST(a_long_line_is_cut_and_still_whole)
{
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		log_setup(LOG_INFO, (enum log_format)format);
		const char *text = logged_by(long_line);
		CHECK_INT(lines_in(text), 1);
		CHECK_INT(text[strlen(text) - 1], '\n');
		CHECK(strlen(text) < 2300);
		if (format == LOG_JSON)
			CHECK(json_object_each(slice_make(text, strlen(text) - 1), NULL, NULL));
	}
}

static void *
one_of_many(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_info("thread %d says %s", (int)(intptr_t)arg, "the same as ever");
	return NULL;
}

static void
many_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, one_of_many, (void *)(intptr_t)i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

TEST(lines_of_many_threads_do_not_mix)
{
	log_setup(LOG_INFO, LOG_TEXT);
	const char *text = logged_by(many_threads);
	int lines = 0;
	while (is_time(text)) {
		char wanted[] = " info thread ? says the same as ever\n";
		wanted[13] = text[24 + 13];
		if (strncmp(text + 24, wanted, strlen(wanted)) != 0)
			break;
		text += 24 + strlen(wanted);
		lines++;
	}
	CHECK_INT(lines, 800);
	CHECK_TEXT(text, "");
}

/* ---- keys ---- */

static const char *
name_of(const char *key)
{
	static char text[LOG_KEY_SIZE];

	return log_key(slice_of(key), text);
}

TEST(a_key_appears_as_its_map_and_a_keyed_hash)
{
	hash_init_with(1, 2);
	CHECK_TEXT(name_of("profile:42"), "profile:#f1326d");
	CHECK(strstr(name_of("profile:42"), "42") == NULL);
	hash_init_with(1, 3);
	CHECK(strcmp(name_of("profile:42"), "profile:#f1326d") != 0);
}

TEST(what_may_be_somebodys_data_is_not_shown)
{
	static const char *const secrets[] = { "secret", "4111111111111111:card", "a b:c",
		":secret", "secretsecretsecretsecrets:1", "\xc3\xa9s:1", "", "user@example.com:1" };

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		const char *name = name_of(secrets[i]);
		CHECK_INT(name[0], '#');
		CHECK_INT(strlen(name), 7);
	}
	CHECK(strncmp(name_of("session.v2_x-y:secret"), "#", 1) == 0); /* digits are data */
	CHECK(strncmp(name_of("session_x-y.z:secret"), "session_x-y.z:#", 15) == 0);
	CHECK(strncmp(name_of("aaaaaaaaaaaaaaaaaaaaaaaa:1"), "aaaaaaaaaaaaaaaaaaaaaaaa:#", 26) ==
	    0);
}

/* ---- repeats ---- */

TEST(repeats_pass_once_in_their_time)
{
	int64_t last_ms = 0;
	CHECK(log_throttle(&last_ms, 5000, 1000));
	CHECK(!log_throttle(&last_ms, 5001, 1000));
	CHECK(!log_throttle(&last_ms, 5999, 1000));
	CHECK(log_throttle(&last_ms, 6000, 1000));
	CHECK(!log_throttle(&last_ms, 6999, 1000));
}

TEST_MAIN
