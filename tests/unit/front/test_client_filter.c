/* Whom CLIENT LIST shows and CLIENT KILL means, and how a client is written. */
#include "front/client_filter.h"

#include "../test.h"

#define MAX_WORDS 64

static struct client_filter filter;
static struct buf out;

/* "LIST TYPE normal" -> whether it was read; what was wrong stands in `out`. */
static bool
read_words(const char *line)
{
	static char text[512];
	struct slice argv[MAX_WORDS] = { SLICE("CLIENT") };
	size_t argc = 1;

	client_filter_free(&filter);
	buf_reset(&out);
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
		argv[argc++] = slice_of(word);
	bool is_read = slice_equal_nocase(argv[1], SLICE("LIST"))
	    ? client_filter_of_list(&filter, argv, argc, &out)
	    : client_filter_of_kill(&filter, argv, argc, &out);
	buf_append(&out, "", 1);
	return is_read;
}

static const char *
said(void)
{
	return out.at + out.start;
}

static struct client_facts
a_client(int64_t id)
{
	struct client_facts facts = { .id = id,
		.age_s = 10,
		.flags = "N",
		.events = "r",
		.queued = -1,
		.redirect = -1,
		.resp = 2 };

	snprintf(facts.address, sizeof(facts.address), "127.0.0.1:%d", (int)(5000 + id));
	snprintf(facts.local_address, sizeof(facts.local_address), "127.0.0.1:6380");
	return facts;
}

static bool
takes(const char *line, int64_t id)
{
	struct client_facts facts = a_client(id);

	return read_words(line) && client_filter_takes(&filter, &facts);
}

TEST(list_without_words_takes_everybody)
{
	CHECK(takes("LIST", 1) && takes("list", 99));
}

TEST(list_by_id_keeps_the_order_and_finds_each)
{
	char line[300] = "LIST ID";

	for (int id = 40; id > 0; id -= 3)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %d", id);
	CHECK(takes(line, 40) && takes(line, 1) && takes(line, 4) && takes(line, 37));
	CHECK(!takes(line, 2) && !takes(line, 41) && !takes(line, 0));
	CHECK_INT(filter.id_count, 14);
	CHECK_INT(filter.ids[0], 40);
	CHECK_INT(filter.ids[13], 1);
}

TEST(types_are_told_apart_and_replica_is_slave)
{
	struct client_facts facts = a_client(1);

	facts.type = CLIENT_PUBSUB;
	CHECK(read_words("LIST TYPE PubSub") && client_filter_takes(&filter, &facts));
	CHECK(read_words("LIST TYPE normal") && !client_filter_takes(&filter, &facts));
	facts.type = CLIENT_REPLICA;
	CHECK(read_words("KILL TYPE slave SKIPME no") && client_filter_takes(&filter, &facts));
	CHECK(read_words("KILL TYPE replica ID 1") && client_filter_takes(&filter, &facts));
	CHECK(read_words("KILL TYPE master ID 1") && !client_filter_takes(&filter, &facts));
}

TEST(all_filters_of_kill_must_fit)
{
	CHECK(takes("KILL ID 7 ADDR 127.0.0.1:5007 LADDR 127.0.0.1:6380 TYPE normal", 7));
	CHECK(!takes("KILL ID 7 ADDR 127.0.0.1:5007 LADDR 127.0.0.1:6381 TYPE normal", 7));
	CHECK(!takes("KILL ID 7 ADDR 127.0.0.1:5008", 7));
	CHECK(!takes("KILL ID 7 ADDR 127.0.0.1:500", 7));
	CHECK(!takes("KILL ID 8 ADDR 127.0.0.1:5007", 7));
	CHECK(takes("KILL ID 8 ID 7", 7) && !takes("KILL ID 7 ID 8", 7));
}

TEST(maxage_takes_who_is_as_old_and_no_younger_one)
{
	CHECK(takes("KILL MAXAGE 10 SKIPME yes", 1));
	CHECK(takes("KILL MAXAGE 9", 1));
	CHECK(!takes("KILL MAXAGE 11", 1));
}

TEST(the_old_form_is_an_address_and_may_mean_the_asker)
{
	CHECK(takes("KILL 127.0.0.1:5001", 1) && filter.is_old_form && !filter.skips_asker);
	CHECK(!takes("KILL 127.0.0.1:5001", 2));
	CHECK(!takes("KILL ID", 1) && filter.is_old_form);
	CHECK(takes("KILL ADDR 127.0.0.1:5001", 1) && !filter.is_old_form && filter.skips_asker);
	CHECK(takes("KILL ID 1 SKIPME no", 1) && !filter.skips_asker);
	CHECK(takes("KILL SKIPME no SKIPME YES", 1) && filter.skips_asker);
}

TEST(what_is_wrong_is_said_as_redis_says_it)
{
	static const struct {
		const char *line, *error;
	} wrong[] = {
		{ "LIST FOO", "-ERR syntax error\r\n" },
		{ "LIST TYPE", "-ERR syntax error\r\n" },
		{ "LIST TYPE normal ID 1", "-ERR syntax error\r\n" },
		{ "LIST ID", "-ERR syntax error\r\n" },
		{ "LIST ID 1 x", "-ERR Invalid client ID\r\n" },
		{ "LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n" },
		{ "KILL ID 0", "-ERR client-id should be greater than 0\r\n" },
		{ "KILL ID x", "-ERR client-id should be greater than 0\r\n" },
		{ "KILL ID 1 ADDR", "-ERR syntax error\r\n" },
		{ "KILL ID 1 FOO 2", "-ERR syntax error\r\n" },
		{ "KILL USER foo", "-ERR No such user 'foo'\r\n" },
		{ "KILL SKIPME x", "-ERR syntax error\r\n" },
		{ "KILL MAXAGE 0", "-ERR maxage should be greater than 0\r\n" },
		{ "KILL MAXAGE x", "-ERR maxage is not an integer or out of range\r\n" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		CHECK(!read_words(wrong[i].line));
		CHECK_TEXT(said(), wrong[i].error);
	}
}

TEST(a_line_has_all_fields_in_redis_s_order)
{
	struct client_facts facts = a_client(3);

	client_filter_free(&filter);
	buf_reset(&out);
	client_facts_write(&facts, &out);
	buf_append(&out, "", 1);
	CHECK_TEXT(said(),
	    "id=3 addr=127.0.0.1:5003 laddr=127.0.0.1:6380 fd=0 name= age=10 idle=0 flags=N db=0 "
	    "sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 "
	    "obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL user=default redir=-1 resp=2 "
	    "lib-name= lib-ver=\n");
	buf_free(&out);
}

TEST_MAIN
