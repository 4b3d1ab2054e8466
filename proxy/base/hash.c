/* See hash.h. hash_init() before threads; then any thread. */
#include "base/hash.h"

#include "base/random.h"

static uint64_t key[2];
uint64_t hash_masks[4];

/* What is written out, the hash that anybody may see, says nothing about the
 * masks: they are SipHashes themselves. */
static void
derive_masks(void)
{
	static const char names[4][4] = { "one", "two", "3rd", "4th" };

	for (size_t i = 0; i < 4; i++)
		hash_masks[i] = hash_bytes(slice_make(names[i], sizeof(names[i])));
}

void
hash_init(void)
{
	random_bytes(key, sizeof(key));
	derive_masks();
}

void
hash_init_with(uint64_t k0, uint64_t k1)
{
	key[0] = k0;
	key[1] = k1;
	derive_masks();
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static inline void
sip_add(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

/* What eight do not divide, lowest byte first. */
static inline uint64_t
last_bytes(struct slice bytes)
{
	size_t count = bytes.len % 8;
	uint64_t last = 0;

	if (count > 0 && bytes.len > 8) { /* in one go: the eight before the end hold them */
		memcpy(&last, bytes.at + bytes.len - 8, 8);
		return last >> (8 * (8 - count));
	}
	for (size_t i = bytes.len - count; i < bytes.len; i++)
		last = last >> 8 | (uint64_t)(unsigned char)bytes.at[i] << 56;
	return count > 0 ? last >> (8 * (8 - count)) : 0;
}

uint64_t
hash_bytes(struct slice bytes)
{
	struct sip s = {
		key[0] ^ 0x736f6d6570736575u,
		key[1] ^ 0x646f72616e646f6du,
		key[0] ^ 0x6c7967656e657261u,
		key[1] ^ 0x7465646279746573u,
	};
	size_t whole = bytes.len / 8;

	for (size_t i = 0; i < whole; i++) {
		uint64_t word;
		memcpy(&word, bytes.at + i * 8, 8);
		sip_add(&s, word);
	}
	sip_add(&s, (uint64_t)bytes.len << 56 | last_bytes(bytes));

	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
