#include "base/json.h"

#include "../test.h"

static char seen[400];

static void
note(struct slice key, enum json_kind kind, struct slice value, void *arg)
{
	static const char kinds[] = "sntf0{";
	size_t len = strlen(seen);
	(void)arg;

	snprintf(seen + len, sizeof(seen) - len, "%.*s=%c%.*s|", (int)key.len,
	    key.len > 0 ? key.at : "", kinds[kind], (int)value.len, value.len > 0 ? value.at : "");
}

/* The members, or "no" */
static const char *
read_object(const char *text)
{
	seen[0] = '\0';
	return json_object_each(slice_of(text), note, NULL) ? seen : "no";
}

TEST(each_member_is_handed_over_in_order_with_its_kind)
{
	CHECK_TEXT(
	    read_object(" { \"a\" : \"x\" , \"b\":-1.5e+3,\"c\":true,\"d\":false,\"e\":null } "),
	    "a=sx|b=n-1.5e+3|c=ttrue|d=ffalse|e=0null|");
	CHECK_TEXT(read_object("{}"), "");
	CHECK_TEXT(read_object("{\"\":\"\"}"), "=s|");
}

TEST(what_is_nested_is_handed_over_as_text)
{
	CHECK_TEXT(read_object("{\"a\":{\"b\":[1, {\"c\":[]}]},\"d\":[]}"),
	    "a={{\"b\":[1, {\"c\":[]}]}|d={[]|");
}

TEST(escapes_in_names_and_texts_are_undone)
{
	CHECK_TEXT(
	    read_object("{\"\\u0061\\n\":\"\\\"\\\\\\/\\b\\f\\r\\t\\u00e9\\u20ac\\ud83d\\ude00\"}"),
	    "a\n=s\"\\/\b\f\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|");
}

TEST(what_is_not_one_whole_object_is_refused)
{
	static const char *const wrong[] = { "", " ", "[]", "1", "\"a\"", "{", "}", "{}x", "{,}",
		"{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\":01}", "{\"a\":1.}",
		"{\"a\":.5}", "{\"a\":+1}", "{\"a\":1e}", "{\"a\":-}", "{\"a\":tru}", "{\"a\":\"x}",
		"{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\ud800\"}",
		"{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\n\"}",
		"{\"a\":[1,]}", "{\"a\":[1 2]}", "{\"a\":{\"b\"}}", "{\"a\":[}", "{\"a\":\"\\",
		"{\"a\":nulll}", "{\"a\":1 \"b\":2}", "{\"a\":\"\\u00" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (json_object_each(slice_of(wrong[i]), NULL, NULL)) {
			printf("%s was taken for an object\n", wrong[i]);
			test_failures++;
		}
	}
	CHECK(!json_object_each(SLICE_NONE, NULL, NULL));
}

static bool
nests(int depth)
{
	char text[200] = "{\"a\":";

	for (int i = 1; i < depth; i++)
		strcat(text, "[");
	for (int i = 1; i < depth; i++)
		strcat(text, "]");
	strcat(text, "}");
	return json_object_each(slice_of(text), NULL, NULL);
}

TEST(nesting_ends_at_its_limit)
{
	CHECK(nests(JSON_DEPTH_MAX));
	CHECK(!nests(JSON_DEPTH_MAX + 1));
}

TEST_MAIN
