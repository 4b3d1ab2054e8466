#include "front/metrics.h"

#include "../test.h"

#define WORKERS 3

static struct worker_metrics metrics[WORKERS];
static const struct worker_metrics *const workers[WORKERS] = { &metrics[0], &metrics[1],
	&metrics[2] };
static counter given[WORKERS];
static const struct census census = { .workers = workers,
	.worker_count = WORKERS,
	.clients_given = given };

static void
begin(void)
{
	memset(metrics, 0, sizeof(metrics));
	memset(given, 0, sizeof(given));
}

static size_t
give(size_t last)
{
	size_t at = census_emptiest(&census, last);

	counter_add(&given[at], 1);
	return at;
}

TEST(clients_come_to_each_worker_in_turn)
{
	size_t at = WORKERS - 1;

	begin();
	for (size_t i = 0; i < 10; i++) {
		at = give(at);
		CHECK_INT(at, i % WORKERS);
	}
	CHECK_INT(census_clients(&census), 10);
	CHECK_INT(census_clients_of(&census, 0), 4);
	CHECK_INT(census_clients_of(&census, 2), 3);
}

TEST(a_newcomer_goes_to_whom_most_have_left)
{
	size_t at = 0;

	begin();
	for (int i = 0; i < 30; i++)
		at = give(at);
	counter_add(&metrics[1].clients_gone, 5);
	for (int i = 0; i < 5; i++)
		CHECK_INT(at = give(at), 1);
	CHECK_INT(census_clients_of(&census, 1), 10);
	CHECK_INT(census_clients(&census), 30);
	CHECK_INT(census_clients_ever(&census), 35);
}

/* One client that comes and goes keeps nobody busy alone. */
TEST(of_equals_the_next_has_its_turn)
{
	size_t at = 0, seen[WORKERS] = { 0 };

	begin();
	for (int i = 0; i < 9; i++) {
		at = give(at);
		seen[at]++;
		counter_add(&metrics[at].clients_gone, 1);
	}
	for (size_t i = 0; i < WORKERS; i++)
		CHECK_INT(seen[i], 3);
}

TEST(one_worker_gets_all)
{
	struct census alone = census;

	begin();
	alone.worker_count = 1;
	CHECK_INT(census_emptiest(&alone, 0), 0);
	counter_add(&given[0], 1);
	CHECK_INT(census_emptiest(&alone, 0), 0);
}

TEST_MAIN
