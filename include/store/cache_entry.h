/*
 * How an entry lies in memory: one block, as short as what it has to say.
 *
 *   | head, 24 bytes | FORM_ENDING: 4 more | key | variant | value |
 *                      FORM_LONG: 60 more
 *
 * A short entry is what nearly all are: the value of a key of at most 255
 * bytes, not large, filled and expiring at the usual distances. Whatever does
 * not fit is long: replies to other reads, large values (in a blob, so that
 * they are handed over without a copy), odd times.
 *
 * Entries know each other by place (see cache_arena.c), not by address: half
 * the size, and they may be moved together when others have left.
 */
#ifndef SIDECAR_STORE_CACHE_ENTRY_H
#define SIDECAR_STORE_CACHE_ENTRY_H

#include "base/clock.h"
#include "store/cache.h"

#define NOWHERE 0          /* no place */
#define INLINE_BYTES 16384 /* larger values are blobs */

/* Distances from fresh_until to stale_until: they come from a few settings,
 * so entries name them by number. */
#define STALE_SPANS 30
#define SPAN_TO_VALID 31 /* stale until valid_until */
struct stale_spans {
	int64_t ms[STALE_SPANS];
	uint32_t users[STALE_SPANS];
};

enum entry_form { FORM_SHORT, FORM_ENDING, FORM_LONG };

struct entry {
	uint32_t newer, older; /* in its queue */
	unsigned hits : 27;    /* for people */
	unsigned uses : 2;     /* for who evicts, and taken off by him */
	unsigned queue : 1;    /* enum queue_name */
	unsigned is_expired : 1;
	unsigned is_validity_exact : 1;
	unsigned kind : 3; /* enum cache_kind, or KIND_LEFT */
	unsigned source : 2;
	unsigned form : 2;
	unsigned stale_span : 5;
	unsigned filled_high : 5;
	unsigned inline_len : 15;
	uint32_t filled_low; /* of 37 bits: a machine's first four years */
	uint8_t short_key_len;
	uint8_t refresh_before; /* see entry_refresh_at() */
	uint16_t fresh_for;     /* see entry_fresh_for_ms() */
	char bytes[];
};

#define KIND_LEFT 7 /* of what has left and whose room is not used again yet */

/* FORM_LONG: in place of the fields above. */
struct __attribute__((packed, aligned(4))) entry_extra {
	int64_t filled_ms, fresh_until_ms, stale_until_ms, valid_until_ms, refresh_at_ms;
	struct blob *blob; /* NULL: the value is inline */
	uint32_t key_len, variant_len;
	uint32_t next; /* another entry of the same key */
};

_Static_assert(sizeof(struct entry) == 24, "the entry has grown");
_Static_assert(SPAN_TO_VALID > STALE_SPANS, "neither a distance's number nor that of none");

/* What is to become an entry. */
struct entry_plan {
	struct slice key, variant;
	const struct cache_value *value;
	enum entry_form form;
	unsigned stale_span;
	uint32_t size;
};

void entry_plan(struct stale_spans *spans, struct entry_plan *plan);
/* Writes all but its links; takes a reference where the value stays a blob. */
void entry_write(struct stale_spans *spans, const struct entry_plan *plan, struct entry *entry);
/* Gives back what it holds besides its room. */
void entry_clear(struct stale_spans *spans, struct entry *entry);

uint32_t entry_size(const struct entry *entry);
/* All but the bytes. */
void entry_read(const struct stale_spans *spans, const struct entry *entry,
    struct cache_value *value);
bool entry_has_bytes(const struct entry *entry);
/* One reference; NULL where the kind says so. */
struct blob *entry_blob(const struct entry *entry);

void entry_expire(struct entry *entry);
void entry_forget_refresh(struct entry *entry);

static inline struct entry_extra *
entry_extra(const struct entry *entry)
{
	return (struct entry_extra *)(uintptr_t)entry->bytes;
}

static inline size_t
entry_extra_size(enum entry_form form)
{
	return form == FORM_SHORT ? 0
	    : form == FORM_ENDING ? sizeof(uint32_t)
				  : sizeof(struct entry_extra);
}

static inline struct slice
entry_key(const struct entry *entry)
{
	size_t len = entry->form == FORM_LONG ? entry_extra(entry)->key_len : entry->short_key_len;

	return slice_make(entry->bytes + entry_extra_size(entry->form), len);
}

