/*
 * A test program: TEST(name_is_a_sentence) { CHECK(...); } ... and TEST_MAIN.
 * Every check that fails prints where and with what; the last line printed is
 * `N passed, N failed`, the exit status 1 when a test failed or none ran.
 */
#ifndef SIDECAR_TESTS_TEST_H
#define SIDECAR_TESTS_TEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

static struct test *tests;
static int test_failures; /* in the running test */

static inline void
test_add(struct test *test)
{
	struct test **end = &tests;
	while (*end != NULL)
		end = &(*end)->next;
	*end = test;
}

#define TEST(title) \
	static void title(void); \
	static struct test test_##title = { #title, title, NULL }; \
	__attribute__((constructor)) static void add_##title(void) \
	{ \
		test_add(&test_##title); \
	} \
	static void title(void)

#define CHECK(claim) \
	do { \
		if (!(claim)) { \
			printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
			test_failures++; \
		} \
	} while (0)

#define CHECK_INT(got, wanted) \
	do { \
		int64_t got_ = (int64_t)(got), wanted_ = (int64_t)(wanted); \
		if (got_ != wanted_) { \
			printf("%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", __FILE__, __LINE__, \
			    #got, got_, wanted_); \
			test_failures++; \
		} \
	} while (0)

#define CHECK_TEXT(got, wanted) \
	do { \
		const char *got_ = (got), *wanted_ = (wanted); \
		if (got_ == NULL || strcmp(got_, wanted_) != 0) { \
			printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, \
			    got_ != NULL ? got_ : "(null)", wanted_); \
			test_failures++; \
		} \
	} while (0)

static inline int
test_run_all(void)
{
	int passed = 0, failed = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct test *test = tests; test != NULL; test = test->next) {
		test_failures = 0;
		test->run();
		if (test_failures > 0)
			printf("FAILED %s\n", test->name);
		test_failures > 0 ? failed++ : passed++;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0 || passed == 0;
}

#define TEST_MAIN \
	int main(void) \
	{ \
		return test_run_all(); \
	}

#endif
