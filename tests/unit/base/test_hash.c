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

TEST_MAIN