/* memcmp(), of keys of the usual lengths without a call. */
static inline bool
entry_same_bytes(const char *a, const char *b, size_t len)
{
	if (len < 16 || len > 32)
		return memcmp(a, b, len) == 0;
	const char *end_a = a + len, *end_b = b + len;
	uint64_t differs = (hash_read8(a) ^ hash_read8(b)) |
	    (hash_read8(a + 8) ^ hash_read8(b + 8)) |
	    (hash_read8(end_a - 16) ^ hash_read8(end_b - 16)) |
	    (hash_read8(end_a - 8) ^ hash_read8(end_b - 8));
	return differs == 0;
}

static inline bool
entry_has_key(const struct entry *entry, struct slice key)
{
	if (entry->form == FORM_SHORT)
		return entry->short_key_len == key.len &&
		    entry_same_bytes(entry->bytes, key.at, key.len);
	return slice_equal(entry_key(entry), key);
}

static inline struct slice
entry_variant(const struct entry *entry)
{
	struct slice key = entry_key(entry);

	return slice_make(key.at + key.len,
	    entry->form == FORM_LONG ? entry_extra(entry)->variant_len : 0);
}

static inline uint32_t
entry_next(const struct entry *entry)
{
	return entry->form == FORM_LONG ? entry_extra(entry)->next : NOWHERE;
}

/* ---- times; of short entries and FORM_ENDING ---- */

static inline int64_t
entry_filled_ms(const struct entry *entry)
{
	return (int64_t)entry->filled_low | (int64_t)entry->filled_high << 32;
}

static inline uint32_t
entry_valid_for_ms(const struct entry *entry)
{
	uint32_t valid_for_ms;

	memcpy(&valid_for_ms, entry->bytes, sizeof(valid_for_ms));
	return valid_for_ms;
}

/*
 * How long it is fresh: 11 bits and a shift of 5, so exact up to 2 s, and past
 * that up to a thousandth shorter.
 */
#define FRESH_BITS 11

static inline uint32_t
entry_fresh_for_ms(const struct entry *entry)
{
	return (uint32_t)(entry->fresh_for & ((1 << FRESH_BITS) - 1))
	    << (entry->fresh_for >> FRESH_BITS);
}

/*
 * The early refresh, before fresh_until: from 8 ms on, to an eighth. It has
 * been drawn at random. A leading 1 that is not kept, 3 bits behind it, and a
 * shift of 5.
 */
#define REFRESH_NEVER 0xff
#define REFRESH_BITS 3
#define REFRESH_SHIFT_MOST 30

static inline int64_t
entry_refresh_at(const struct entry *entry, int64_t fresh_until_ms)
{
	if (entry->form == FORM_LONG)
		return entry_extra(entry)->refresh_at_ms;
	if (entry->refresh_before == REFRESH_NEVER)
		return TIME_NEVER;
	int64_t eighths = 1 << REFRESH_BITS | (entry->refresh_before & ((1 << REFRESH_BITS) - 1));
	return fresh_until_ms - (eighths << (entry->refresh_before >> REFRESH_BITS));
}

/*
 * What judging all its times says, from those that a hit needs: a short entry
 * is never stale before it has ceased to be fresh.
 */
static inline bool
entry_is_fresh(const struct entry *entry, int64_t now_ms, int64_t *fresh_until_ms)
{
	int64_t filled_ms = entry_filled_ms(entry);

	*fresh_until_ms = filled_ms + entry_fresh_for_ms(entry);
	return !entry->is_expired && now_ms < *fresh_until_ms &&
	    (entry->form == FORM_SHORT || now_ms < filled_ms + entry_valid_for_ms(entry));
}

/* ---- bytes ---- */

/* Not of a long entry; its key is so long. */
static inline struct slice
entry_short_value(const struct entry *entry, size_t key_len)
{
	return slice_make(entry->bytes + entry_extra_size(entry->form) + key_len,
	    entry->inline_len);
}

/* The value's bytes, wherever they are; valid under the shard's lock. */
static inline struct slice
entry_bytes_of(const struct entry *entry)
{
	if (entry->form == FORM_LONG && entry_extra(entry)->blob != NULL)
		return blob_slice(entry_extra(entry)->blob);
	struct slice variant = entry_variant(entry);
	return slice_make(variant.at + variant.len, entry->inline_len);
}

#endif
