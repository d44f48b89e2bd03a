/* Latent attention of one new token a row, over latents that lie in pages.
 *
 * The cached tokens are attended to in parts of PART tokens, each with a softmax of its own, and
 * the parts are joined in order. Parts depend on the row's length alone, so a row gives the same
 * numbers on any number of threads and beside any other rows. */
#include <math.h>
#include <string.h>

#include "latent.h"
#include "packed.h"

#define PART 128

typedef struct {
    const void *pages; /* latents, [page][token in page][width] */
    int type;
    int64_t page_stride, token_stride; /* in numbers */
    int64_t page_size;                 /* tokens in a page */
    const int64_t *table;              /* [rows][table_stride]: pages of a row, in order */
    int64_t table_stride;
    const int64_t *lengths; /* tokens of each row */
    int64_t heads, rank, width;
} latent_cache;

typedef struct {
    float *top, *total, *mixed; /* [parts][heads], [parts][heads], [parts][heads][padded] */
} partial;

static void attend_part(const latent_cache *cache, const float *query, int64_t row, int64_t part,
                        partial into, float *scratch) {
    int64_t padded = padded_width(cache->width);
    int64_t end = (part + 1) * PART < cache->lengths[row] ? (part + 1) * PART : cache->lengths[row];
    for (int64_t h = 0; h < cache->heads; h++) {
        into.top[h] = -INFINITY;
        into.total[h] = 0.0f;
    }
    memset(into.mixed, 0, (size_t)(cache->heads * padded) * sizeof(float));
    for (int64_t token = part * PART; token < end;) {
        int64_t page = token / cache->page_size, inside = token % cache->page_size;
        int64_t run = cache->page_size - inside < end - token ? cache->page_size - inside
                                                              : end - token;
        int64_t start = cache->table[row * cache->table_stride + page] * cache->page_stride +
                        inside * cache->token_stride;
        vl2_active->latent_part(query, cache->heads,
                                (const char *)cache->pages + start * type_size(cache->type),
                                cache->type, run, cache->token_stride, cache->rank, cache->width,
                                into.top, into.total, into.mixed, scratch);
        token += run;
    }
}

static void join(const latent_cache *cache, const partial *parts, int64_t count, int64_t head,
                 float *out) {
    int64_t padded = padded_width(cache->width);
    float highest = -INFINITY, total = 0.0f;
    for (int64_t p = 0; p < count; p++) {
        highest = parts[p].top[head] > highest ? parts[p].top[head] : highest;
    }
    memset(out, 0, (size_t)cache->rank * sizeof(float));
    for (int64_t p = 0; p < count; p++) {
        float factor = expf(parts[p].top[head] - highest);
        const float *mixed = parts[p].mixed + head * padded;
        total += parts[p].total[head] * factor;
        for (int64_t i = 0; i < cache->rank; i++) out[i] += factor * mixed[i];
    }
    for (int64_t i = 0; i < cache->rank; i++) out[i] /= total;
}

static partial part_at(float *buffer, int64_t index, int64_t heads, int64_t padded) {
    float *start = buffer + index * heads * (padded + 2);
    partial part = {start, start + heads, start + 2 * heads};
    return part;
}

static void pad_queries(const latent_cache *cache, const float *query, int64_t rows, float *out) {
    int64_t padded = padded_width(cache->width);
    for (int64_t i = 0; i < rows * cache->heads; i++) {
        memcpy(out + i * padded, query + i * cache->width, (size_t)cache->width * sizeof(float));
        for (int64_t j = cache->width; j < padded; j++) out[i * padded + j] = 0.0f;
    }
}

/* query [rows][heads][width] -> out [rows][heads][rank], both float32; every length at least 1. */
int vl2_latent_attention(const latent_cache *cache, const float *query, int64_t rows, float *out,
                         int threads) {
    int64_t heads = cache->heads, padded = padded_width(cache->width), items = 0;
    int64_t *first = malloc((size_t)(rows + 1) * sizeof(int64_t));
    if (first == NULL) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++) {
        first[row] = items;
        items += (cache->lengths[row] + PART - 1) / PART;
    }
    first[rows] = items;
    int64_t query_size = rows * heads * padded, part_size = heads * (padded + 2);
    int64_t scratch_size = RUN * padded;
    float *buffer = malloc((size_t)(query_size + items * part_size + threads * scratch_size) * 4);
    partial *parts = malloc((size_t)items * sizeof(partial));
    int64_t *owner = malloc((size_t)items * sizeof(int64_t));
    int status = buffer && parts && owner ? OK : NO_MEMORY;
    if (status == OK) {
        float *queries = buffer, *results = buffer + query_size;
        float *scratch = results + items * part_size;
        pad_queries(cache, query, rows, queries);
        for (int64_t row = 0; row < rows; row++) {
            for (int64_t i = first[row]; i < first[row + 1]; i++) {
                parts[i] = part_at(results, i, heads, padded);
                owner[i] = row;
            }
        }
#pragma omp parallel num_threads(threads)
        {
            int thread = vl2_thread();
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < items; i++) {
                int64_t row = owner[i];
                attend_part(cache, queries + row * heads * padded, row, i - first[row], parts[i],
                            scratch + thread * scratch_size);
            }
#pragma omp for schedule(static)
            for (int64_t i = 0; i < rows * heads; i++) {
                int64_t row = i / heads;
                join(cache, parts + first[row], first[row + 1] - first[row], i % heads,
                     out + i * cache->rank);
            }
        }
    }
    free(first);
    free(buffer);
    free(parts);
    free(owner);
    return status;
}
