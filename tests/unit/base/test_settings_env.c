#include "base/settings_env.h"

#include "../test.h"

static char error[200];
static char *variable;

/* The expansion; NULL when it was refused. Valid until the next call. */
static const char *
expanded(const char *text)
{
	static char result[300];
	struct buf out = BUF_EMPTY;

	free(variable);
	variable = NULL;
	error[0] = '\0';
	bool is_fine = settings_expand(slice_of(text), &out, &variable, error, sizeof(error));
	snprintf(result, sizeof(result), "%.*s", (int)buf_len(&out), out.at != NULL ? out.at : "");
	buf_free(&out);
	return is_fine ? result : NULL;
}

__attribute__((constructor)) static void
set_variables(void)
{
	setenv("T_HOST", "db", 1);
	setenv("T_EMPTY", "", 1);
	setenv("T_DOLLAR", "${T_HOST} $1", 1);
	unsetenv("T_UNSET");
}

__attribute__((destructor)) static void
free_last(void)
{
	free(variable);
}

TEST(a_variable_takes_the_place_of_its_name)
{
	CHECK_TEXT(expanded("a ${T_HOST}-${T_HOST}."), "a db-db.");
	CHECK_TEXT(variable, "T_HOST");
}

TEST(a_default_stands_in_for_what_is_unset_or_empty)
{
	CHECK_TEXT(expanded("${T_UNSET:-x y}"), "x y");
	CHECK(variable == NULL);
	CHECK_TEXT(expanded("${T_EMPTY:-x}"), "x");
	CHECK_TEXT(expanded("${T_UNSET:-}"), "");
	CHECK_TEXT(expanded("${T_HOST:-x}"), "db");
	CHECK_TEXT(expanded("[${T_EMPTY}]"), "[]");
	CHECK(variable == NULL);
}

TEST(a_default_may_hold_a_variable_and_braces_in_pairs)
{
	CHECK_TEXT(expanded("${T_UNSET:-${T_HOST}}!"), "db!");
	CHECK_TEXT(variable, "T_HOST");
	CHECK_TEXT(expanded("${T_UNSET:-{\"a\":{\"b\":1}}}"), "{\"a\":{\"b\":1}}");
}

TEST(only_dollar_and_brace_begin_one)
{
	CHECK_TEXT(expanded("id = ANY($1) $$ $HOST {id} $"), "id = ANY($1) $$ $HOST {id} $");
	CHECK_TEXT(expanded(""), "");
}

TEST(what_a_variable_contains_is_not_expanded_again)
{
	CHECK_TEXT(expanded("${T_DOLLAR}"), "${T_HOST} $1");
}

TEST(an_unset_variable_without_default_is_refused_by_name)
{
	CHECK(expanded("${T_UNSET}") == NULL);
	CHECK_TEXT(error,
	    "the environment variable T_UNSET is not set (${T_UNSET:-} would allow that)");
	CHECK(expanded("${T_HOST} ${T_EMPTY:-${T_UNSET}}") == NULL);
	CHECK(variable == NULL);
}

TEST(a_malformed_one_is_refused_without_its_default)
{
	CHECK(expanded("${T_HOST") == NULL);
	CHECK_TEXT(error, "\"${\" has no \"}\"");
	CHECK(expanded("${}") == NULL);
	CHECK_TEXT(error, "\"${\" goes on as neither ${NAME} nor ${NAME:-default}");
	CHECK(expanded("${1}") == NULL);
	CHECK(expanded("${T_HOST-hunter2}") == NULL);
	CHECK_TEXT(error, "\"${T_HOST\" goes on as neither ${NAME} nor ${NAME:-default}");
}

TEST(sixteen_defaults_inside_each_other_are_enough)
{
	char text[300] = "x", inner[300];

	for (int i = 0; i < 16; i++) {
		snprintf(inner, sizeof(inner), "%s", text);
		snprintf(text, sizeof(text), "${T_UNSET:-%.250s}", inner);
	}
	CHECK_TEXT(expanded(text), "x");
	snprintf(inner, sizeof(inner), "${T_UNSET:-%.250s}", text);
	CHECK(expanded(inner) == NULL);
	CHECK_TEXT(error, "too many ${ inside each other");
}

TEST_MAIN
