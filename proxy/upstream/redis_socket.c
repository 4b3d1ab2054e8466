/*
 * Bytes to and from Redis over hiredis 1.2. Its habits, read in its source:
 *
 * - read and write return 0 for "would block", -1 for the end or an error;
 *   the TLS layer says nowhere which way it is blocked, but SSL_want() does.
 * - The TLS layer leaves OpenSSL's error queue as it found it, and an old
 *   error in there (another connection's) makes SSL_get_error() lie: clear it
 *   before every call.
 * - SSL_write() gets the whole buffer, and wants the same length again after
 *   "would block": hiredis remembers it, so appending meanwhile is fine.
 * - redisInitiateSSL() owns the SSL object only when it succeeds.
 * - OpenSSL's write() goes without MSG_NOSIGNAL.
 */
#include "upstream/redis_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <hiredis/sds.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/alloc.h"

#define TCP_KEEPALIVE_S 30
/* hiredis moves what is left of its buffer down after each partial write, so
 * that buffer stays small; the rest waits in ours. */
#define CONTEXT_BYTES (256 * 1024)
#define SEND_KEEP_BYTES (64 * 1024) /* of our own, for the next time */
#define READ_BYTES 16384
#define READ_BYTES_MAX (256 * 1024)

static pthread_once_t sigpipe_once = PTHREAD_ONCE_INIT;

static void
ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static enum socket_step
fail_to_connect(struct redis_failure *failure, int error)
{
	const char *reason;

	switch (error) {
	case ECONNREFUSED:
		reason = "connection refused";
		break;
	case EHOSTUNREACH:
		reason = "no route to host";
		break;
	case ENETUNREACH:
		reason = "network is unreachable";
		break;
	case ETIMEDOUT:
		reason = "connection timed out";
		break;
	case ENOENT:
		reason = "no such socket";
		break;
	case EACCES:
		reason = "permission denied";
		break;
	case EAGAIN:
		reason = "its queue of new connections is full";
		break;
	case 0:
		reason = "cannot connect";
		break;
	default:
		reason = strerror(error);
		break;
	}
	redis_fail(failure, FAILURE_CONNECT, "%s", reason);
	return SOCKET_FAILED;
}

