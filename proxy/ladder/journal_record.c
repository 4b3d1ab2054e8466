/* See journal_record.h. */
#include "ladder/journal_record.h"

#include "base/little_endian.h"

#define HEAD_SIZE 8 /* length and kind, and their check */
#define CHECK_SIZE 4
#define DONE_BIT 0x80000000u /* beside the length; Redis allows keys of 512 MB */
#define AREA_BIT 0x40000000u

const struct slice journal_file_start = SLICE_INIT("sidecar journal 1\n");

/* CRC-32C (Castagnoli), four bits at a time. */
static uint32_t
check_of(const char *at, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000,
		0x105ec76f,
		0x20bd8ede,
		0x30e349b1,
		0x417b1dbc,
		0x5125dad3,
		0x61c69362,
		0x7198540d,
		0x82f63b78,
		0x92a8fc17,
		0xa24bb5a6,
		0xb21572c9,
		0xc38d26c4,
		0xd3d3e1ab,
		0xe330a81a,
		0xf36e6f75,
	};
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)at[i];
		crc = table[crc & 15] ^ crc >> 4;
		crc = table[crc & 15] ^ crc >> 4;
	}
	return ~crc;
}

static uint32_t
kind_bits(enum journal_kind kind)
{
	bool is_done = kind == JOURNAL_DONE || kind == JOURNAL_AREA_DONE;
	bool is_area = kind == JOURNAL_AREA || kind == JOURNAL_AREA_DONE;

	return (is_done ? DONE_BIT : 0) | (is_area ? AREA_BIT : 0);
}

static enum journal_kind
kind_of(uint32_t bits)
{
	if (bits & AREA_BIT)
		return bits & DONE_BIT ? JOURNAL_AREA_DONE : JOURNAL_AREA;
	return bits & DONE_BIT ? JOURNAL_DONE : JOURNAL_ADD;
}

size_t
journal_record_size(size_t key_len)
{
	return HEAD_SIZE + key_len + CHECK_SIZE;
}

void
journal_record_append(struct buf *out, enum journal_kind kind, struct slice key)
{
	char *at = buf_reserve(out, journal_record_size(key.len));

	little_put_32(at, (uint32_t)key.len | kind_bits(kind));
	little_put_32(at + 4, check_of(at, 4));
	if (key.len > 0)
		memcpy(at + HEAD_SIZE, key.at, key.len);
	little_put_32(at + HEAD_SIZE + key.len, check_of(at, HEAD_SIZE + key.len));
	buf_added(out, journal_record_size(key.len));
}

/* A record that does not fit: torn when it would need more than was written. */
static enum journal_read
torn_or_damaged(struct slice rest, size_t needed)
{
	while (rest.len > 0 && rest.at[rest.len - 1] == '\0')
		rest.len--;
	return needed > rest.len ? RECORD_TORN : RECORD_DAMAGED;
}

enum journal_read
journal_record_read(struct slice *rest, enum journal_kind *kind, struct slice *key)
{
	if (rest->len == 0)
		return RECORD_END;
	if (rest->len < HEAD_SIZE || little_get_32(rest->at + 4) != check_of(rest->at, 4))
		return torn_or_damaged(*rest, HEAD_SIZE);

	uint32_t head = little_get_32(rest->at);
	size_t len = head & ~(DONE_BIT | AREA_BIT);
	size_t size = journal_record_size(len);
	if (rest->len < size ||
	    little_get_32(rest->at + HEAD_SIZE + len) != check_of(rest->at, HEAD_SIZE + len))
		return torn_or_damaged(*rest, size);
	*kind = kind_of(head);
	*key = slice_make(rest->at + HEAD_SIZE, len);
	*rest = slice_make(rest->at + size, rest->len - size);
	return RECORD_READ;
}
