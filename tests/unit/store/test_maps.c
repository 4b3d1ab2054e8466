#include "store/maps.h"

#include "../test.h"

/* One map of settings; what a test does not say is empty. */
static struct map_settings
map_of(const char *key)
{
	return (struct map_settings){
		.name = "m",
		.key = (char *)key,
		.query = "SELECT 1",
		.free = "",
	};
}

static struct maps *
maps_of(struct map_settings *list, size_t count)
{
	static struct settings settings; /* must outlive the maps */

	settings = (struct settings){ .maps = list, .map_count = count };
	return maps_new(&settings);
}

/* The id that the key has in the one map of this pattern; "-" for none. */
static const char *
id_in(const char *pattern, const char *key)
{
	static char text[100];
	struct map_settings settings = map_of(pattern);
	struct maps *maps = maps_of(&settings, 1);
	struct slice id;

	if (maps_find(maps, slice_of(key), &id) == NULL)
		snprintf(text, sizeof(text), "-");
	else
		snprintf(text, sizeof(text), "%.*s", (int)id.len, id.at);
	maps_free(maps);
	return text;
}

static bool
accepts_bytes(const char *pattern, struct slice id)
{
	struct map_settings settings = map_of(pattern);
	struct maps *maps = maps_of(&settings, 1);
	bool it_accepts = map_accepts_id(maps_at(maps, 0), id);

	maps_free(maps);
	return it_accepts;
}

static bool
accepts(const char *pattern, const char *id)
{
	return accepts_bytes(pattern, slice_of(id));
}

/* ---- patterns ---- */

TEST(the_id_is_what_stands_between_prefix_and_suffix)
{
	CHECK_TEXT(id_in("profile:{id}", "profile:42"), "42");
	CHECK_TEXT(id_in("{id}:profile", "42:profile"), "42");
	CHECK_TEXT(id_in("user:{id}:profile", "user:42:profile"), "42");
	CHECK_TEXT(id_in("{id}", "anything at all"), "anything at all");
	CHECK_TEXT(id_in("profile:{id:int}", "profile:42"), "42");
	CHECK_TEXT(id_in("profile:{id:uuid}!", "profile:42!"), "42");
}

TEST(a_key_that_does_not_fit_is_in_no_map)
{
	CHECK_TEXT(id_in("profile:{id}", "profil:42"), "-");
	CHECK_TEXT(id_in("profile:{id}", "Profile:42"), "-");
	CHECK_TEXT(id_in("profile:{id}", "profile"), "-");
	CHECK_TEXT(id_in("profile:{id}", ""), "-");
	CHECK_TEXT(id_in("user:{id}:profile", "user:42:profiles"), "-");
	CHECK_TEXT(id_in("user:{id}:profile", "user:42"), "-");
}

TEST(an_empty_id_is_none)
{
	CHECK_TEXT(id_in("profile:{id}", "profile:"), "-");
	CHECK_TEXT(id_in("user:{id}:profile", "user::profile"), "-");
	CHECK_TEXT(id_in("{id}", ""), "-");
}

TEST(prefix_and_suffix_do_not_share_bytes)
{
	CHECK_TEXT(id_in("ab{id}ba", "aba"), "-");
	CHECK_TEXT(id_in("ab{id}ba", "abba"), "-");
	CHECK_TEXT(id_in("ab{id}ba", "abxba"), "x");
	CHECK_TEXT(id_in("ab{id}ba", "abbaba"), "ba");
}

TEST(the_id_may_hold_what_the_pattern_holds)
{
	CHECK_TEXT(id_in("a:{id}:b", "a:a:x:b:b"), "a:x:b");
	CHECK_TEXT(id_in("profile:{id}", "profile:profile:1"), "profile:1");
}

TEST(of_maps_that_overlap_the_first_has_the_key)
{
	struct map_settings list[] = { map_of("user:{id}:profile"), map_of("user:{id}"),
		map_of("{id}") };
	struct maps *maps = maps_of(list, 3);
	struct slice id;

	CHECK_INT(maps_count(maps), 3);
	CHECK(maps_find(maps, SLICE("user:1:profile"), &id) == maps_at(maps, 0));
	CHECK(slice_equal(id, SLICE("1")));
	CHECK(maps_find(maps, SLICE("user:1:other"), &id) == maps_at(maps, 1));
	CHECK(slice_equal(id, SLICE("1:other")));
	CHECK(maps_find(maps, SLICE("other"), &id) == maps_at(maps, 2));
	maps_free(maps);
}

