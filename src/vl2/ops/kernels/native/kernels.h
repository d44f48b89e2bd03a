/* What Python calls, and what one source calls of another. */
#ifndef VL2_KERNELS_H
#define VL2_KERNELS_H

#include "packed.h"

/* Asks for huge pages: from now on where memory is not used yet, or at once where it is. */
void vl2_huge_pages(void *start, int64_t bytes, int now);

/* Where the products of a linear map go, and what is done to them first. */
typedef struct {
    void *y; /* [m][n] */
    int64_t n;
    int type;          /* of x and y */
    const float *bias; /* [n], or NULL */
    int activation;
} ending;

int vl2_linear(const packed *weight, int64_t k, const void *x, int64_t m, const ending *end,
               int threads);

/* One layer's cache. Token by token it holds the keys of all groups of heads, then their values,
 * or one latent, whose first numbers are its value. */
typedef struct {
    const void *pages; /* [page][token in page] */
    int type;
    int64_t page_stride, token_stride; /* in numbers */
    int64_t page_size;                 /* tokens in a page */
    const int64_t *table;              /* [rows][table_stride]: pages of a row, in order */
    int64_t table_stride;
    const int64_t *lengths;         /* tokens of each row, at least 1 */
    int64_t groups, heads;          /* heads of keys, heads of queries for each */
    int64_t width, value_width;     /* of a key, of a value */
    int64_t value_start;            /* where the first value begins in a token's numbers */
} paged_cache;

/* query [rows][groups * heads][width] -> out [rows][groups * heads][value_width], float32 */
int vl2_paged_attention(const paged_cache *cache, const float *query, int64_t rows, float *out,
                        int threads);

typedef struct {
    const packed *gate_up, *down; /* blocks of all experts one after the other */
    int64_t experts, inner;
    const packed *shared_gate, *shared_up, *shared_down; /* NULL for none */
    int64_t shared_inner;
} expert_weights;

/* x [m][k] -> y [m][d], of one type. indices and factors are [m][top_k]. */
int vl2_experts(const expert_weights *weights, const void *x, int64_t m, int64_t k,
                const int64_t *indices, const float *factors, int64_t top_k, void *y, int64_t d,
                int type, int threads);

#define MAX_EXPERTS 512

typedef struct {
    int64_t experts, top_k, groups, kept_groups;
    const float *bias; /* added for the choice only, or NULL */
    int sigmoid;       /* else softmax */
    int two_best;      /* a group is worth the sum of its two best */
    int normalise;
    float scale;
} routing;

/* scores [experts]: logits, overwritten; indices and factors [top_k] */
void vl2_route(const routing *r, float *scores, int64_t *indices, float *factors);

/* Products with some weights that take the same input: rows [m] made ready -> outs[i] [m][n[i]]. */
typedef struct {
    const packed *weight;
    int64_t n;
    float *out;
} product;

void vl2_products(const product *products, int count, const activations *rows, int64_t m,
                  int threads);

/* Attention of many queries, the last of the keys' tokens; all numbers are bfloat16. Strides are in
 * numbers, from token to token and from head to head. */
typedef struct {
    const uint16_t *query, *key, *value;
    int64_t query_token, query_head, key_token, key_head, value_token, value_head;
    uint16_t *out; /* [queries][heads][value_width] */
    int64_t heads, groups, queries, keys, width, value_width;
    float scale;
    int causal; /* a query sees the keys up to its own token, else all */
} many;

int vl2_attention(const many *a, int threads);

#endif
