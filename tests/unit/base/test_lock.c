#include "base/lock.h"

#include <pthread.h>
#include <unistd.h>

#include "../test.h"

#define THREADS 4
#define ROUNDS 200000

static struct lock shared;
static int64_t plain; /* guarded by it */

static void *
count(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		lock_take(&shared);
		plain++;
		lock_give(&shared);
	}
	return NULL;
}

TEST(what_it_guards_is_never_lost)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(plain, (int64_t)THREADS * ROUNDS);
	CHECK_INT(shared.state, LOCK_FREE);
}

TEST(trying_does_not_wait)
{
	struct lock lock = { 0 };

	CHECK(lock_try(&lock));
	CHECK(!lock_try(&lock));
	lock_give(&lock);
	CHECK(lock_try(&lock));
}

static _Atomic int inside;

static void *
enter(void *arg)
{
	lock_take(arg);
	inside++;
	lock_give(arg);
	return NULL;
}

/* Longer than anybody looks on: they sleep, and each is woken. */
TEST(who_sleeps_is_woken)
{
	struct lock lock = { 0 };
	pthread_t threads[THREADS];

	lock_take(&lock);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, enter, &lock) == 0);
	while (lock.state != LOCK_WANTED)
		usleep(1000);
	usleep(20000);
	CHECK_INT(inside, 0);
	lock_give(&lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(inside, THREADS);
}

TEST_MAIN
