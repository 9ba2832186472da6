/* tokenizer.h: text to token ids and back, as Hugging Face `tokenizers` does it for the tokenizer.json that the blob was
 * made from (edgeq.tokenizer.compile_tokenizer).
 *
 *   edgeq_tokenizer *tok;
 *   if (edgeq_tokenizer_open(blob, bytes, &tok)) return 1;
 *   ptrdiff_t n = edgeq_tokenize(tok, text, strlen(text), EDGEQ_ADD_SPECIAL | EDGEQ_PARSE_SPECIAL, ids, room);
 *
 * Text is UTF-8. Where it is not, each ill-formed sequence counts as one U+FFFD, as Python's errors="replace" has it.
 * Truncation and padding of tokenizer.json are left to the caller.
 * Statuses are edgeq.h's: 1 out of memory, 2 a wrong argument, 6 a damaged blob. Functions that count return them negated.
 * Threads: a tokenizer is constant after it was opened; any number of threads may use it at once.
 * Memory: the blob is used in place (64-byte aligned) and must outlive the tokenizer. Nothing else is kept. */
#ifndef EDGEQ_TOKENIZER_H
#define EDGEQ_TOKENIZER_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEQ_TOKENIZER_API __attribute__((visibility("default")))

typedef struct edgeq_tokenizer edgeq_tokenizer;

enum {
  EDGEQ_ADD_SPECIAL = 1,   /* tokenize: put the post-processor's tokens around the text ([CLS] ... [SEP]) */
  EDGEQ_PARSE_SPECIAL = 2, /* tokenize: special tokens written in the text become their ids; else they are plain text */
  EDGEQ_SKIP_SPECIAL = 4,  /* detokenize: leave special tokens out */
  EDGEQ_KEEP_BYTES = 8     /* detokenize: keep bytes that are not (yet) UTF-8 instead of writing U+FFFD */
};

/* Checks the blob and opens it. 0, or a status; then *out is NULL. */
EDGEQ_TOKENIZER_API int edgeq_tokenizer_open(const void *blob, size_t bytes, edgeq_tokenizer **out);

/* NULL is allowed. */
EDGEQ_TOKENIZER_API void edgeq_tokenizer_close(edgeq_tokenizer *tokenizer);

/* Number of ids of the text, also when that is more than `room`; then only the first `room` are written. */
EDGEQ_TOKENIZER_API ptrdiff_t edgeq_tokenize(const edgeq_tokenizer *tokenizer, const char *text, size_t bytes, int flags,
                                             int32_t *ids, size_t room);

/* Number of bytes of the text of n ids, also when that is more than `room`; no zero byte is added. Ids outside the
 * vocabulary have no text.
 * A chat prints whole characters as they come: detokenize all ids so far with EDGEQ_KEEP_BYTES, and write what is new
 * up to the last edgeq_incomplete_utf8 bytes. */
EDGEQ_TOKENIZER_API ptrdiff_t edgeq_detokenize(const edgeq_tokenizer *tokenizer, const int32_t *ids, size_t n, int flags,
                                               char *text, size_t room);

/* How many bytes at the end (0..3) are the beginning of a character that is not complete. */
EDGEQ_TOKENIZER_API size_t edgeq_incomplete_utf8(const char *text, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
