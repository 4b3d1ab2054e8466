/* The values of the table's rows, both sides of every limit. */
#include "base/settings_value.h"

#include "../test.h"

union field {
	char *text;
	int64_t number;
	struct rate rate;
	bool yes;
	int choice;
};

static char error[300];

static bool
is_number(const struct setting *row)
{
	return row->kind == SETTING_INTEGER || row->kind == SETTING_DURATION ||
	    row->kind == SETTING_SIZE || row->kind == SETTING_PERCENT;
}

static void
spell(const struct setting *row, int64_t number, char *text, size_t size)
{
	struct buf out = BUF_EMPTY;

	if (row->kind == SETTING_RATE)
		setting_format(row, &(struct rate){ number, 60000 }, &out);
	else
		setting_format(row, &number, &out);
	snprintf(text, size, "%.*s", (int)buf_len(&out), buf_slice(&out).at);
	buf_free(&out);
}

static bool
accepts(const struct setting *row, int64_t number)
{
	char text[64];
	union field field = { .number = 0 };

	error[0] = '\0';
	spell(row, number, text, sizeof(text));
	if (!setting_parse(row, text, &field, error, sizeof(error)))
		return false;
	CHECK_INT(row->kind == SETTING_RATE ? field.rate.count : field.number, number);
	return true;
}

static void
check_limits(const struct setting *row)
{
	int before = test_failures;
	char out_of_range[] = "is out of range (";

	CHECK(row->min <= row->max && row->max > 0);
	CHECK(accepts(row, row->min));
	CHECK(accepts(row, row->max));
	CHECK(!accepts(row, row->max + 1));
	CHECK(strstr(error, out_of_range) != NULL);
	if (row->min > 0 && row->kind != SETTING_RATE) {
		CHECK(!accepts(row, row->min - 1));
		CHECK(strstr(error, out_of_range) != NULL);
	}
	if (test_failures > before)
		printf("  so says [%s] %s\n", row->section, row->key);
}

TEST(every_number_and_rate_is_taken_up_to_its_limits_and_not_beyond)
{
	for (size_t i = 0; i < settings_table_count; i++) {
		if (is_number(&settings_table[i]) || settings_table[i].kind == SETTING_RATE)
			check_limits(&settings_table[i]);
	}
	CHECK(is_number(setting_find("listen", "port")));
}

static void
check_row(const struct setting *row, const char *section)
{
	union field field = { .text = NULL };
	int before = test_failures;

	if (strchr(row->fallback, '$') == NULL && (row->flags & SETTING_REQUIRED) == 0)
		CHECK(setting_parse(row, row->fallback, &field, error, sizeof(error)));
	CHECK(setting_parse(row, row->example, &field, error, sizeof(error)));
	setting_release(row, &field);
	CHECK(row->help != NULL && row->help[0] != '\0' && strchr(row->help, '\n') == NULL);
	CHECK((row->choices != NULL) == (row->kind == SETTING_CHOICE));
	if (test_failures > before)
		printf("  so says [%s] %s: %s\n", section, row->key, error);
}

TEST(every_default_and_every_example_can_be_read)
{
	for (size_t i = 0; i < settings_table_count; i++)
		check_row(&settings_table[i], settings_table[i].section);
	for (size_t i = 0; i < settings_map_table_count; i++)
		check_row(&settings_map_table[i], "map NAME");
}

TEST(no_key_is_in_the_table_twice_and_sections_stand_together)
{
	for (size_t i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		CHECK(setting_find(row->section, row->key) == row);
		CHECK(setting_find_section(row->section) != NULL);
		for (size_t j = i + 2; j < settings_table_count; j++) {
			if (strcmp(settings_table[j].section, row->section) == 0)
				CHECK_TEXT(settings_table[j - 1].section, row->section);
		}
	}
	for (size_t i = 0; i < settings_map_table_count; i++)
		CHECK(setting_find_map(settings_map_table[i].key) == &settings_map_table[i]);
	CHECK(setting_find("cache", "port") == NULL);
	CHECK(setting_find_section("cach") == NULL);
}

/* The message about a wrong value. */
static const char *
refusal(const char *section, const char *key, const char *text)
{
	const struct setting *row =
	    section != NULL ? setting_find(section, key) : setting_find_map(key);
	union field field = { .text = NULL };

	error[0] = '\0';
	if (setting_parse(row, text, &field, error, sizeof(error)))
		setting_release(row, &field);
	return error;
}

