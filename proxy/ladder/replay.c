/* See replay.h. */
#include "ladder/replay.h"

#include "base/log.h"

#define BATCH_KEYS 500 /* in one UNLINK */

static bool
next_of_area(struct replay *replay, struct buf *command)
{
	const struct sweep *sweep = &replay->sweep;

	if (sweep_next(&replay->sweep, command))
		return true;
	replay->is_sweeping = false;
	log_info("journal: %zu copies of %.*s unlinked in redis", sweep->unlinked,
	    (int)buf_len(&sweep->pattern), buf_slice(&sweep->pattern).at);
	return false;
}

static bool
take_area(struct replay *replay)
{
	struct buf pattern = BUF_EMPTY;

	replay->is_sweeping = journal_take_area(replay->journal, &pattern);
	if (replay->is_sweeping) {
		sweep_start(&replay->sweep, buf_slice(&pattern));
		replay->has_taken = true;
	}
	buf_free(&pattern);
	return replay->is_sweeping;
}

static bool
next_of_keys(struct replay *replay, struct buf *command)
{
	struct buf keys = BUF_EMPTY;
	size_t count = journal_take(replay->journal, BATCH_KEYS, &keys);

	if (count > 0) {
		replay->has_taken = true;
		buf_printf(command, "*%zu\r\n$6\r\nUNLINK\r\n", count + 1);
		buf_append_slice(command, buf_slice(&keys));
	}
	buf_free(&keys);
	return count > 0;
}

bool
replay_next(struct replay *replay, struct buf *command)
{
	while (replay->is_sweeping || take_area(replay)) {
		if (next_of_area(replay, command))
			return true;
	}
	return next_of_keys(replay, command);
}

bool
replay_answer(struct replay *replay, struct slice reply)
{
	return !replay->is_sweeping || sweep_answer(&replay->sweep, reply);
}

void
replay_end(struct replay *replay, bool is_done)
{
	if (replay->has_taken)
		journal_settle(replay->journal, is_done);
	replay->has_taken = replay->is_sweeping = false;
}

void
replay_free(struct replay *replay)
{
	sweep_free(&replay->sweep);
}
