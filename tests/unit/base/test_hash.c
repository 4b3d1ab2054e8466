#include "base/hash.h"

#include "../test.h"

/* Made by a SipHash-c-d written for this purpose in Python, which gives the
 * 64 vectors of the paper's authors for 2-4: key 00 01 ... 0f, text 00 01 ... */
static const struct {
	size_t len;
	uint64_t hash;
} vectors[] = {
	{ 0, 0xabac0158050fc4dc },
	{ 1, 0xc9f49bf37d57ca93 },
	{ 2, 0x82cb9b024dc7d44d },
	{ 3, 0x8bf80ab8e7ddf7fb },
	{ 4, 0xcf75576088d38328 },
	{ 5, 0xdef9d52f49533b67 },
	{ 6, 0xc50d2b50c59f22a7 },
	{ 7, 0xd3927d989bb11140 },
	{ 8, 0x369095118d299a8e },
	{ 9, 0x25a48eb36c063de4 },
	{ 15, 0xd320d86d2a519956 },
	{ 16, 0xcc4fdd1a7d908b66 },
	{ 17, 0x9cf2689063dbd80c },
	{ 31, 0x2370dd1f8c21d1bc },
	{ 63, 0x9d199062b7bbb3a8 },
	{ 300, 0x4016a23bda5a2224 },
};

TEST(hashes_are_those_of_siphash_1_3)
{
	char text[300];

	hash_init_with(0x0706050403020100, 0x0f0e0d0c0b0a0908);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		CHECK(hash_bytes(slice_make(text, vectors[i].len)) == vectors[i].hash);
	hash_init_with(1, 2);
	CHECK(hash_bytes(SLICE("profile:42")) == 0x5c4427fb1ef1326d);
	hash_init_with(0, 0);
	CHECK(hash_bytes(SLICE("\xff\xff\xff\xff\xff\xff\xff")) == 0xa3cf0c89008da505);
}

TEST(where_the_bytes_lie_does_not_matter)
{
	char block[100];

	hash_init_with(3, 4);
	uint64_t wanted = hash_bytes(SLICE("profile:0123456789abcdef"));
	for (size_t at = 0; at < 16; at++) {
		memcpy(block + at, "profile:0123456789abcdef", 24);
		CHECK(hash_bytes(slice_make(block + at, 24)) == wanted);
	}
}

TEST(another_key_gives_other_hashes)
{
	hash_init_with(1, 2);
	uint64_t first = hash_bytes(SLICE("k"));
	hash_init_with(1, 3);
	uint64_t second = hash_bytes(SLICE("k"));
	hash_init();
	uint64_t third = hash_bytes(SLICE("k"));
	hash_init();
	CHECK(first != second);
	CHECK(hash_bytes(SLICE("k")) != third);
}

/* ---- the quick one ---- */

TEST(quick_hash_says_the_same_wherever_the_bytes_lie_and_reads_no_others)
{
	char block[100];

	hash_init_with(3, 4);
	for (size_t len = 0; len <= 64; len++) {
		char *alone = malloc(len + 1); /* AddressSanitizer guards what is behind */
		memset(alone, 'x', len);
		uint64_t wanted = hash_quick(slice_make(alone, len));
		for (size_t at = 0; at < 16; at++) {
			memset(block, (int)at, sizeof(block));
			memset(block + at, 'x', len);
			CHECK(hash_quick(slice_make(block + at, len)) == wanted);
		}
		free(alone);
	}
}

TEST(quick_hash_changes_by_half_its_bits_with_every_bit_and_length)
{
	char text[48];

	hash_init_with(5, 6);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 37);
	for (size_t len = 1; len <= sizeof(text); len++) {
		uint64_t first = hash_quick(slice_make(text, len));
		CHECK(hash_quick(slice_make(text, len - 1)) != first);
		for (size_t bit = 0; bit < len * 8; bit++) {
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
			int changed =
			    __builtin_popcountll(first ^ hash_quick(slice_make(text, len)));
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
			CHECK(changed >= 10 && changed <= 54);
		}
	}
}

/* By the bits that choose shard, bucket and tag: counted keys, as apps have. */
TEST(quick_hash_spreads_keys_evenly)
{
	int by_top[256] = { 0 }, by_bottom[256] = { 0 }, by_tag[256] = { 0 };
	char key[32];

	hash_init_with(7, 8);
	for (int i = 0; i < 256 * 400; i++) {
		size_t len = (size_t)snprintf(key, sizeof(key), "profile:%d", i);
		uint64_t hash = hash_quick(slice_make(key, len));
		by_top[hash >> 56]++;
		by_bottom[(hash & UINT32_MAX) >> 24]++;
		by_tag[hash >> 48 & 255]++;
	}
	for (int i = 0; i < 256; i++) { /* 400, six standard deviations either way */
		CHECK(by_top[i] > 280 && by_top[i] < 520);
		CHECK(by_bottom[i] > 280 && by_bottom[i] < 520);
		CHECK(by_tag[i] > 280 && by_tag[i] < 520);
	}
}

TEST(quick_hash_is_keyed)
{
	hash_init_with(1, 2);
	uint64_t first = hash_quick(SLICE("k"));
	hash_init_with(1, 3);
	CHECK(hash_quick(SLICE("k")) != first);
	hash_init_with(1, 2);
	CHECK(hash_quick(SLICE("k")) == first);
}

TEST_MAIN
