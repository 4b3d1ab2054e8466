/* What Postgres announces, read into keys. */
#include "ladder/row_changes.h"

#include "../base/settings_helpers.h"
#include "../test.h"

static const struct settings *settings;
static struct maps *maps;

static void
set_up(void)
{
	if (maps != NULL)
		return;
	settings = test_load("[map profile]\nkey = profile:{id:int}\nquery = SELECT 1\n"
			     "[map word]\nkey = w:{id}:v1\nquery = SELECT 1\n");
	maps = maps_new(settings);
}

static struct buf keys;

static void
on_key(struct slice key, void *arg)
{
	(void)arg;
	buf_append_slice(&keys, key);
	buf_append(&keys, "|", 1);
}

static bool was_all;

/* The keys, each with a "|" behind it; "?": no such map. */
static const char *
keys_of(struct slice payload)
{
	set_up();
	buf_reset(&keys);
	if (!row_changes_read(maps, payload, on_key, NULL, &was_all))
		return "?";
	buf_append(&keys, "", 1);
	return buf_slice(&keys).at;
}

TEST(one_id_is_one_key)
{
	CHECK_TEXT(keys_of(SLICE("profile 42")), "profile:42|");
	CHECK(!was_all);
}

TEST(ids_are_separated_by_what_follows_the_name)
{
	CHECK_TEXT(keys_of(SLICE("profile 1 2 3")), "profile:1|profile:2|profile:3|");
	CHECK_TEXT(keys_of(SLICE("profile\n1\n2")), "profile:1|profile:2|");
	CHECK_TEXT(keys_of(SLICE("word\nhello world\nfoo")), "w:hello world:v1|w:foo:v1|");
	CHECK_TEXT(keys_of(SLICE("word a\nb c")), "w:a\nb:v1|w:c:v1|");
}

TEST(nothing_between_two_separators_is_no_id)
{
	CHECK_TEXT(keys_of(SLICE("profile  1 ")), "profile:1|");
	CHECK_TEXT(keys_of(SLICE("profile ")), "");
	CHECK(!was_all);
}

TEST(a_name_alone_is_the_whole_map)
{
	CHECK_TEXT(keys_of(SLICE("profile")), "");
	CHECK(was_all);
}

TEST(a_map_that_is_not_here_is_told_from_one_that_is)
{
	CHECK_TEXT(keys_of(SLICE("account 42")), "?");
	CHECK_TEXT(keys_of(SLICE("prof 42")), "?");
	CHECK_TEXT(keys_of(SLICE("profiles 42")), "?");
	CHECK_TEXT(keys_of(SLICE("")), "?");
	CHECK_TEXT(keys_of(SLICE(" 42")), "?");
}

TEST_MAIN