TEST(a_value_of_the_wrong_kind_is_refused_with_an_example)
{
	CHECK_TEXT(refusal("cache", "ttl", "abc"), "\"abc\" is not a duration (for example 30s)");
	CHECK_TEXT(refusal("cache", "ttl", "30"), "\"30\" is not a duration (for example 30s)");
	CHECK_TEXT(refusal("cache", "ttl", ""), "\"\" is not a duration (for example 30s)");
	CHECK_TEXT(refusal("cache", "ttl", "-1s"), "\"-1s\" is not a duration (for example 30s)");
	CHECK_TEXT(refusal("cache", "max_memory", "64x"),
	    "\"64x\" is not a size (for example 64mb)");
	CHECK_TEXT(refusal("listen", "port", "6380x"),
	    "\"6380x\" is not a number (for example 6380)");
	CHECK_TEXT(refusal("breaker", "failure_rate", "half"),
	    "\"half\" is not a percentage (for example 50)");
	CHECK_TEXT(refusal("limits", "per_user", "1000"),
	    "\"1000\" is not a rate (for example 1000/min)");
	CHECK_TEXT(refusal("server", "log_format", "xml"), "\"xml\" is none of text, json");
	CHECK_TEXT(refusal(NULL, "limit", "maybe"), "\"maybe\" is neither yes nor no");
	CHECK_TEXT(refusal(NULL, "query", ""),
	    "is missing (for example SELECT id, tier FROM profiles WHERE id = ANY($1))");
	CHECK_TEXT(refusal("listen", "socket", "a\nb"), "must be one line");
	CHECK_TEXT(refusal("listen", "socket", "a\x01"), "contains a control character");
}

TEST(a_number_beyond_its_limits_is_refused_with_them)
{
	CHECK_TEXT(refusal("listen", "port", "99999"), "99999 is out of range (1 to 65535)");
	CHECK_TEXT(refusal("listen", "port", "-1"), "-1 is out of range (1 to 65535)");
	CHECK_TEXT(refusal("listen", "port", "99999999999999999999"),
	    "99999999999999999999 is out of range (1 to 65535)");
	CHECK_TEXT(refusal("cache", "ttl", "0"), "0 is out of range (1ms to 365d)");
	CHECK_TEXT(refusal("cache", "max_value", "1gb"), "1gb is out of range (1 to 512mb)");
	CHECK_TEXT(refusal("limits", "per_ip", "2000000000/s"),
	    "2000000000/s is out of range (1 to 1000000000)");
}

TEST(a_long_value_is_cut_in_messages)
{
	char text[100];

	memset(text, 'x', 99);
	text[99] = '\0';
	CHECK_TEXT(refusal("cache", "ttl", text),
	    "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" is not a duration "
	    "(for example 30s)");
}

TEST(booleans_have_three_spellings_each)
{
	static const char *const words[] = { "yes", "true", "on", "YES", "no", "false", "off",
		"Off" };
	const struct setting *row = setting_find_map("limit");

	for (size_t i = 0; i < 8; i++) {
		bool yes = i >= 4;
		CHECK(setting_parse(row, words[i], &yes, error, sizeof(error)));
		CHECK(yes == (i < 4));
	}
}

TEST(a_list_has_one_space_between_its_words)
{
	const struct setting *row = setting_find("commands", "deny");
	union field field = { .text = NULL };

	CHECK(setting_parse(row, " A \t B\n  C ", &field, error, sizeof(error)));
	CHECK_TEXT(field.text, "A B C");
	setting_release(row, &field);
}

static const char *
masked(const char *url)
{
	static char text[200];
	struct buf out = BUF_EMPTY;

	setting_mask_url(url, &out);
	snprintf(text, sizeof(text), "%.*s", (int)buf_len(&out), out.at != NULL ? out.at : "");
	buf_free(&out);
	return text;
}

TEST(a_url_is_shown_without_what_may_be_a_password)
{
	CHECK_TEXT(masked(""), "");
	CHECK_TEXT(masked("redis://localhost:6379/0"), "redis://localhost:6379/0");
	CHECK_TEXT(masked("redis://:pw@host:6379"), "redis://:********@host:6379");
	CHECK_TEXT(masked("rediss://default:a:b@c/d@host"), "rediss://default:********@host");
	CHECK_TEXT(masked("redis://token@host"), "redis://********@host");
	CHECK_TEXT(masked("postgres://u:pw@h/db?sslmode=require"),
	    "postgres://u:********@h/db?sslmode=require");
	CHECK_TEXT(masked("postgres://h/db?user=u&password=pw&x=1"),
	    "postgres://h/db?user=u&password=********&x=1");
	CHECK_TEXT(masked("host=h sslpassword = a password='b c' x=1"),
	    "host=h sslpassword = ******** password=********");
	CHECK_TEXT(masked("user:pw@host"), "user:********@host");
	CHECK_TEXT(masked("postgres://h/password"), "postgres://h/password");
}

TEST_MAIN
