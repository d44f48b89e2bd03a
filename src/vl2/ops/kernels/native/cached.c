/* Attention of one new token a row over cached tokens that lie in pages: keys and values of some
 * heads, or latents, which are the keys of all heads and begin with their values.
 *
 * The cached tokens are attended to in parts of PART tokens, each with a softmax of its own, and
 * the parts are joined in order. Parts depend on the row's length alone, so a row gives the same
 * numbers on any number of threads and beside any other rows. */
#include "cached.h"

#include <math.h>
#include <string.h>

#include "kernels.h"

#define PART 64

typedef struct {
    float *top, *total, *mixed; /* of all heads; mixed [heads][padded values] */
} partial;

typedef struct {
    int64_t row, part;
} item;

static int64_t all_heads(const paged_cache *cache) { return cache->groups * cache->heads; }

static void attend_part(const paged_cache *cache, const float *query, item what, partial into,
                        float *scratch) {
    int64_t size = type_size(cache->type), padded = padded_width(cache->value_width);
    int64_t length = cache->lengths[what.row], end = (what.part + 1) * PART;
    if (end > length) end = length;
    int64_t heads = all_heads(cache);
    for (int64_t h = 0; h < heads; h++) {
        into.top[h] = -INFINITY;
        into.total[h] = 0.0f;
    }
    memset(into.mixed, 0, (size_t)(heads * padded) * sizeof(float));
    for (int64_t token = what.part * PART; token < end;) {
        int64_t page = token / cache->page_size, inside = token % cache->page_size;
        int64_t left = cache->page_size - inside, count = left < end - token ? left : end - token;
        int64_t start = cache->table[what.row * cache->table_stride + page] * cache->page_stride +
                        inside * cache->token_stride;
        const char *keys = (const char *)cache->pages + start * size;
        cached_run run = {keys, keys + cache->value_start * size, cache->type, count,
                          cache->token_stride, cache->width, cache->value_width, cache->groups,
                          cache->heads, NULL};
        if (token + count < length) {
            int64_t place = (token + count) / cache->page_size;
            int64_t after = cache->table[what.row * cache->table_stride + place];
            run.next = (const char *)cache->pages + after * cache->page_stride * size;
        }
        vl2_active->attend(&run, query, into.top, into.total, into.mixed, scratch);
        token += count;
    }
}

static void join(const paged_cache *cache, const partial *parts, int64_t count, int64_t head,
                 float *out) {
    int64_t width = cache->value_width, padded = padded_width(width);
    float highest = -INFINITY, total = 0.0f;
    for (int64_t p = 0; p < count; p++) {
        highest = parts[p].top[head] > highest ? parts[p].top[head] : highest;
    }
    memset(out, 0, (size_t)width * sizeof(float));
    for (int64_t p = 0; p < count; p++) {
        const partial *part = parts + p;
        float factor = expf(part->top[head] - highest);
        const float *mixed = part->mixed + head * padded;
        total += part->total[head] * factor;
        for (int64_t i = 0; i < width; i++) out[i] += factor * mixed[i];
    }
    for (int64_t i = 0; i < width; i++) out[i] /= total;
}

static int64_t parts_of(const paged_cache *cache, int64_t row) {
    return (cache->lengths[row] + PART - 1) / PART;
}

static void pad_queries(const paged_cache *cache, const float *query, int64_t rows, float *out) {
    int64_t padded = padded_width(cache->width), width = cache->width;
    for (int64_t i = 0; i < rows * all_heads(cache); i++) {
        memcpy(out + i * padded, query + i * width, (size_t)width * sizeof(float));
        for (int64_t j = width; j < padded; j++) out[i * padded + j] = 0.0f;
    }
}

static void compute(const paged_cache *cache, const float *queries, int64_t rows, const item *items,
                    int64_t count, const int64_t *first, partial *parts, float *scratch,
                    int64_t scratch_size, float *out, int threads) {
    int64_t padded = padded_width(cache->width), heads = all_heads(cache);
#pragma omp parallel num_threads(threads)
    {
        float *mine = scratch + vl2_thread() * scratch_size;
        /* Neighbouring parts to one thread, which has fetched the beginning of the next one. */
#pragma omp for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            const float *query = queries + items[i].row * heads * padded;
            attend_part(cache, query, items[i], parts[i], mine);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * heads; i++) {
            int64_t row = i / heads;
            join(cache, parts + first[row], parts_of(cache, row), i % heads,
                 out + i * cache->value_width);
        }
    }
}

int vl2_paged_attention(const paged_cache *cache, const float *query, int64_t rows, float *out,
                        int threads) {
    int64_t heads = all_heads(cache), count = 0;
    int64_t *first = malloc((size_t)(rows + 1) * sizeof(int64_t));
    if (first == NULL) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++) {
        first[row] = count;
        count += parts_of(cache, row);
    }
    int64_t padded = padded_width(cache->width), value_padded = padded_width(cache->value_width);
    int64_t query_size = rows * heads * padded, part_size = heads * (value_padded + 2);
    int64_t scratch_size = RUN * (padded + value_padded + cache->groups);
    int64_t numbers = query_size + count * part_size + threads * scratch_size;
    float *buffer = malloc((size_t)numbers * sizeof(float));
    partial *parts = malloc((size_t)count * sizeof(partial));
    item *items = malloc((size_t)count * sizeof(item));
    int status = buffer && parts && items ? OK : NO_MEMORY;
    if (status == OK) {
        float *results = buffer + query_size;
        pad_queries(cache, query, rows, buffer);
        for (int64_t row = 0; row < rows; row++) {
            int64_t end = row + 1 < rows ? first[row + 1] : count;
            for (int64_t i = first[row]; i < end; i++) {
                float *start = results + i * part_size;
                parts[i] = (partial){start, start + heads, start + 2 * heads};
                items[i] = (item){row, i - first[row]};
            }
        }
        compute(cache, buffer, rows, items, count, first, parts, results + count * part_size,
                scratch_size, out, threads);
    }
    free(first);
    free(buffer);
    free(parts);
    free(items);
    return status;
}
