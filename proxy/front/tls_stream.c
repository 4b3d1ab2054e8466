/*
 * See tls_stream.h. OpenSSL never touches the socket: it reads what was
 * received and writes what will be sent, both through a BIO of ours.
 */
#include "front/tls_stream.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/buf.h"

#define ENCRYPT_BYTES 65536         /* by one call: a few records, one system call */
#define SEND_BYTES_A_TURN (1 << 18) /* then other clients have their turn */
#define RECORD_OVERHEAD_BYTES 256   /* header, tag, padding: more than any cipher adds */
#define RECORD_BYTES SSL3_RT_MAX_PLAIN_LENGTH

struct tls_stream {
	SSL *ssl;
	int fd;
	struct slice received; /* ciphertext not yet with OpenSSL; only inside a call */
	struct buf unsent;     /* ciphertext on its way to the socket */
	bool is_at_end, is_broken;
	const char *fault; /* static */
};

_Static_assert(SSL3_RT_MAX_PACKET_SIZE < TLS_STREAM_READ_BYTES, "room for a record");

/* ---- between OpenSSL and us ---- */

static int
on_read(BIO *bio, char *to, int size)
{
	struct tls_stream *tls = BIO_get_data(bio);
	size_t len = tls->received.len < (size_t)size ? tls->received.len : (size_t)size;

	BIO_clear_retry_flags(bio);
	if (len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, tls->received.at, len);
	tls->received.at += len;
	tls->received.len -= len;
	return (int)len;
}

static int
on_write(BIO *bio, const char *from, int len)
{
	struct tls_stream *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	buf_append(&tls->unsent, from, (size_t)len);
	return len;
}

static long
on_control(BIO *bio, int what, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void
free_method(void)
{
	BIO_meth_free(method);
}

static void
make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sidecar");
	if (method == NULL)
		return;
	BIO_meth_set_read(method, on_read);
	BIO_meth_set_write(method, on_write);
	BIO_meth_set_ctrl(method, on_control);
	atexit(free_method);
}

static bool
connect_bio(struct tls_stream *tls)
{
	pthread_once(&method_once, make_method);
	BIO *bio = method != NULL ? BIO_new(method) : NULL;

	if (bio == NULL)
		return false;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	return true;
}

/* ---- coming and going ---- */

struct tls_stream *
tls_stream_new(SSL_CTX *context, int fd)
{
	struct tls_stream *tls = alloc_zero(sizeof(*tls));

	tls->fd = fd;
	tls->fault = "";
	tls->ssl = SSL_new(context);
	if (tls->ssl != NULL && connect_bio(tls)) {
		SSL_set_accept_state(tls->ssl);
		return tls;
	}
	ERR_clear_error();
	SSL_free(tls->ssl);
	free(tls);
	return NULL;
}

