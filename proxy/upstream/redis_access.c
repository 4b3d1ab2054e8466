/* See redis_access.h. No thread of its own. */
#include "upstream/redis_access.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/alloc.h"

struct redis_access *
redis_access_new(void)
{
	struct redis_access *access = alloc_zero(sizeof(*access));

	access->refs = 1;
	return access;
}

void
redis_access_unref(struct redis_access *access)
{
	if (access == NULL || atomic_fetch_sub(&access->refs, 1) > 1)
		return;
	if (access->password != NULL)
		OPENSSL_cleanse(access->password, access->password_len);
	SSL_CTX_free(access->tls);
	free(access->user);
	free(access->password);
	free(access);
}

static bool
load_authorities(SSL_CTX *tls, const char *ca_file)
{
	struct stat about;

	if (ca_file == NULL || ca_file[0] == '\0')
		return SSL_CTX_set_default_verify_paths(tls) == 1;
	if (stat(ca_file, &about) == 0 && S_ISDIR(about.st_mode))
		return SSL_CTX_load_verify_dir(tls, ca_file) == 1;
	return SSL_CTX_load_verify_file(tls, ca_file) == 1;
}

const char *
redis_access_make_tls(struct redis_access *access, const char *ca_file)
{
	access->tls = SSL_CTX_new(TLS_client_method());
	if (access->tls == NULL || SSL_CTX_set_min_proto_version(access->tls, TLS1_2_VERSION) != 1)
		return "TLS is not available";
	SSL_CTX_set_verify(access->tls, SSL_VERIFY_PEER, NULL);
	/* A reply says itself where it ends: a server that hangs up without
	 * TLS's goodbye is simply gone. */
	SSL_CTX_set_options(access->tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* One system call a batch, instead of two a record. */
	SSL_CTX_set_read_ahead(access->tls, 1);
	if (!load_authorities(access->tls, ca_file)) {
		ERR_clear_error();
		return "the CA file ([redis] tls_ca) cannot be read or holds no certificate";
	}
	return NULL;
}