static void
set_options(redisContext *context, const struct redis_target *target)
{
	int on = 1;

	fcntl(context->fd, F_SETFD, FD_CLOEXEC);
	if (target->path != NULL)
		return;
	/* Neither is worth failing for. */
	setsockopt(context->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	redisEnableKeepAliveWithInterval(context, TCP_KEEPALIVE_S);
	context->err = 0;
}

enum socket_step
redis_socket_open(struct redis_socket *socket, const struct redis_target *target,
    const char *address, struct redis_failure *failure)
{
	redisContext *context;
	int error;

	pthread_once(&sigpipe_once, ignore_sigpipe);
	*socket = (struct redis_socket){ .more = BUF_EMPTY };
	errno = 0;
	if (target->path != NULL)
		context = redisConnectUnixNonBlock(target->path);
	else
		context = redisConnectNonBlock(address, target->port);
	error = errno;
	socket->context = context;
	if (context == NULL || context->err != 0 || context->fd < 0)
		return fail_to_connect(failure, error != EINPROGRESS ? error : 0);
	set_options(context, target);
	return target->path != NULL ? SOCKET_DONE : SOCKET_WANTS_WRITE;
}

enum socket_step
redis_socket_finish(struct redis_socket *socket, struct redis_failure *failure)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(socket->context->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	return error != 0 ? fail_to_connect(failure, error) : SOCKET_DONE;
}

int
redis_socket_fd(const struct redis_socket *socket)
{
	return socket->context->fd;
}

/* What OpenSSL's queue says, once it is known that there is something wrong. */
static enum socket_step
fail_in_tls(SSL *ssl, int error, struct redis_failure *failure)
{
	long verdict = SSL_get_verify_result(ssl);
	unsigned long code = ERR_peek_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (verdict == X509_V_ERR_CERT_HAS_EXPIRED)
		redis_fail(failure, FAILURE_TLS, "certificate has expired");
	else if (verdict == X509_V_ERR_CERT_NOT_YET_VALID)
		redis_fail(failure, FAILURE_TLS, "certificate is not valid yet");
	else if (verdict == X509_V_ERR_HOSTNAME_MISMATCH ||
	    verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
		redis_fail(failure, FAILURE_TLS, "certificate is for another host name");
	else if (verdict != X509_V_OK)
		redis_fail(failure, FAILURE_TLS, "certificate is not trusted (%s)",
		    X509_verify_cert_error_string(verdict));
	else if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
		redis_fail(failure, FAILURE_TLS, "the server does not speak TLS (redis://?)");
	else if (text != NULL)
		redis_fail(failure, FAILURE_TLS, "TLS failed (%s)", text);
	else if (error != 0)
		redis_fail(failure, FAILURE_TLS, "TLS failed (%s)", strerror(error));
	else
		redis_fail(failure, FAILURE_TLS, "connection closed by Redis in the TLS handshake");
	ERR_clear_error();
	return SOCKET_FAILED;
}

static bool
set_identity(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	char name[256];
	size_t len = strlen(host);

	if (inet_pton(AF_INET, host, address) == 1 || strchr(host, ':') != NULL)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	/* "example.com." is an absolute name for the resolver only. */
	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len >= sizeof(name))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static enum socket_step
start_tls(struct redis_socket *socket, const struct redis_target *target,
    struct redis_failure *failure)
{
	struct redis_access *access = redis_target_access(target);
	SSL *ssl = SSL_new(access->tls);

	redis_access_unref(access); /* the connection has its own of what it needs */
	if (ssl == NULL || !set_identity(ssl, target->host)) {
		redis_fail(failure, FAILURE_TLS, "TLS cannot be set up for this host name");
		SSL_free(ssl);
		ERR_clear_error();
		return SOCKET_FAILED;
	}
	errno = 0;
	if (redisInitiateSSL(socket->context, ssl) != REDIS_OK) {
		fail_in_tls(ssl, errno, failure);
		SSL_free(ssl);
		return SOCKET_FAILED;
	}
	socket->ssl = ssl;
	return SOCKET_DONE;
}

enum socket_step
redis_socket_secure(struct redis_socket *socket, const struct redis_target *target,
    struct redis_failure *failure)
{
	int result, error;

	if (socket->ssl == NULL && start_tls(socket, target, failure) == SOCKET_FAILED)
		return SOCKET_FAILED;
	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(socket->ssl);
	error = errno;
	if (result == 1)
		return SOCKET_DONE;
	switch (SSL_get_error(socket->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return SOCKET_WANTS_READ;
	case SSL_ERROR_WANT_WRITE:
		return SOCKET_WANTS_WRITE;
	default:
		return fail_in_tls(socket->ssl, error, failure);
	}
}

/* hiredis has returned -1. */
static enum socket_step
fail_in_transit(struct redis_socket *socket, int error, struct redis_failure *failure)
{
	unsigned long code = ERR_peek_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (socket->context->err == REDIS_ERR_EOF)
		redis_fail(failure, FAILURE_LOST, "connection closed by Redis");
	else if (socket->ssl != NULL && text != NULL) /* such as "certificate required" */
		redis_fail(failure, FAILURE_TLS, "TLS failed (%s)", text);
	else if (error == ECONNRESET || error == EPIPE)
		redis_fail(failure, FAILURE_LOST, "connection reset by Redis");
	else
		redis_fail(failure, FAILURE_LOST, "connection lost (%s)",
		    error != 0 ? strerror(error) : "no reason given");
	ERR_clear_error();
	return SOCKET_FAILED;
}

static size_t
room_for_next_read(const struct redis_socket *socket, const struct buf *in)
{
	size_t room = buf_len(in);

	/* Steps of the size of what is there already: a reply of 1 MB takes
	 * few reads, and one of 5 bytes little memory. */
	if (!socket->is_full || room < READ_BYTES)
		return READ_BYTES;
	return room < READ_BYTES_MAX ? room : READ_BYTES_MAX;
}

enum socket_step
redis_socket_read(struct redis_socket *socket, struct buf *in, struct redis_failure *failure)
{
	redisContext *context = socket->context;
	size_t room = room_for_next_read(socket, in);
	char *at = buf_reserve(in, room);
	ssize_t len;

	if (socket->ssl != NULL)
		ERR_clear_error();
	errno = 0;
	len = context->funcs->read(context, at, room);
	if (len < 0)
		return fail_in_transit(socket, errno, failure);
	buf_added(in, (size_t)len);
	socket->is_full = (size_t)len == room;
	if (socket->ssl == NULL)
		return socket->is_full ? SOCKET_DONE : SOCKET_WANTS_READ;
	socket->read_wants_write = len == 0 && SSL_want_write(socket->ssl);
	/* Decrypted bytes wake nobody: nothing is left on the socket. */
	return len > 0 && SSL_has_pending(socket->ssl) ? SOCKET_DONE : SOCKET_WANTS_READ;
}

static void
append_to_context(struct redis_socket *socket, struct slice bytes)
{
	if (redisAppendFormattedCommand(socket->context, bytes.at, bytes.len) != REDIS_OK)
		alloc(SIZE_MAX); /* out of memory: ends as everywhere */
}

void
redis_socket_write(struct redis_socket *socket, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	if (socket->ssl != NULL && buf_len(&socket->more) == 0 &&
	    sdslen(socket->context->obuf) < CONTEXT_BYTES && bytes.len <= CONTEXT_BYTES)
		append_to_context(socket, bytes);
	else
		buf_append_slice(&socket->more, bytes);
}

static void
refill_context(struct redis_socket *socket)
{
	struct slice next = buf_slice(&socket->more);

	if (next.len > CONTEXT_BYTES)
		next.len = CONTEXT_BYTES;
	append_to_context(socket, next);
	buf_take(&socket->more, next.len);
}

/* Without TLS hiredis has nothing to add, but would allocate for each batch. */
static enum socket_step
send_plain(struct redis_socket *socket, struct redis_failure *failure)
{
	struct buf *more = &socket->more;

	while (buf_len(more) > 0) {
		ssize_t n =
		    send(socket->context->fd, more->at + more->start, buf_len(more), MSG_NOSIGNAL);
		int error = errno;
		if (n < 0 && error == EINTR)
			continue;
		if (n < 0 && (error == EAGAIN || error == EWOULDBLOCK))
			return SOCKET_WANTS_WRITE;
		if (n < 0)
			return fail_in_transit(socket, error, failure);
		more->start += (size_t)n;
	}
	if (more->size > SEND_KEEP_BYTES)
		buf_free(more);
	more->start = more->end = 0;
	return SOCKET_DONE;
}

enum socket_step
redis_socket_send(struct redis_socket *socket, struct redis_failure *failure)
{
	redisContext *context = socket->context;

	socket->write_wants_read = false;
	if (socket->ssl == NULL)
		return send_plain(socket, failure);
	for (;;) {
		size_t before = sdslen(context->obuf);

		if (before == 0 && buf_len(&socket->more) == 0)
			return SOCKET_DONE;
		if (before == 0) {
			refill_context(socket);
			continue;
		}
		if (socket->ssl != NULL) {
			ERR_clear_error();
			if (socket->offered == 0)
				socket->offered = before;
		}
		errno = 0;
		if (redisBufferWrite(context, NULL) != REDIS_OK)
			return fail_in_transit(socket, errno, failure);
		if (sdslen(context->obuf) < before) {
			socket->offered = 0;
			continue;
		}
		if (socket->ssl == NULL)
			return SOCKET_WANTS_WRITE;
		/* SSL_write() returns 0, and hiredis takes it for progress to come,
		 * when the other side has said goodbye. */
		if (SSL_want_nothing(socket->ssl))
			return fail_in_transit(socket, ECONNRESET, failure);
		socket->write_wants_read = SSL_want_read(socket->ssl);
		return socket->write_wants_read ? SOCKET_WANTS_READ : SOCKET_WANTS_WRITE;
	}
}

size_t
redis_socket_unsent(const struct redis_socket *socket)
{
	if (socket->context == NULL)
		return socket->unsent;
	return sdslen(socket->context->obuf) - socket->offered + buf_len(&socket->more);
}

void
redis_socket_close(struct redis_socket *socket)
{
	if (socket->context == NULL)
		return;
	socket->unsent = redis_socket_unsent(socket);
	redisFree(socket->context); /* and with it the SSL object */
	socket->context = NULL;
	socket->ssl = NULL;
	socket->offered = 0;
	buf_free(&socket->more);
}
