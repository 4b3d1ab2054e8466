/* Ids that share a query, and rows on their way back. No server. */
#include "upstream/postgres_batch.h"

#include "../test.h"
#include "base/clock.h"
#include "upstream/postgres_pool.h"

static struct lookup lookups[64];

static void
add_ids(struct id_batch *batch, const char *const *ids, size_t count)
{
	memset(lookups, 0, sizeof(lookups));
	for (size_t i = 0; i < count; i++) {
		lookups[i].id = slice_of(ids[i]);
		lookups[i].valid_until_ms = TIME_NEVER;
		CHECK(id_batch_add(batch, &lookups[i]));
	}
}

TEST(the_literal_quotes_whatever_an_id_may_hold)
{
	static const char *const ids[] = { "1", "", "NULL", "a,b", "{x}", "q\"q", "b\\s", " ",
		"é" };
	struct id_batch batch;
	struct buf literal = BUF_EMPTY;

	id_batch_init(&batch, 16);
	add_ids(&batch, ids, 9);
	id_batch_literal(&batch, &literal);
	CHECK_TEXT(literal.at,
	    "{\"1\",\"\",\"NULL\",\"a,b\",\"{x}\",\"q\\\"q\",\"b\\\\s\",\" \",\"é\"}");
	buf_free(&literal);
	id_batch_free(&batch);
}

TEST(equal_ids_are_one_element_and_a_full_batch_still_takes_them)
{
	static const char *const ids[] = { "7", "8", "7", "7" };
	struct id_batch batch;
	struct lookup other = { .id = slice_of("9") }, same = { .id = slice_of("8") };

	id_batch_init(&batch, 2);
	add_ids(&batch, ids, 4);
	CHECK_INT(batch.count, 2);
	CHECK(!id_batch_add(&batch, &other));
	CHECK(id_batch_add(&batch, &same));
	int sevens = 0;
	for (struct lookup *l = id_batch_find(&batch, slice_of("7")); l != NULL; l = l->next)
		sevens++;
	CHECK_INT(sevens, 3);
	CHECK(id_batch_find(&batch, slice_of("77")) == NULL);
	id_batch_free(&batch);
}

TEST(a_batch_may_be_one_or_ten_thousand)
{
	enum { MANY = 10000 };
	struct lookup *many = calloc(MANY, sizeof(*many));
	char(*texts)[8] = calloc(MANY, sizeof(*texts));
	struct id_batch batch;

	id_batch_init(&batch, MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%d", i);
		many[i].id = slice_of(texts[i]);
		CHECK(id_batch_add(&batch, &many[i]));
	}
	for (int i = 0; i < MANY; i++)
		CHECK(id_batch_find(&batch, slice_of(texts[i])) == &many[i]);
	id_batch_free(&batch);
	free(many);
	free(texts);
}

static PGresult *
make_result(int columns, const char *const *names)
{
	PGresAttDesc attributes[8] = { 0 };
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	for (int i = 0; i < columns; i++)
		attributes[i].name = (char *)(uintptr_t)names[i];
	CHECK(PQsetResultAttrs(result, columns, attributes));
	return result;
}

static void
set_cell(PGresult *result, int row, int column, const char *text)
{
	CHECK(PQsetvalue(result, row, column, (char *)(uintptr_t)text,
	    text != NULL ? (int)strlen(text) : -1));
}

static const char *
value_of(const struct lookup *lookup)
{
	static char text[256];

	if (lookup->value == NULL)
		return NULL;
	snprintf(text, sizeof(text), "%.*s", (int)lookup->value->len, lookup->value->bytes);
	return text;
}

static void
drop_values(void)
{
	for (size_t i = 0; i < 64; i++)
		blob_unref(lookups[i].value);
}

TEST(rows_find_their_lookups_in_any_order)
{
	static const char *const ids[] = { "1", "2", "3", "1", "4", "5" };
	static const char *const names[] = { "id", "value", "rank", "valid_until" };
	struct id_batch batch;
	struct answer_counts counts;
	PGresult *result = make_result(4, names);

	set_cell(result, 0, 0, "3"), set_cell(result, 0, 1, "three");
	set_cell(result, 0, 2, "x"), set_cell(result, 0, 3, "1970-01-01 00:00:02+00");
	set_cell(result, 1, 0, "99"), set_cell(result, 1, 1, "unasked"); /* ignored */
	set_cell(result, 1, 2, "x"), set_cell(result, 1, 3, NULL);
	set_cell(result, 2, 0, "1"), set_cell(result, 2, 1, "");
	set_cell(result, 2, 2, "x"), set_cell(result, 2, 3, NULL);
	set_cell(result, 3, 0, "4"), set_cell(result, 3, 1, NULL); /* like no row */
	set_cell(result, 3, 2, "x"), set_cell(result, 3, 3, NULL);
	set_cell(result, 4, 0, "5"), set_cell(result, 4, 1, "five");
	set_cell(result, 4, 2, "x"), set_cell(result, 4, 3, "next tuesday");
	set_cell(result, 5, 0, "3"), set_cell(result, 5, 1, "second row");
	set_cell(result, 5, 2, "x"), set_cell(result, 5, 3, NULL);

	id_batch_init(&batch, 16);
	add_ids(&batch, ids, 6);
	CHECK(answer_read(result, MAP_STRING, &batch, &counts));
	CHECK_INT(counts.found, 2);
	CHECK_INT(counts.bad_times, 1);
	CHECK_INT(counts.valid_until, 3);
	CHECK_INT(lookups[0].result, LOOKUP_FOUND);
	CHECK_TEXT(value_of(&lookups[0]), "");
	CHECK_INT(lookups[3].result, LOOKUP_FOUND);
	CHECK(lookups[0].value == lookups[3].value);
	CHECK_INT(lookups[1].result, LOOKUP_MISSING);
	CHECK_TEXT(value_of(&lookups[2]), "three");
	CHECK_INT(lookups[2].valid_until_ms, 2000);
	CHECK_INT(lookups[4].result, LOOKUP_MISSING);
	CHECK_INT(lookups[5].result, LOOKUP_FAILED);
	drop_values();
	PQclear(result);
	id_batch_free(&batch);
}

