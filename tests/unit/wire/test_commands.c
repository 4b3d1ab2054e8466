#include "wire/commands.h"

#include "../test.h"
#include "base/buf.h"

#define WORDS_MAX 300

/* Splits at blanks; a '_' alone stands for an empty word. */
static size_t
split(const char *text, struct slice *argv)
{
	size_t argc = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");
		argv[argc++] = len == 1 && *text == '_' ? SLICE("") : slice_make(text, len);
		text += len + (text[len] == ' ');
	}
	return argc;
}

static const struct command_info *
find(const char *text)
{
	struct slice argv[WORDS_MAX];
	size_t argc = split(text, argv);

	return command_find(argv, argc);
}

static int
class_of(const char *text)
{
	const struct command_info *info = find(text);

	return info != NULL ? (int)info->class : -1;
}

static void
note_key(struct slice key, void *arg)
{
	buf_printf(arg, "%s%.*s", buf_len(arg) > 0 ? " " : "", (int)key.len, key.at);
}

/* The keys that it may write; overwritten by the next call. */
static const char *
keys_of(const char *text)
{
	static struct buf keys;
	struct slice argv[WORDS_MAX];
	size_t argc = split(text, argv);

	buf_free(&keys);
	command_each_written_key(command_find(argv, argc), argv, argc, note_key, &keys);
	buf_append(&keys, "", 1);
	return buf_slice(&keys).at;
}

/* ---- finding ---- */

TEST(a_command_is_found_in_any_case)
{
	CHECK_TEXT(find("get k")->name, "get");
	CHECK_TEXT(find("GET k")->name, "get");
	CHECK_TEXT(find("gEt k")->name, "get");
}

TEST(what_is_nearly_a_command_is_unknown)
{
	CHECK(find("ge k") == NULL);
	CHECK(find("gett k") == NULL);
	CHECK(find("_ k") == NULL);
	CHECK(find("zzz") == NULL);
	CHECK(find("a") == NULL);
	CHECK(find("g\xe9t k") == NULL);
	CHECK(find("get| k") == NULL);
	CHECK(find("@[`{ k") == NULL);
}

/* Compared with a table of C strings, a NUL must not look like their end. */
TEST(a_name_with_a_nul_in_it_is_unknown)
{
	struct slice words[] = { SLICE("get\0"), SLICE("get\0\0\0\0"), SLICE("\0"), SLICE("\0get"),
		SLICE("get\0getbit"), SLICE("zunionstore\0zunionstore"), SLICE("zunionstore\0") };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		CHECK(command_find(&words[i], 1) == NULL);
}

TEST(a_subcommand_is_found_by_the_first_two_words)
{
	CHECK_TEXT(find("client id")->name, "client|id");
	CHECK_TEXT(find("CLIENT Id")->name, "client|id");
	CHECK_TEXT(find("xgroup CREATE s g $")->name, "xgroup|create");
	CHECK_TEXT(find("config get maxmemory")->name, "config|get");
	CHECK_TEXT(find("object freq k")->name, "object|freq");
}

TEST(an_unknown_subcommand_and_none_give_the_command)
{
	CHECK_TEXT(find("client nonsense")->name, "client");
	CHECK_TEXT(find("client")->name, "client");
	CHECK_TEXT(find("client _")->name, "client");
	/* No subcommands: the second word is a key. */
	CHECK_TEXT(find("get id")->name, "get");
	CHECK_TEXT(find("get |")->name, "get");
}

TEST(a_long_second_word_is_no_subcommand)
{
	char text[400] = "client ";

	memset(text + 7, 'x', 300);
	CHECK_TEXT(find(text)->name, "client");
	memset(text, 'x', 300);
	CHECK(find(text) == NULL);
}

/* ---- classes ---- */

TEST(commands_have_the_class_that_routes_them)
{
	CHECK_INT(class_of("get k"), COMMAND_READ_KEY);
	CHECK_INT(class_of("hgetall k"), COMMAND_READ_KEY);
	CHECK_INT(class_of("exists a b"), COMMAND_READ);
	CHECK_INT(class_of("mget a b"), COMMAND_READ_MANY);
	CHECK_INT(class_of("set k v"), COMMAND_WRITE);
	CHECK_INT(class_of("getex k EX 1"), COMMAND_WRITE);
	CHECK_INT(class_of("getdel k"), COMMAND_WRITE);
	CHECK_INT(class_of("expire k 1"), COMMAND_WRITE);
	CHECK_INT(class_of("eval x 0"), COMMAND_WRITE);
	CHECK_INT(class_of("multi"), COMMAND_SESSION);
	CHECK_INT(class_of("watch k"), COMMAND_SESSION);
	CHECK_INT(class_of("subscribe c"), COMMAND_SESSION);
	CHECK_INT(class_of("blpop k 0"), COMMAND_SESSION);
	CHECK_INT(class_of("monitor"), COMMAND_SESSION);
	CHECK_INT(class_of("flushall"), COMMAND_FLUSH);
	CHECK_INT(class_of("flushdb async"), COMMAND_FLUSH);
	CHECK_INT(class_of("swapdb 0 1"), COMMAND_FLUSH);
	CHECK_INT(class_of("ping"), COMMAND_LOCAL);
	CHECK_INT(class_of("hello 3"), COMMAND_LOCAL);
	CHECK_INT(class_of("client kill"), COMMAND_LOCAL);
	CHECK_INT(class_of("publish c m"), COMMAND_FORWARD);
	CHECK_INT(class_of("config get x"), COMMAND_FORWARD);
}

