/* See tls_context.h. No thread of its own: the main thread's, at start and at
 * reload. A context is counted by OpenSSL: the last connection frees it. */
#include "front/tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "base/settings_entries.h"

/* To whom tickets belong: one of another program is not resumed here. */
static const unsigned char session_context[] = "sidecar";

struct making {
	const struct settings *settings;
	SSL_CTX *context;
	char *error;
	size_t error_size;
};

/* False, always: blame(making, "key", "what is wrong with its file"). */
#define blame(making, key, ...) \
	settings_blame((making)->settings, NULL, setting_find("listen", key), (making)->error, \
	    (making)->error_size, __VA_ARGS__)

/* OpenSSL's own words for what has just failed. */
static const char *
reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text != NULL ? text : "no reason given";
}

static void
write_time(const ASN1_TIME *time, char *text, size_t size)
{
	BIO *out = BIO_new(BIO_s_mem());
	int len = 0;

	if (out != NULL && ASN1_TIME_print(out, time) == 1)
		len = BIO_read(out, text, (int)size - 1);
	text[len > 0 ? len : 0] = '\0';
	BIO_free(out);
}

static bool
check_times(const struct making *making)
{
	const X509 *cert = SSL_CTX_get0_certificate(making->context);
	const ASN1_TIME *from = X509_get0_notBefore(cert), *until = X509_get0_notAfter(cert);
	char when[64];

	if (X509_cmp_current_time(until) < 0) {
		write_time(until, when, sizeof(when));
		return blame(making, "tls_cert", "\"%s\" has expired (%s)",
		    making->settings->listen.tls_cert, when);
	}
	if (X509_cmp_current_time(from) > 0) {
		write_time(from, when, sizeof(when));
		return blame(making, "tls_cert", "\"%s\" is not valid before %s",
		    making->settings->listen.tls_cert, when);
	}
	return true;
}

static bool
load_cert(const struct making *making)
{
	const char *file = making->settings->listen.tls_cert;

	if (SSL_CTX_use_certificate_chain_file(making->context, file) != 1)
		return blame(making, "tls_cert", "\"%s\" holds no usable certificate (%s)", file,
		    reason());
	return check_times(making);
}

/* Nobody is there to be asked. */
static int
on_passphrase_wanted(char *text, int size, int is_writing, void *arg)
{
	(void)text, (void)size, (void)is_writing, (void)arg;
	return -1;
}

static bool
load_key(const struct making *making)
{
	const char *file = making->settings->listen.tls_key;

	SSL_CTX_set_default_passwd_cb(making->context, on_passphrase_wanted);
	if (SSL_CTX_use_PrivateKey_file(making->context, file, SSL_FILETYPE_PEM) == 1 &&
	    SSL_CTX_check_private_key(making->context) == 1)
		return true;
	int code = ERR_GET_REASON(ERR_peek_error());
	/* The last: OpenSSL has a place for each type, and that one's is empty. */
	if (code == X509_R_KEY_VALUES_MISMATCH || code == X509_R_KEY_TYPE_MISMATCH ||
	    code == SSL_R_NO_CERTIFICATE_ASSIGNED)
		return blame(making, "tls_key", "\"%s\" is not the key of tls_cert", file);
	return blame(making, "tls_key", "\"%s\" holds no usable key (%s)", file, reason());
}

static bool
load_client_ca(const struct making *making)
{
	const char *file = making->settings->listen.tls_client_ca;

	if (file[0] == '\0')
		return true;
	/* The names are for clients that have several certificates. */
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
	if (names == NULL || SSL_CTX_load_verify_file(making->context, file) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return blame(making, "tls_client_ca", "\"%s\" holds no usable certificate (%s)",
		    file, reason());
	}
	SSL_CTX_set_client_CA_list(making->context, names);
	SSL_CTX_set_verify(making->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
	    NULL);
	return true;
}

static bool
set_up(const struct making *making)
{
	SSL_CTX *context = making->context;

	if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context) - 1) !=
		1)
		return blame(making, "tls_cert", "TLS is not available (%s)", reason());
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* Tickets are the client's to keep; nothing is kept here. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	/* What an idle connection does not need. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	return load_cert(making) && load_key(making) && load_client_ca(making);
}

bool
tls_context_new(const struct settings *settings, SSL_CTX **context, char *error, size_t error_size)
{
	struct making making = { settings, NULL, error, error_size };

	*context = NULL;
	if (settings->listen.tls_cert[0] == '\0')
		return true;
	ERR_clear_error();
	making.context = SSL_CTX_new(TLS_server_method());
	bool is_fine = set_up(&making);
	ERR_clear_error();
	if (is_fine)
		*context = making.context;
	else
		SSL_CTX_free(making.context);
	return is_fine;
}

void
tls_context_describe(SSL_CTX *context, char *text, size_t size)
{
	const X509 *cert = SSL_CTX_get0_certificate(context);
	BIO *out = BIO_new(BIO_s_mem());
	int len = 0;

	if (out != NULL) {
		X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_ONELINE);
		BIO_puts(out, ", serial ");
		i2a_ASN1_INTEGER(out, X509_get0_serialNumber(cert));
		BIO_puts(out, ", valid until ");
		ASN1_TIME_print(out, X509_get0_notAfter(cert));
		len = BIO_read(out, text, (int)size - 1);
	}
	text[len > 0 ? len : 0] = '\0';
	BIO_free(out);
}

bool
tls_context_equal(SSL_CTX *a, SSL_CTX *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return X509_cmp(SSL_CTX_get0_certificate(a), SSL_CTX_get0_certificate(b)) == 0;
}
