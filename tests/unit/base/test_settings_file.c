/* What sidecar.ini may look like, and the message for whatever it may not. */
#include "base/settings_file.h"

#include "settings_helpers.h"

#define MAP "[map m]\nkey = m:{id}\nquery = SELECT 1\n"

TEST(a_line_of_a_file_says_what_is_wrong_with_it)
{
	CHECK_TEXT(test_refusal("[cache]\n\nttl = abc\n"),
	    "sidecar.ini:3: [cache] ttl: \"abc\" is not a duration (for example 30s)");
	CHECK_TEXT(test_refusal("# one\n; two\n[listen] ; three\nport = 99999 ; four\n"),
	    "sidecar.ini:4: [listen] port: 99999 is out of range (1 to 65535)");
	CHECK_TEXT(test_refusal("[map m]\r\nkey = m:{id}\r\nquery = x\r\ntype = list\r\n"),
	    "sidecar.ini:4: [map m] type: \"list\" is none of string, hash");
}

TEST(an_unknown_name_is_refused_with_what_was_meant)
{
	CHECK_TEXT(test_refusal("[cache]\ntll = 5s\n"),
	    "sidecar.ini:2: [cache] tll: unknown key (did you mean ttl?)");
	CHECK_TEXT(test_refusal("[listen]\nprot = 5\n"),
	    "sidecar.ini:2: [listen] prot: unknown key (did you mean port?)");
	CHECK_TEXT(test_refusal("[listen]\nTLS_Cert = 5\n"),
	    "sidecar.ini:2: [listen] TLS_Cert: unknown key (did you mean tls_cert?)");
	CHECK_TEXT(test_refusal("[listen]\ndrain = 5s\n"),
	    "sidecar.ini:2: [listen] drain: unknown key (did you mean [server] drain?)");
	CHECK_TEXT(test_refusal("[listen]\nzebra = 5s\n"),
	    "sidecar.ini:2: [listen] zebra: unknown key");
	CHECK_TEXT(test_refusal(MAP "qurey = x\n"),
	    "sidecar.ini:4: [map m] qurey: unknown key (did you mean query?)");
	CHECK_TEXT(test_refusal("\n[cach]\n"),
	    "sidecar.ini:2: [cach]: unknown section (did you mean cache?)");
	CHECK_TEXT(test_refusal("[mpa profile]\n"),
	    "sidecar.ini:1: [mpa profile]: unknown section (did you mean map NAME?)");
	CHECK_TEXT(test_refusal("[something else entirely, and long]\n"),
	    "sidecar.ini:1: [something else entirely, and long]: unknown section");
	CHECK_TEXT(test_refusal("[]\n"), "sidecar.ini:1: []: unknown section");
}

TEST(what_is_given_twice_is_refused_with_both_lines)
{
	CHECK_TEXT(test_refusal("[cache]\nttl = 5s\n[listen]\n[cache]\nttl = 6s\n"),
	    "sidecar.ini:5: [cache] ttl: already set in line 2");
	CHECK_TEXT(test_refusal(MAP "\n[cache]\n[map m]\n"),
	    "sidecar.ini:6: [map m] is already defined in line 1");
	CHECK_TEXT(test_refusal(MAP "key = m2:{id}\n"),
	    "sidecar.ini:4: [map m] key: already set in line 2");
}

TEST(one_section_may_be_written_in_two_places)
{
	struct settings *s = test_load("[cache]\nttl = 5s\n[listen]\n[cache]\nstale = 6s\n");

	CHECK(s != NULL);
	CHECK_INT(s->cache.ttl_ms, 5000);
	CHECK_INT(s->cache.stale_ms, 6000);
	settings_free(s);
}