/* False: the connection is gone. What the socket does not take, stays. */
static bool
send_ciphertext(struct tls_stream *tls)
{
	struct slice bytes = buf_slice(&tls->unsent);

	if (bytes.len == 0)
		return true;
	ssize_t n = send(tls->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
	int error = errno;
	if (n < 0 && error != EAGAIN && error != EINTR)
		return false;
	if (n > 0)
		buf_take(&tls->unsent, (size_t)n);
	if (buf_len(&tls->unsent) == 0)
		buf_free(&tls->unsent); /* thousands of idle clients keep nothing */
	return true;
}

static void
say_goodbye(struct tls_stream *tls)
{
	if (tls->is_broken || !SSL_is_init_finished(tls->ssl) ||
	    (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
		return;
	ERR_clear_error();
	int result = SSL_shutdown(tls->ssl); /* 0: the other side has not said it */
	(void)result;
	ERR_clear_error();
}

void
tls_stream_free(struct tls_stream *tls)
{
	if (tls == NULL)
		return;
	if (buf_len(&tls->unsent) == 0) {
		say_goodbye(tls);
		bool is_sent = send_ciphertext(tls);
		(void)is_sent; /* or the client will see for itself */
	}
	SSL_free(tls->ssl);
	buf_free(&tls->unsent);
	free(tls);
}

bool
tls_stream_is_secured(const struct tls_stream *tls)
{
	return SSL_is_init_finished(tls->ssl);
}

const char *
tls_stream_fault(const struct tls_stream *tls)
{
	return tls->fault;
}

bool
tls_stream_is_at_end(const struct tls_stream *tls)
{
	return tls->is_at_end || tls->is_broken;
}

bool
tls_stream_has_unsent(const struct tls_stream *tls)
{
	return buf_len(&tls->unsent) > 0;
}

/* ---- receiving ---- */

/* OpenSSL has returned no bytes: has it simply got all there is? */
static void
judge(struct tls_stream *tls, int result)
{
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_ZERO_RETURN:
		tls->is_at_end = true;
		break;
	default:
		tls->is_broken = true;
		tls->fault = ERR_reason_error_string(ERR_peek_error());
		if (tls->fault == NULL)
			tls->fault = "";
	}
	ERR_clear_error();
}

/* Decrypts everything received to `at`; how many bytes that are. */
static size_t
decrypt(struct tls_stream *tls, char *at, size_t size)
{
	size_t got = 0;
	int n = 0;

	ERR_clear_error();
	while (got < size && (n = SSL_read(tls->ssl, at + got, (int)(size - got))) > 0)
		got += (size_t)n;
	assert(got < size);
	judge(tls, n);
	tls->received = SLICE_NONE;
	return got;
}

/*
 * Received at the end of the room, decrypted to its start:
 *
 *   at [ commands --> ...  | received ciphertext --> ]
 *       one record's bytes ^
 *
 * OpenSSL may hold most of a record from before, and no more; so what comes
 * out is always behind what goes in, and never fills the room.
 */
ssize_t
tls_stream_recv(struct tls_stream *tls, char *at, size_t size)
{
	char *received = at + SSL3_RT_MAX_PACKET_SIZE;

	assert(size >= TLS_STREAM_READ_BYTES);
	if (tls->is_broken) {
		errno = ECONNABORTED;
		return -1;
	}
	if (tls->is_at_end)
		return 0;
	ssize_t n = recv(tls->fd, received, size - SSL3_RT_MAX_PACKET_SIZE, 0);
	if (n <= 0)
		return n;
	tls->received = slice_make(received, (size_t)n);
	size_t got = decrypt(tls, at, size);
	/* Its part of the handshake, or why it refuses. */
	if (!send_ciphertext(tls))
		tls->is_broken = true;
	if (got > 0)
		return (ssize_t)got;
	if (tls->is_at_end)
		return 0;
	errno = tls->is_broken ? ECONNABORTED : EAGAIN;
	return -1;
}

/* ---- sending ---- */

/* False: OpenSSL will not have it. */
static bool
encrypt(struct tls_stream *tls, struct slice bytes)
{
	size_t records = bytes.len / RECORD_BYTES + 1;

	/* One block, not one that grows record by record. */
	buf_reserve(&tls->unsent, bytes.len + records * RECORD_OVERHEAD_BYTES);
	ERR_clear_error();
	if (SSL_write(tls->ssl, bytes.at, (int)bytes.len) == (int)bytes.len)
		return true;
	ERR_clear_error();
	return false;
}

ssize_t
tls_stream_send(struct tls_stream *tls, struct slice bytes)
{
	size_t taken = 0;

	do {
		size_t rest = bytes.len - taken;
		size_t len = rest < ENCRYPT_BYTES ? rest : ENCRYPT_BYTES;
		bool is_next = len > 0 && !tls_stream_has_unsent(tls);
		if (is_next && !encrypt(tls, slice_make(bytes.at + taken, len)))
			tls->is_broken = true;
		if (tls->is_broken || !send_ciphertext(tls)) {
			tls->is_broken = true;
			errno = ECONNABORTED;
			return -1;
		}
		taken += is_next ? len : 0;
	} while (taken < bytes.len && taken < SEND_BYTES_A_TURN && !tls_stream_has_unsent(tls));
	return (ssize_t)taken;
}

bool
tls_stream_finish(struct tls_stream *tls)
{
	assert(!tls_stream_has_unsent(tls));
	say_goodbye(tls);
	return send_ciphertext(tls) && shutdown(tls->fd, SHUT_WR) == 0;
}