/* Kept by its words, an answer must not depend on the time, on chance, on
 * another key, or on who asks. */
TEST(what_may_answer_otherwise_the_next_time_is_no_read_of_one_key)
{
	static const char *const others[] = { "ttl k", "pttl k", "srandmember k", "hrandfield k",
		"zrandmember k", "randomkey", "dump k", "object idletime k", "object freq k",
		"memory usage k", "touch k", "sscan k 0", "hscan k 0", "zscan k 0", "scan 0",
		"keys *", "dbsize", "sort_ro k by w_*", "sinter a b", "pfcount a", "lcs a b",
		"xread streams s 0", "xpending s g", "xinfo stream s", "exists a", "mget a",
		"eval_ro s 1 a", "lolwut" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (class_of(others[i]) == COMMAND_READ_KEY) {
			printf("%s\n", others[i]);
			test_failures++;
		}
	}
}

TEST(only_some_streams_may_block)
{
	CHECK(find("xread block 0 streams s 0")->may_block);
	CHECK(find("xreadgroup group g c streams s 0")->may_block);
	CHECK(!find("xadd s 1 f v")->may_block);
	CHECK(!find("blpop k 0")->may_block); /* a session always */
}

/* ---- keys ---- */

TEST(one_key_stands_behind_the_command)
{
	CHECK_TEXT(keys_of("set k v"), "k");
	CHECK_TEXT(keys_of("SET k v EX 10"), "k");
	CHECK_TEXT(keys_of("hset h f v"), "h");
	CHECK_TEXT(keys_of("expire k 10"), "k");
	CHECK_TEXT(keys_of("set"), "");
}

TEST(a_list_of_keys_goes_to_the_end)
{
	CHECK_TEXT(keys_of("del a b c"), "a b c");
	CHECK_TEXT(keys_of("unlink a"), "a");
	CHECK_TEXT(keys_of("del"), "");
	CHECK_TEXT(keys_of("del a a"), "a a");
}

TEST(mset_names_every_other_word)
{
	CHECK_TEXT(keys_of("mset a 1 b 2"), "a b");
	CHECK_TEXT(keys_of("MSETNX a 1"), "a");
	CHECK_TEXT(keys_of("mset a 1 b"), "a b"); /* wrong, but drops no less */
}

TEST(a_destination_is_written_and_its_sources_are_not)
{
	CHECK_TEXT(keys_of("zunionstore d 2 a b"), "d");
	CHECK_TEXT(keys_of("sunionstore d a b"), "d");
	CHECK_TEXT(keys_of("bitop and d a b"), "d");
	CHECK_TEXT(keys_of("copy a d"), "d");
	CHECK_TEXT(keys_of("pfmerge d a"), "d");
	CHECK_TEXT(keys_of("geosearchstore d s fromlonlat 1 1 byradius 1 m"), "d");
}

TEST(what_is_moved_changes_at_both_ends)
{
	CHECK_TEXT(keys_of("rename a b"), "a b");
	CHECK_TEXT(keys_of("smove a b m"), "a b");
	CHECK_TEXT(keys_of("lmove a b left right"), "a b");
	CHECK_TEXT(keys_of("rpoplpush a b"), "a b");
}

TEST(a_script_names_as_many_keys_as_it_says)
{
	CHECK_TEXT(keys_of("eval s 2 a b arg"), "a b");
	CHECK_TEXT(keys_of("evalsha s 1 a b"), "a");
	CHECK_TEXT(keys_of("fcall f 1 a"), "a");
	CHECK_TEXT(keys_of("eval s 0 a"), "");
	CHECK_TEXT(keys_of("eval s 3 a b"), "a b"); /* more than there are */
	CHECK_TEXT(keys_of("eval s 99999999999999999999 a"), "");
	CHECK_TEXT(keys_of("eval s 9223372036854775807 a"), "a");
	CHECK_TEXT(keys_of("eval s -1 a"), "");
	CHECK_TEXT(keys_of("eval s x a"), "");
	CHECK_TEXT(keys_of("eval s"), "");
	CHECK_TEXT(keys_of("eval"), "");
}

TEST(a_counted_pop_names_its_keys)
{
	CHECK_TEXT(keys_of("lmpop 2 a b left"), "a b");
	CHECK_TEXT(keys_of("zmpop 1 a min count 3"), "a");
}

