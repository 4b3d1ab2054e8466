/* See inserts.h. */
#include "front/inserts.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"

#define FIRST_ROOM 8
#define PARTS_A_CALL 64 /* of the buffer and values, in turn */

void
inserts_add(struct inserts *inserts, const struct buf *out, struct blob *blob)
{
	if (inserts->first + inserts->count == inserts->room) {
		inserts->room = inserts->room > 0 ? inserts->room * 2 : FIRST_ROOM;
		inserts->list = alloc_again(inserts->list, inserts->room * sizeof(*inserts->list));
	}
	inserts->list[inserts->first + inserts->count++] =
	    (struct insert){ blob, buf_len(out) - inserts->covered, 0 };
	inserts->covered = buf_len(out);
	inserts->bytes += blob->len;
}

void
inserts_move(struct inserts *to, struct buf *to_out, struct inserts *from,
    const struct buf *from_out)
{
	struct slice bytes = buf_slice(from_out);
	size_t at = 0;

	for (size_t i = 0; i < from->count; i++) {
		struct insert *insert = &from->list[from->first + i];
		if (insert->before > 0)
			buf_append(to_out, bytes.at + at, insert->before);
		at += insert->before;
		inserts_add(to, to_out, blob_ref(insert->blob));
		to->list[to->first + to->count - 1].sent = insert->sent;
		to->bytes -= insert->sent;
	}
	if (at < bytes.len)
		buf_append(to_out, bytes.at + at, bytes.len - at);
	inserts_free(from);
}

/* Takes what has been sent off the buffer, which keeps its block. */
static void
take_bytes(struct inserts *inserts, struct buf *out, struct insert *insert, size_t *sent)
{
	size_t most = insert != NULL ? insert->before : buf_len(out);
	size_t taken = *sent < most ? *sent : most;

	out->start += taken;
	*sent -= taken;
	if (insert != NULL) {
		insert->before -= taken;
		inserts->covered -= taken;
	}
}

static void
take(struct inserts *inserts, struct buf *out, size_t sent)
{
	while (inserts->count > 0 && sent > 0) {
		struct insert *insert = &inserts->list[inserts->first];
		take_bytes(inserts, out, insert, &sent);
		size_t left = insert->blob->len - insert->sent;
		size_t taken = sent < left ? sent : left;
		insert->sent += taken;
		inserts->bytes -= taken;
		sent -= taken;
		if (taken < left)
			return;
		blob_unref(insert->blob);
		inserts->first++;
		inserts->count--;
	}
	if (inserts->count == 0)
		inserts_free(inserts);
	take_bytes(inserts, out, NULL, &sent);
}

ssize_t
inserts_send(struct inserts *inserts, struct buf *out, int fd)
{
	struct iovec parts[PARTS_A_CALL];
	struct msghdr message = { .msg_iov = parts };
	char nothing[1] = { 0 }; /* an empty buffer has no bytes to point to */
	char *at = out->at != NULL ? out->at + out->start : nothing, *end = at + buf_len(out);
	size_t count = 0, i = 0;

	for (; i < inserts->count && count + 2 < PARTS_A_CALL; i++) {
		const struct insert *insert = &inserts->list[inserts->first + i];
		parts[count++] = (struct iovec){ at, insert->before };
		parts[count++] = (struct iovec){ insert->blob->bytes + insert->sent,
			insert->blob->len - insert->sent };
		at += insert->before;
	}
	if (i == inserts->count)
		parts[count++] = (struct iovec){ at, (size_t)(end - at) };
	message.msg_iovlen = count;
	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	if (sent > 0)
		take(inserts, out, (size_t)sent);
	return sent;
}

void
inserts_free(struct inserts *inserts)
{
	for (size_t i = 0; i < inserts->count; i++)
		blob_unref(inserts->list[inserts->first + i].blob);
	free(inserts->list);
	*inserts = (struct inserts){ 0 };
}
