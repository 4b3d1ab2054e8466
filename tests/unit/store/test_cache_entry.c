/* Comparing keys: in the cache's tables a key is hardly ever compared with
 * another than itself, so that a mistake would not show there. */
#include "store/cache_entry.h"

#include "../test.h"

TEST(keys_that_differ_in_any_byte_are_told_apart)
{
	char a[80], b[80];

	for (size_t len = 0; len <= 40; len++) {
		for (size_t i = 0; i < sizeof(a); i++)
			a[i] = b[i] = (char)(i * 37);
		b[len + 1] = '!'; /* behind both */
		CHECK(entry_same_bytes(a + 1, b + 1, len));
		for (size_t at = 1; at <= len; at++) {
			b[at] ^= 0x10;
			CHECK(!entry_same_bytes(a + 1, b + 1, len));
			b[at] ^= 0x10;
		}
		b[0] ^= 1; /* before both */
		CHECK(entry_same_bytes(a + 1, b + 1, len));
	}
}

TEST_MAIN