TEST(a_hash_row_is_a_run_of_fields_and_values)
{
	static const char *const ids[] = { "1" };
	static const char *const names[] = { "id", "tier", "valid_until", "seats", "note" };
	struct id_batch batch;
	struct answer_counts counts;
	PGresult *result = make_result(5, names);

	set_cell(result, 0, 0, "1"), set_cell(result, 0, 1, "plus");
	set_cell(result, 0, 2, "infinity"), set_cell(result, 0, 3, "12"),
	    set_cell(result, 0, 4, NULL);
	id_batch_init(&batch, 4);
	add_ids(&batch, ids, 1);
	CHECK(answer_read(result, MAP_HASH, &batch, &counts));
	CHECK_TEXT(value_of(&lookups[0]),
	    "$4\r\ntier\r\n$4\r\nplus\r\n$5\r\nseats\r\n$2\r\n12\r\n");
	CHECK_INT(lookups[0].valid_until_ms, TIME_NEVER);
	drop_values();
	PQclear(result);
	id_batch_free(&batch);
}

TEST(one_column_is_no_answer)
{
	static const char *const names[] = { "id" };
	struct id_batch batch = { 0 };
	struct answer_counts counts;
	PGresult *result = make_result(1, names);

	CHECK(!answer_read(result, MAP_STRING, &batch, &counts));
	PQclear(result);
}

TEST(ids_are_held_against_the_type_of_their_column)
{
	static const struct {
		enum id_kind kind;
		const char *id;
		enum id_fit fit;
	} cases[] = {
		{ ID_INT64, "42", FIT_SURE },
		{ ID_INT64, "-42", FIT_SURE },
		{ ID_INT64, "007", FIT_SURE },
		{ ID_INT64, "+5", FIT_MAYBE },
		{ ID_INT64, " 5 ", FIT_MAYBE },
		{ ID_INT64, "0x1F", FIT_MAYBE },
		{ ID_INT64, "", FIT_NEVER },
		{ ID_INT64, "-", FIT_NEVER },
		{ ID_INT64, "abc", FIT_NEVER },
		{ ID_INT64, "4.2", FIT_NEVER },
		{ ID_INT64, "9223372036854775807", FIT_SURE },
		{ ID_INT64, "9223372036854775808", FIT_NEVER },
		{ ID_INT32, "2147483648", FIT_NEVER },
		{ ID_INT32, "-2147483648", FIT_SURE },
		{ ID_INT16, "32767", FIT_SURE },
		{ ID_INT16, "32768", FIT_NEVER },
		{ ID_UUID, "123e4567-e89b-12d3-a456-426614174000", FIT_SURE },
		{ ID_UUID, "123E4567-E89B-12D3-A456-426614174000", FIT_SURE },
		{ ID_UUID, "{123e4567e89b12d3a456426614174000}", FIT_MAYBE },
		{ ID_UUID, "123e4567-e89b-12d3-a456-42661417400", FIT_NEVER },
		{ ID_UUID, "123e4567-e89b-12d3-a456-42661417400g", FIT_NEVER },
		{ ID_ANY, "anything", FIT_MAYBE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum id_fit fit = id_fits(cases[i].kind, slice_of(cases[i].id));
		if (fit != cases[i].fit)
			printf("case %zu\n", i);
		CHECK_INT(fit, cases[i].fit);
	}
	CHECK_INT(id_kind_of_error("invalid input syntax for type bigint: \"x\""), ID_INT64);
	CHECK_INT(id_kind_of_error("ungültige Eingabesyntax für Typ uuid: »x«"), ID_UUID);
	CHECK_INT(id_kind_of_error("invalid input value for enum mood: \"x\""), ID_ANY);
}

TEST(a_plan_names_the_relations_it_reads_once_each)
{
	struct canary canary = { 0 };

	canary_read_plan(
	    "[\n  {\n    \"Plan\": {\n      \"Node Type\": \"Index Scan\",\n"
	    "      \"Relation Name\": \"profiles\",\n      \"Schema\": \"public\",\n"
	    "      \"Filter\": \"(x = '\\\"Relation Name\\\": \\\"no\\\",')\",\n"
	    "      \"Plans\": [\n        {\n          \"Relation Name\": \"odd \\\"one\\\\\",\n"
	    "          \"Schema\": \"a.b\"\n        },\n        {\n"
	    "          \"Relation Name\": \"profiles\",\n          \"Schema\": \"public\",\n",
	    &canary);
	CHECK_INT(canary.relation_count, 2);
	CHECK_TEXT(canary.relations[0].quoted, "\"public\".\"profiles\"");
	CHECK_TEXT(canary.relations[0].plain, "public.profiles");
	CHECK_TEXT(canary.relations[1].quoted, "\"a.b\".\"odd \"\"one\\\"");
	canary_free(&canary);
}

TEST_MAIN
