/* See snapshot_seal.h. */
#include "store/snapshot_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/little_endian.h"
#include "base/random.h"

#define NONCE_BYTES 12
#define HMAC_BYTES 32

const struct slice seal_magic = SLICE_INIT("sidecar snapshot 1\n");
static const struct slice magic_of_any = SLICE_INIT("sidecar snapshot ");

struct seal {
	EVP_CIPHER_CTX *cipher;
	uint64_t chunks; /* so far */
};

size_t
seal_head_bytes(void)
{
	return seal_magic.len + SEAL_SALT_BYTES + SEAL_CHECK_BYTES;
}

/* ---- keys ---- */

/* HMAC-SHA256 over the head without its check, and one byte for the purpose. */
static void
derive(const unsigned char key[SEAL_KEY_BYTES], struct slice head, char purpose,
    unsigned char out[HMAC_BYTES])
{
	struct buf text = BUF_EMPTY;

	buf_append(&text, head.at, seal_magic.len + SEAL_SALT_BYTES);
	buf_append(&text, &purpose, 1);
	struct slice bytes = buf_slice(&text);
	if (HMAC(EVP_sha256(), key, SEAL_KEY_BYTES, (const unsigned char *)bytes.at, bytes.len, out,
		NULL) == NULL)
		abort();
	buf_free(&text);
}

static struct seal *
make(const unsigned char key[SEAL_KEY_BYTES], struct slice head, bool is_for_writing)
{
	struct seal *seal = alloc_zero(sizeof(*seal));
	unsigned char file_key[HMAC_BYTES];

	derive(key, head, 'e', file_key);
	seal->cipher = EVP_CIPHER_CTX_new();
	if (seal->cipher == NULL ||
	    EVP_CipherInit_ex(seal->cipher, EVP_aes_256_gcm(), NULL, file_key, NULL,
		is_for_writing) != 1)
		abort();
	OPENSSL_cleanse(file_key, sizeof(file_key));
	return seal;
}

struct seal *
seal_new(const unsigned char key[SEAL_KEY_BYTES], struct buf *head)
{
	unsigned char check[HMAC_BYTES];
	size_t before = buf_len(head);

	buf_append_slice(head, seal_magic);
	random_bytes(buf_reserve(head, SEAL_SALT_BYTES), SEAL_SALT_BYTES);
	buf_added(head, SEAL_SALT_BYTES);
	struct slice salted = buf_slice(head);
	salted = slice_make(salted.at + before, salted.len - before);
	derive(key, salted, 'c', check);
	struct seal *seal = make(key, salted, true);
	buf_append(head, check, SEAL_CHECK_BYTES);
	return seal;
}

struct seal *
seal_open(const unsigned char key[SEAL_KEY_BYTES], struct slice head, const char **why)
{
	unsigned char check[HMAC_BYTES];

	if (!slice_starts(head, magic_of_any)) {
		*why = head.len > 0 ? "it is not a snapshot" : "it is empty";
		return NULL;
	}
	if (!slice_starts(head, seal_magic)) {
		*why = "it is of another version";
		return NULL;
	}
	if (head.len < seal_head_bytes()) {
		*why = "it is cut short";
		return NULL;
	}
	derive(key, head, 'c', check);
	if (CRYPTO_memcmp(check, head.at + seal_magic.len + SEAL_SALT_BYTES, SEAL_CHECK_BYTES) !=
	    0) {
		*why = "it was written with another key, or its start is damaged";
		return NULL;
	}
	return make(key, head, false);
}

void
seal_free(struct seal *seal)
{
	if (seal == NULL)
		return;
	EVP_CIPHER_CTX_free(seal->cipher); /* wipes the key */
	free(seal);
}

/* ---- chunks ---- */

static void
set_nonce(struct seal *seal, bool is_last)
{
	unsigned char nonce[NONCE_BYTES] = { 0 };

	little_put_64(nonce, seal->chunks++);
	nonce[sizeof(uint64_t)] = is_last;
	if (EVP_CipherInit_ex(seal->cipher, NULL, NULL, NULL, nonce, -1) != 1)
		abort();
}

/* AES-GCM is a stream: as many bytes come out as went in. */
static void
run_cipher(struct seal *seal, struct slice in, char *out)
{
	int len;

	if (in.len > 0 &&
	    EVP_CipherUpdate(seal->cipher, (unsigned char *)out, &len, (const unsigned char *)in.at,
		(int)in.len) != 1)
		abort();
}

void
seal_chunk(struct seal *seal, struct slice plain, bool is_last, struct buf *out)
{
	char *at = buf_reserve(out, plain.len + SEAL_TAG_BYTES);
	int len;

	set_nonce(seal, is_last);
	run_cipher(seal, plain, at);
	if (EVP_CipherFinal_ex(seal->cipher, (unsigned char *)at + plain.len, &len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(seal->cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_BYTES,
		at + plain.len) != 1)
		abort();
	buf_added(out, plain.len + SEAL_TAG_BYTES);
}

bool
seal_open_chunk(struct seal *seal, struct slice sealed, bool is_last, struct buf *out)
{
	unsigned char tag[SEAL_TAG_BYTES], end[SEAL_TAG_BYTES];
	int len;

	if (sealed.len < SEAL_TAG_BYTES)
		return false;
	sealed.len -= SEAL_TAG_BYTES;
	memcpy(tag, sealed.at + sealed.len, SEAL_TAG_BYTES);
	set_nonce(seal, is_last);
	/* Not 0: room for nothing would be NULL. */
	run_cipher(seal, sealed, buf_reserve(out, sealed.len + 1));
	if (EVP_CIPHER_CTX_ctrl(seal->cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_BYTES, tag) != 1 ||
	    EVP_CipherFinal_ex(seal->cipher, end, &len) != 1)
		return false;
	buf_added(out, sealed.len);
	return true;
}