TEST(a_blocking_pop_names_all_but_its_timeout)
{
	CHECK_TEXT(keys_of("blpop a b 0"), "a b");
	CHECK_TEXT(keys_of("bzpopmin a 0"), "a");
	CHECK_TEXT(keys_of("blmpop 0 2 a b left"), "a b");
	CHECK_TEXT(keys_of("blmove a b left right 0"), "a b");
	CHECK_TEXT(keys_of("blpop a"), "");
	CHECK_TEXT(keys_of("blpop"), "");
}

TEST(a_subcommands_key_is_its_third_word)
{
	CHECK_TEXT(keys_of("xgroup create s g $"), "s");
	CHECK_TEXT(keys_of("XGROUP SETID s g 0"), "s");
	CHECK_TEXT(keys_of("xgroup create"), "");
}

TEST(a_keyword_tells_where_the_key_is)
{
	CHECK_TEXT(keys_of("georadius k 1 1 1 m"), "");
	CHECK_TEXT(keys_of("georadius k 1 1 1 m STORE d"), "d");
	CHECK_TEXT(keys_of("georadius k 1 1 1 m count 3 storedist e"), "e");
	CHECK_TEXT(keys_of("georadius k 1 1 1 m store d storedist e"), "d e");
	CHECK_TEXT(keys_of("georadiusbymember k m 1 m store d"), "d");
	CHECK_TEXT(keys_of("georadius k 1 1 1 m store"), "");
	/* Not where a keyword may stand: a key that is called so. */
	CHECK_TEXT(keys_of("georadius store 1 1 1 m"), "");
}

TEST(where_keys_may_be_anywhere_every_word_may_be_one)
{
	CHECK_TEXT(keys_of("sort k by x get y store d"), "k by x get y store d");
	CHECK_TEXT(keys_of("migrate h 1 k 0 1"), "h 1 k 0 1");
}

TEST(of_an_unknown_command_every_word_may_be_a_key)
{
	CHECK_TEXT(keys_of("json.set k $ v"), "k $ v");
	CHECK_TEXT(keys_of("json.set"), "");
}

TEST(what_does_not_write_names_no_key)
{
	CHECK_TEXT(keys_of("get k"), "");
	CHECK_TEXT(keys_of("mget a b"), "");
	CHECK_TEXT(keys_of("sort_ro k"), "");
	CHECK_TEXT(keys_of("publish c m"), "");
	CHECK_TEXT(keys_of("ping"), "");
}

/* ---- the table ---- */

#define KEYS_RANGE(keyword, start, last, step, limit) \
	{ \
		KEYS_IN_RANGE, keyword, start, last, step, limit \
	}
#define KEYS_COUNTED(keyword, start, where, first, step) \
	{ \
		KEYS_BY_COUNT, keyword, start, where, first, step \
	}
#define KEYS_ANYWHERE \
	{ \
		KEYS_IN_ANY_PLACE, NULL, 0, 0, 0, 0 \
	}

static const struct command_info table[] = {
#include "../../../proxy/wire/commands.inc"
};

#define LINES (sizeof(table) / sizeof(table[0]))

TEST(the_table_is_sorted_and_each_of_its_lines_is_found)
{
	for (size_t i = 0; i < LINES; i++) {
		char text[100];
		snprintf(text, sizeof(text), "%s", table[i].name);
		if (strchr(text, '|') != NULL)
			*strchr(text, '|') = ' ';
		const struct command_info *info = find(text);
		CHECK(info != NULL);
		if (info != NULL)
			CHECK_TEXT(info->name, table[i].name);
		if (i > 0)
			CHECK(strcmp(table[i - 1].name, table[i].name) < 0);
	}
	CHECK(LINES > 300);
}

TEST(each_line_can_be_walked_to_its_end)
{
	for (size_t i = 0; i < LINES; i++) {
		CHECK(table[i].arity != 0);
		for (int s = 0; s < COMMAND_MAX_SPECS; s++) {
			const struct key_spec *spec = &table[i].specs[s];
			CHECK(spec->kind == KEYS_NONE || table[i].class == COMMAND_WRITE ||
			    table[i].class == COMMAND_SESSION);
			if (spec->kind == KEYS_IN_RANGE)
				CHECK(spec->b > 0);
			if (spec->kind == KEYS_BY_COUNT)
				CHECK(spec->c > 0);
		}
	}
}

/* With every number of words, in blocks without a word to spare. */
TEST(no_number_of_words_leads_beyond_them)
{
	static const char *const fillers[] = { "x", "2", "STORE", "KEYS" };

	for (size_t i = 0; i < LINES; i++) {
		for (size_t argc = 1; argc < 12; argc++) {
			struct slice *argv = malloc(argc * sizeof(*argv));
			struct buf keys = BUF_EMPTY;
			for (size_t w = 0; w < argc; w++)
				argv[w] = slice_of(fillers[(w + i) % 4]);
			argv[0] = slice_of(table[i].name);
			command_each_written_key(&table[i], argv, argc, note_key, &keys);
			buf_free(&keys);
			free(argv);
		}
	}
}

TEST_MAIN
