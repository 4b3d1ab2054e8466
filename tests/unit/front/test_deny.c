#include "front/deny.h"

#include "../test.h"

/* The word of `list` that denies the command "first second", or "". */
static const char *
denied_by(const char *list, const char *first, const char *second)
{
	static char text[64];
	struct slice argv[] = { slice_of(first), slice_of(second) }, word = SLICE_NONE;
	struct deny *deny = deny_new(list);
	bool is_denied = deny_has(deny, argv, second != NULL ? 2 : 1, &word);

	snprintf(text, sizeof(text), "%.*s", is_denied ? (int)word.len : 0,
	    is_denied ? word.at : "");
	deny_free(deny);
	return text;
}

TEST(a_word_denies_the_command_in_either_case)
{
	static const char list[] = "SHUTDOWN config,  eval\tx";

	CHECK_TEXT(denied_by(list, "shutdown", NULL), "SHUTDOWN");
	CHECK_TEXT(denied_by(list, "SHUTDOWN", "NOSAVE"), "SHUTDOWN");
	CHECK_TEXT(denied_by(list, "Config", "GET"), "config");
	CHECK_TEXT(denied_by(list, "EVAL", NULL), "eval");
	CHECK_TEXT(denied_by(list, "X", NULL), "x");
}

TEST(what_only_begins_alike_is_not_denied)
{
	static const char list[] = "SHUTDOWN config";

	CHECK_TEXT(denied_by(list, "SHUT", NULL), "");
	CHECK_TEXT(denied_by(list, "CONFIGURE", NULL), "");
	CHECK_TEXT(denied_by(list, "SET", "shutdown"), "");
	CHECK_TEXT(denied_by(list, "", NULL), "");
}

TEST(a_subcommand_is_denied_alone)
{
	static const char list[] = "CONFIG|SET CLIENT|KILL";

	CHECK_TEXT(denied_by(list, "config", "set"), "CONFIG|SET");
	CHECK_TEXT(denied_by(list, "config", "get"), "");
	CHECK_TEXT(denied_by(list, "config", NULL), "");
	CHECK_TEXT(denied_by(list, "CLIENT", "KILL"), "CLIENT|KILL");
}

TEST(an_empty_list_denies_nothing)
{
	CHECK_TEXT(denied_by("", "GET", NULL), "");
	CHECK_TEXT(denied_by(" , \t", "GET", NULL), "");
}

TEST_MAIN