/* An id that the first map cannot hold is still its key: a missing row. */
TEST(an_id_of_the_wrong_type_does_not_fall_through_to_the_next_map)
{
	struct map_settings list[] = { map_of("user:{id:int}"), map_of("user:{id}") };
	struct maps *maps = maps_of(list, 2);
	struct slice id;

	CHECK(maps_find(maps, SLICE("user:bob"), &id) == maps_at(maps, 0));
	maps_free(maps);
}

TEST(without_maps_no_key_is_mapped)
{
	struct maps *maps = maps_of(NULL, 0);
	struct slice id;

	CHECK_INT(maps_count(maps), 0);
	CHECK(maps_find(maps, SLICE("a"), &id) == NULL);
	maps_free(maps);
	maps_free(NULL);
}

/* ---- ids ---- */

TEST(an_int_is_one_as_postgres_prints_it)
{
	static const char *const right[] = { "0", "1", "42", "-1", "9223372036854775807",
		"-9223372036854775808", "1000000" };
	static const char *const wrong[] = { "", "-", "+1", "01", "00", "-0", "-01", " 1", "1 ",
		"1.0", "1e3", "0x1", "9223372036854775808", "-9223372036854775809", "a", "1a" };

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		CHECK(accepts("p:{id:int}", right[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(!accepts("p:{id:int}", wrong[i]));
	CHECK(!accepts_bytes("p:{id:int}", SLICE("1\0")));
}

TEST(a_uuid_is_one_in_either_case)
{
	static const char *const right[] = { "123e4567-e89b-12d3-a456-426614174000",
		"123E4567-E89B-12D3-A456-426614174000", "00000000-0000-0000-0000-000000000000" };
	static const char *const wrong[] = { "", "123e4567e89b12d3a456426614174000",
		"{123e4567-e89b-12d3-a456-426614174000}", "123e4567-e89b-12d3-a456-42661417400",
		"123e4567-e89b-12d3-a456-4266141740000", "123g4567-e89b-12d3-a456-426614174000",
		"123e4567-e89b-12d3-a456_426614174000", "123e45678e89b-12d3-a456-426614174000",
		"-23e4567-e89b-12d3-a456-426614174000" };

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		CHECK(accepts("p:{id:uuid}", right[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(!accepts("p:{id:uuid}", wrong[i]));
}

TEST(any_id_is_utf8_without_nul)
{
	static const char *const right[] = { "42", "bob", "a b:c", "\xc2\x80", "\xdf\xbf",
		"\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf", "caf\xc3\xa9", "\x01\x7f" };
	static const char *const wrong[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2",
		"\xc2\x61", "\xe0\x9f\xbf", "\xe0\xa0", "\xed\xa0\x80", "\xed\xbf\xbf", "\xef\xbf",
		"\xef\xbf\x61", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff", "\xfe", "ok\xff", "\xf8\x88\x80\x80\x80" };

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		CHECK(accepts("p:{id}", right[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (accepts("p:{id}", wrong[i])) {
			printf("wrong[%zu] was accepted\n", i);
			test_failures++;
		}
	}
	CHECK(!accepts_bytes("p:{id}", SLICE("\0")));
	CHECK(!accepts_bytes("p:{id}", SLICE("a\0b")));
}

/* Every sequence of one to four bytes around the edges, against Unicode's own
 * table 3-7 written as code points. */
static bool
is_one_code_point(const unsigned char *at, size_t len)
{
	unsigned code, least;

	if (len == 1)
		return at[0] > 0 && at[0] < 0x80;
	code = at[0] & (0x7fu >> len);
	if ((unsigned)at[0] >> (7 - len) != (1u << (len + 1)) - 2)
		return false;
	for (size_t i = 1; i < len; i++) {
		if (at[i] >> 6 != 2)
			return false;
		code = code << 6 | (at[i] & 0x3f);
	}
	least = len == 2 ? 0x80 : len == 3 ? 0x800 : 0x10000;
	return code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

TEST(every_two_and_three_bytes_are_judged_as_unicode_does)
{
	struct map_settings settings = map_of("p:{id}");
	struct maps *maps = maps_of(&settings, 1);
	unsigned char at[3];
	int wrong = 0;

	for (unsigned n = 0; n < 1u << 24; n += n < 1u << 16 ? 1 : 13) {
		size_t len = n < 1u << 16 ? 2 : 3;
		at[0] = (unsigned char)(n >> (len == 3 ? 16 : 8));
		at[1] = (unsigned char)(n >> (len == 3 ? 8 : 0));
		at[2] = (unsigned char)n;
		bool wanted = is_one_code_point(at, len) ||
		    (is_one_code_point(at, 1) && is_one_code_point(at + 1, len - 1)) ||
		    (len == 3 && is_one_code_point(at, 2) && is_one_code_point(at + 2, 1)) ||
		    (len == 3 && is_one_code_point(at, 1) && is_one_code_point(at + 1, 1) &&
			is_one_code_point(at + 2, 1));
		wrong += map_accepts_id(maps_at(maps, 0), slice_make((char *)at, len)) != wanted;
	}
	CHECK_INT(wrong, 0);
	maps_free(maps);
}

/* ---- the free answer ---- */

static const char *
free_of(enum map_type type, const char *free_text)
{
	static char text[200];
	struct map_settings settings = map_of("p:{id}");
	settings.type = type;
	settings.free = (char *)free_text;
	struct maps *maps = maps_of(&settings, 1);
	struct slice bytes = blob_slice(maps_at(maps, 0)->free);

	snprintf(text, sizeof(text), "%.*s", (int)bytes.len, bytes.at);
	maps_free(maps);
	return text;
}

TEST(a_free_string_is_the_text_as_it_stands)
{
	CHECK_TEXT(free_of(MAP_STRING, "{\"tier\":\"free\"}"), "{\"tier\":\"free\"}");
	CHECK_TEXT(free_of(MAP_STRING, "plain"), "plain");
	CHECK_TEXT(free_of(MAP_STRING, ""), "");
}

TEST(a_free_hash_is_made_of_the_objects_members)
{
	CHECK_TEXT(free_of(MAP_HASH, "{\"tier\":\"free\",\"n\":-1.5}"),
	    "$4\r\ntier\r\n$4\r\nfree\r\n$1\r\nn\r\n$4\r\n-1.5\r\n");
	CHECK_TEXT(free_of(MAP_HASH, "{\"a\\u00e9\":\"x\\ny\"}"),
	    "$3\r\na\xc3\xa9\r\n$3\r\nx\ny\r\n");
	CHECK_TEXT(free_of(MAP_HASH, "{\"a\":{\"b\":1},\"c\":true}"),
	    "$1\r\na\r\n$7\r\n{\"b\":1}\r\n$1\r\nc\r\n$4\r\ntrue\r\n");
	CHECK_TEXT(free_of(MAP_HASH, "{\"\":\"\"}"), "$0\r\n\r\n$0\r\n\r\n");
}

TEST(a_null_member_is_no_field)
{
	CHECK_TEXT(free_of(MAP_HASH, "{\"a\":null,\"b\":1}"), "$1\r\nb\r\n$1\r\n1\r\n");
	CHECK_TEXT(free_of(MAP_HASH, "{}"), "");
	CHECK_TEXT(free_of(MAP_HASH, ""), "");
}

TEST(a_query_that_names_valid_until_is_known_to_have_one)
{
	static const struct {
		const char *query;
		bool has;
	} cases[] = { { "SELECT id, v FROM t", false },
		{ "SELECT id, v, valid_until FROM t", true },
		{ "SELECT id, v, until AS VALID_UNTIL FROM t", true } };

	for (int i = 0; i < 3; i++) {
		struct map_settings settings = map_of("p:{id}");
		settings.query = (char *)cases[i].query;
		struct maps *maps = maps_of(&settings, 1);
		CHECK_INT(maps_at(maps, 0)->has_valid_until, cases[i].has);
		maps_free(maps);
	}
}

TEST_MAIN