TEST(a_line_that_is_nothing_is_refused)
{
	CHECK_TEXT(test_refusal("[cache]\nttl\n"), "sidecar.ini:2: this is no \"key = value\"");
	CHECK_TEXT(test_refusal("[cache]\nttl = 5s\nnonsense\nfoo = bar\n"),
	    "sidecar.ini:3: this is no \"key = value\"");
	CHECK_TEXT(test_refusal("[cache]\nnonsense"), "sidecar.ini:2: this is no \"key = value\"");
	CHECK_TEXT(test_refusal("ttl = 5s\n"), "sidecar.ini:1: ttl: stands before any [section]");
	CHECK_TEXT(test_refusal("[cache\nttl = 5s\n"), "sidecar.ini:1: \"[\" has no \"]\"");
	CHECK_TEXT(test_refusal("[cache] ttl = 5s\n"),
	    "sidecar.ini:1: nothing but a comment may follow \"]\"");
	CHECK_TEXT(test_refusal("[cache]\n= 5s\n"), "sidecar.ini:2: [cache] : unknown key");
}

TEST(a_map_needs_a_plain_name)
{
	CHECK_TEXT(test_refusal("[map]\n"),
	    "sidecar.ini:1: a map needs a name (for example [map profile])");
	CHECK_TEXT(test_refusal("[map a b]\n"),
	    "sidecar.ini:1: \"a b\" is no name for a map (up to 64 letters, digits, _ and -)");
	CHECK_TEXT(test_refusal("[map a.b]\n"),
	    "sidecar.ini:1: \"a.b\" is no name for a map (up to 64 letters, digits, _ and -)");
}

static bool
takes_name_of(int len)
{
	char text[200];

	snprintf(text, sizeof(text), "[map %0*d]\nkey = m:{id}\nquery = x\n", len, 7);
	struct settings *s = test_load(text);
	bool is_fine = s != NULL && s->map_count == 1 && (int)strlen(s->maps[0].name) == len;
	settings_free(s);
	return is_fine;
}

TEST(a_map_name_ends_at_its_limit)
{
	CHECK(takes_name_of(64)); /* inih itself would cut it at 49 */
	CHECK(!takes_name_of(65));
}

TEST(an_indented_line_goes_on_with_a_query)
{
	struct settings *s =
	    test_load("[map m]\n"
		      "key = m:{id}\n"
		      "query =\n"
		      "\tSELECT id, ';x',   -- a comment of SQL's ; and one of ours\n"
		      "\n"
		      "  # not a part\n"
		      "      [1] FROM t;\n"
		      "    WHERE a=b:c\n"
		      "free = {\"a\":\n"
		      " 1}\n");

	CHECK(s != NULL);
	CHECK_TEXT(s->maps[0].query,
	    "SELECT id, ';x',   -- a comment of SQL's\n[1] FROM t;\nWHERE a=b:c");
	CHECK_TEXT(s->maps[0].free, "{\"a\":\n1}");
	CHECK_INT(s->maps[0].line, 1);
	settings_free(s);
}

TEST(an_indented_line_after_a_key_of_one_line_is_refused)
{
	CHECK_TEXT(test_refusal("[listen]\naddress = 127.0.0.1\n  port = 6380\n"),
	    "sidecar.ini:3: [listen] address: goes on in an indented line, but must be one line");
}

TEST(the_first_key_of_a_section_may_be_indented)
{
	struct settings *s = test_load("[listen]\n  port = 7000\n");

	CHECK(s != NULL);
	CHECK_INT(s->listen.port, 7000);
	settings_free(s);
}

TEST(a_semicolon_begins_a_comment_only_behind_a_blank)
{
	struct settings *s = test_load("[listen]\npassword = a;b;;c#d ;comment ; more\n");

	CHECK(s != NULL);
	CHECK_TEXT(s->listen.password, "a;b;;c#d");
	settings_free(s);
}

/* Words that differ, in a line of `len` bytes, with what inih would strip or
 * take for a comment at every place in turn. */
static void
fill(char *text, size_t len)
{
	static const char piece[] = "abc d;e #f  g=h:i [j] ";

	for (size_t i = 0; i < len; i++)
		text[i] = piece[i % (sizeof(piece) - 1)];
	if (len > 0)
		text[len - 1] = '!';
	text[len] = '\0';
}

