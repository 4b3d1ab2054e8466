#include "base/little_endian.h"

#include "../test.h"

TEST(the_lowest_byte_comes_first_wherever_it_stands)
{
	char at[13] = { 0 };

	little_put_32(at + 1, 0x04030201);
	little_put_64(at + 5, 0x0c0b0a0908070605);
	for (int i = 0; i < 13; i++)
		CHECK(at[i] == i);
}

TEST(what_was_put_is_read_again)
{
	static const uint64_t numbers[] = { 0, 1, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX };
	char at[9];

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		little_put_64(at + 1, numbers[i]);
		CHECK(little_get_64(at + 1) == numbers[i]);
		CHECK(little_get_32(at + 1) == (uint32_t)numbers[i]);
		little_put_32(at + 1, (uint32_t)numbers[i]);
		CHECK(little_get_32(at + 1) == (uint32_t)numbers[i]);
	}
}

TEST_MAIN
