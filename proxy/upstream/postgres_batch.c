/* See postgres_batch.h. */
#include "upstream/postgres_batch.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"

void
id_batch_init(struct id_batch *batch, size_t limit)
{
	size_t size = 4;

	while (size < limit * 2)
		size *= 2;
	*batch = (struct id_batch){
		.ids = alloc(limit * sizeof(*batch->ids)),
		.limit = limit,
		.table = alloc_zero(size * sizeof(*batch->table)),
		.table_mask = size - 1,
	};
}

/* Where the id stands in the table, or where it would. */
static uint32_t *
find_place(const struct id_batch *batch, struct slice id)
{
	for (size_t i = hash_bytes(id);; i++) {
		uint32_t *place = &batch->table[i & batch->table_mask];
		if (*place == 0 || slice_equal(batch->ids[*place - 1]->id, id))
			return place;
	}
}

bool
id_batch_add(struct id_batch *batch, struct lookup *lookup)
{
	uint32_t *place = find_place(batch, lookup->id);

	if (*place != 0) {
		lookup->next = batch->ids[*place - 1]->next;
		batch->ids[*place - 1]->next = lookup;
		return true;
	}
	if (batch->count == batch->limit)
		return false;
	lookup->next = NULL;
	batch->ids[batch->count++] = lookup;
	*place = (uint32_t)batch->count;
	return true;
}

struct lookup *
id_batch_find(const struct id_batch *batch, struct slice id)
{
	uint32_t place = batch->count > 0 ? *find_place(batch, id) : 0;

	return place != 0 ? batch->ids[place - 1] : NULL;
}

/* Always quoted: a bare NULL would be a null, a bare {} an array. */
static void
append_quoted(struct buf *literal, struct slice id)
{
	buf_append(literal, "\"", 1);
	for (size_t i = 0; i < id.len; i++) {
		if (id.at[i] == '"' || id.at[i] == '\\')
			buf_append(literal, "\\", 1);
		buf_append(literal, &id.at[i], 1);
	}
	buf_append(literal, "\"", 1);
}

void
id_batch_literal(const struct id_batch *batch, struct buf *literal)
{
	buf_append(literal, "{", 1);
	for (size_t i = 0; i < batch->count; i++) {
		if (i > 0)
			buf_append(literal, ",", 1);
		append_quoted(literal, batch->ids[i]->id);
	}
	buf_append(literal, "}", 2);
}

void
id_batch_free(struct id_batch *batch)
{
	free(batch->ids);
	free(batch->table);
	*batch = (struct id_batch){ 0 };
}

enum id_kind
id_kind_of_error(const char *message)
{
	static const struct {
		const char *name;
		enum id_kind kind;
	} types[] = {
		{ "smallint", ID_INT16 },
		{ "integer", ID_INT32 },
		{ "bigint", ID_INT64 },
		{ "uuid", ID_UUID },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strstr(message, types[i].name) != NULL)
			return types[i].kind;
	}
	return ID_ANY;
}

/* " 7", "+7" and, in newer versions, "0x7" and "7_000" are numbers to
 * Postgres: whatever starts like one when blanks and a sign are gone. */
static bool
is_odd_number(struct slice id)
{
	size_t i = 0;

	while (i < id.len && isspace((unsigned char)id.at[i]))
		i++;
	if (i < id.len && (id.at[i] == '+' || id.at[i] == '-'))
		i++;
	if (i == id.len || !isdigit((unsigned char)id.at[i]))
		return false;
	for (; i < id.len; i++) {
		if (!isxdigit((unsigned char)id.at[i]) && !isspace((unsigned char)id.at[i]) &&
		    strchr("_xXoO", id.at[i]) == NULL)
			return false;
	}
	return true;
}

static enum id_fit
fits_int(struct slice id, int64_t max)
{
	bool is_plain = id.len > 0;
	int64_t number;

	for (size_t i = 0; i < id.len; i++) {
		is_plain = is_plain &&
		    (isdigit((unsigned char)id.at[i]) || (i == 0 && id.at[i] == '-' && id.len > 1));
	}
	if (!is_plain)
		return is_odd_number(id) ? FIT_MAYBE : FIT_NEVER;
	if (!slice_to_int64(id, &number) || number > max || number < -max - 1)
		return FIT_NEVER;
	return FIT_SURE;
}

static enum id_fit
fits_uuid(struct slice id)
{
	size_t digits = 0;
	bool is_usual = id.len == 36;

	for (size_t i = 0; i < id.len; i++) {
		bool is_digit = isxdigit((unsigned char)id.at[i]);
		if (!is_digit && strchr("-{}", id.at[i]) == NULL)
			return FIT_NEVER;
		digits += is_digit;
		is_usual = is_usual && is_digit == !(i == 8 || i == 13 || i == 18 || i == 23) &&
		    (is_digit || id.at[i] == '-');
	}
	return digits != 32 ? FIT_NEVER : is_usual ? FIT_SURE : FIT_MAYBE;
}

enum id_fit
id_fits(enum id_kind kind, struct slice id)
{
	switch (kind) {
	case ID_INT16:
		return fits_int(id, INT16_MAX);
	case ID_INT32:
		return fits_int(id, INT32_MAX);
	case ID_INT64:
		return fits_int(id, INT64_MAX);
	case ID_UUID:
		return fits_uuid(id);
	case ID_ANY:
		break;
	}
	return FIT_MAYBE;
}
