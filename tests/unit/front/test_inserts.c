/* Large values between the bytes of a buffer, through a socket that takes as
 * much as it likes. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../test.h"
#include "front/inserts.h"

#define ROUNDS 300

static uint64_t seed = 88172645463325252u;

static size_t
draw(size_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (size_t)(seed % below);
}

static struct blob *
make_blob(size_t len, struct buf *expected)
{
	struct blob *blob = blob_make(len);

	for (size_t i = 0; i < len; i++)
		blob->bytes[i] = (char)draw(256);
	buf_append(expected, blob->bytes, len);
	return blob;
}

static void
write_some(struct inserts *inserts, struct buf *out, struct buf *expected)
{
	char bytes[300];
	size_t len = draw(sizeof(bytes));

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)draw(256);
	buf_append(out, bytes, len);
	buf_append(expected, bytes, len);
	if (draw(3) > 0)
		inserts_add(inserts, out, make_blob(draw(100000) + 1, expected));
}

static void
read_some(int fd, struct buf *got, size_t most)
{
	ssize_t n = recv(fd, buf_reserve(got, most), most, MSG_DONTWAIT);

	if (n > 0)
		buf_added(got, (size_t)n);
}

TEST(what_is_sent_in_pieces_arrives_in_order_and_whole)
{
	struct inserts first = { 0 }, second = { 0 };
	struct buf out = BUF_EMPTY, later = BUF_EMPTY, expected = BUF_EMPTY, got = BUF_EMPTY;
	int fds[2], small = 30000;

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (int i = 0; i < ROUNDS; i++) {
		/* As a worker does: into the shared buffer, what is not taken moves. */
		for (size_t j = draw(4); j > 0; j--)
			write_some(&second, &later, &expected);
		inserts_move(&first, &out, &second, &later);
		buf_reset(&later);
		CHECK_INT(second.bytes, 0);
		ssize_t sent = inserts_send(&first, &out, fds[0]);
		CHECK(sent >= 0 || errno == EAGAIN);
		read_some(fds[1], &got, draw(60000) + 1);
	}
	while (first.count > 0 || buf_len(&out) > 0) {
		size_t left = first.bytes + buf_len(&out);
		ssize_t sent = inserts_send(&first, &out, fds[0]);
		if (sent > 0)
			CHECK_INT(first.bytes + buf_len(&out), left - (size_t)sent);
		read_some(fds[1], &got, 65536);
	}
	for (size_t len = 0; len != buf_len(&got);) {
		len = buf_len(&got);
		read_some(fds[1], &got, 65536);
	}
	CHECK(slice_equal(buf_slice(&got), buf_slice(&expected)));
	CHECK_INT(first.bytes, 0);
	CHECK_INT(first.covered, 0);
	buf_free(&out);
	buf_free(&later);
	buf_free(&expected);
	buf_free(&got);
	close(fds[0]);
	close(fds[1]);
}

TEST(more_values_than_one_call_takes_are_sent_by_several)
{
	struct inserts inserts = { 0 };
	struct buf out = BUF_EMPTY, expected = BUF_EMPTY, got = BUF_EMPTY;
	int fds[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	for (int i = 0; i < 200; i++) {
		inserts_add(&inserts, &out, make_blob(100, &expected));
		buf_append(&out, "\r\n", 2);
		buf_append(&expected, "\r\n", 2);
	}
	while (inserts.count > 0)
		CHECK(inserts_send(&inserts, &out, fds[0]) > 0);
	CHECK_INT(buf_len(&out), 0);
	read_some(fds[1], &got, 65536);
	CHECK(slice_equal(buf_slice(&got), buf_slice(&expected)));
	buf_free(&out);
	buf_free(&expected);
	buf_free(&got);
	close(fds[0]);
	close(fds[1]);
}

TEST(what_is_never_sent_is_given_back)
{
	struct inserts inserts = { 0 };
	struct buf out = BUF_EMPTY, expected = BUF_EMPTY;
	struct blob *blob = make_blob(50000, &expected);

	inserts_add(&inserts, &out, blob_ref(blob));
	inserts_add(&inserts, &out, blob_ref(blob));
	CHECK_INT(inserts.bytes, 100000);
	CHECK_INT(atomic_load(&blob->refs), 3);
	inserts_free(&inserts);
	CHECK_INT(atomic_load(&blob->refs), 1);
	CHECK_INT(inserts.bytes, 0);
	blob_unref(blob);
	buf_free(&expected);
}

TEST_MAIN