TEST(a_line_of_any_length_comes_through_whole)
{
	char value[1200], text[3000];

	for (size_t len = 0; len < 1100; len++) {
		fill(value, len);
		snprintf(text, sizeof(text), "[map x]\nkey={id}\nfree = %s\nquery = a\n  %s\n",
		    value, value);
		struct settings *s = test_load(text);
		CHECK(s != NULL);
		if (s == NULL)
			return;
		CHECK_TEXT(s->maps[0].free, value);
		CHECK_TEXT(s->maps[0].query + (len > 0 ? 2 : 0), len > 0 ? value : "a");
		settings_free(s);
	}
}

TEST(a_line_that_cannot_be_given_to_inih_in_pieces_is_refused)
{
	char text[600];

	snprintf(text, sizeof(text), "[map m]\nkey = m:{id}\nquery = a%*sb\n", 400, "");
	CHECK_TEXT(test_refusal(text),
	    "sidecar.ini:3: 197 bytes without a place to break the line");
	snprintf(text, sizeof(text), "[listen]\n%0400d = 5\n", 7);
	CHECK_TEXT(test_refusal(text),
	    "sidecar.ini:2: 197 bytes without a place to break the line");
	snprintf(text, sizeof(text), "[listen]\n%0400d\n", 7);
	CHECK_TEXT(test_refusal(text), "sidecar.ini:2: this is no \"key = value\"");
}

TEST(a_byte_order_mark_is_no_part_of_the_first_line)
{
	struct settings *s = test_load("\xef\xbb\xbf[listen]\nport = 7000\n");

	CHECK(s != NULL);
	CHECK_INT(s->listen.port, 7000);
	settings_free(s);
	CHECK_TEXT(test_refusal("\xef\xbb\xbf[cach]\n"),
	    "sidecar.ini:1: [cach]: unknown section (did you mean cache?)");
}

TEST(a_file_that_is_not_there_or_no_text_is_refused)
{
	CHECK(settings_load("nope.ini", NULL, 0, test_error, sizeof(test_error)) == NULL);
	CHECK_TEXT(test_error, "nope.ini: cannot be read: No such file or directory");
	CHECK(settings_load("/", NULL, 0, test_error, sizeof(test_error)) == NULL);
	CHECK_TEXT(test_error, "/: cannot be read: Is a directory");
	test_write("sidecar.ini", "[cache]\n\0ttl", 12);
	CHECK(settings_load("sidecar.ini", NULL, 0, test_error, sizeof(test_error)) == NULL);
	CHECK_TEXT(test_error, "sidecar.ini: is no text (it contains a NUL byte)");
}

TEST(a_file_ends_at_a_megabyte)
{
	size_t most = 1024 * 1024;
	char *text = malloc(most + 1);

	memset(text, '\n', most + 1);
	test_write("sidecar.ini", text, most);
	struct settings *s = settings_load("sidecar.ini", NULL, 0, test_error, sizeof(test_error));
	CHECK(s != NULL);
	settings_free(s);
	test_write("sidecar.ini", text, most + 1);
	CHECK(settings_load("sidecar.ini", NULL, 0, test_error, sizeof(test_error)) == NULL);
	CHECK_TEXT(test_error, "sidecar.ini: is larger than 1048576 bytes");
	free(text);
}

TEST(an_empty_file_means_the_defaults)
{
	struct settings *s = test_load("");

	CHECK(s != NULL);
	CHECK_TEXT(s->file, "sidecar.ini");
	CHECK_INT(s->listen.port, 6380);
	settings_free(s);
}

TEST(control_bytes_of_a_file_never_reach_the_terminal)
{
	CHECK_TEXT(test_refusal("[cache]\nt\x1b[31m = 5s\n"),
	    "sidecar.ini:2: [cache] t [31m: unknown key");
}

TEST_MAIN
