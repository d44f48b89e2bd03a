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

#define PART 128

typedef struct {
    float *top, *total, *mixed; /* [heads], [heads], [heads][padded values] */
} partial;

typedef struct {
    int64_t row, part, group;
} item;

static void attend_part(const paged_cache *cache, const float *query, item what, partial into,
                        float *scratch) {
    int64_t size = type_size(cache->type), padded = padded_width(cache->value_width);
    int64_t length = cache->lengths[what.row], end = (what.part + 1) * PART;
    if (end > length) end = length;
    for (int64_t h = 0; h < cache->heads; h++) {
        into.top[h] = -INFINITY;
        into.total[h] = 0.0f;
    }
    memset(into.mixed, 0, (size_t)(cache->heads * padded) * sizeof(float));
    int64_t key = what.group * cache->width;
    int64_t value = cache->value_start + what.group * cache->value_width;
    for (int64_t token = what.part * PART; token < end;) {
        int64_t page = token / cache->page_size, inside = token % cache->page_size;
        int64_t left = cache->page_size - inside, count = left < end - token ? left : end - token;
        int64_t start = cache->table[what.row * cache->table_stride + page] * cache->page_stride +
                        inside * cache->token_stride;
        const char *pages = cache->pages;
        cached_run run = {pages + (start + key) * size, pages + (start + value) * size,
                          cache->type, count, cache->token_stride, cache->width,
                          cache->value_width};
        vl2_active->attend(&run, query, cache->heads, into.top, into.total, into.mixed, scratch);
        token += count;
    }
}

/* `parts` of one row and group, `stride` apart. */
static void join(const paged_cache *cache, const partial *parts, int64_t count, int64_t stride,
                 int64_t head, float *out) {
    int64_t width = cache->value_width, padded = padded_width(width);
    float highest = -INFINITY, total = 0.0f;
    for (int64_t p = 0; p < count; p++) {
        float top = parts[p * stride].top[head];
        highest = top > highest ? top : highest;
    }
    memset(out, 0, (size_t)width * sizeof(float));
    for (int64_t p = 0; p < count; p++) {
        const partial *part = parts + p * stride;
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
    for (int64_t i = 0; i < rows * cache->groups * cache->heads; i++) {
        memcpy(out + i * padded, query + i * width, (size_t)width * sizeof(float));
        for (int64_t j = width; j < padded; j++) out[i * padded + j] = 0.0f;
    }
}

static void compute(const paged_cache *cache, const float *queries, int64_t rows, const item *items,
                    int64_t count, const int64_t *first, partial *parts, float *scratch,
                    int64_t scratch_size, float *out, int threads) {
    int64_t padded = padded_width(cache->width), groups = cache->groups, heads = cache->heads;
#pragma omp parallel num_threads(threads)
    {
        float *mine = scratch + vl2_thread() * scratch_size;
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < count; i++) {
            int64_t head = (items[i].row * groups + items[i].group) * heads;
            attend_part(cache, queries + head * padded, items[i], parts[i], mine);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * groups * heads; i++) {
            int64_t row = i / (groups * heads), group = i / heads % groups;
            join(cache, parts + first[row] + group, parts_of(cache, row), groups, i % heads,
                 out + i * cache->value_width);
        }
    }
}

int vl2_paged_attention(const paged_cache *cache, const float *query, int64_t rows, float *out,
                        int threads) {
    int64_t groups = cache->groups, heads = cache->heads, count = 0;
    int64_t *first = malloc((size_t)(rows + 1) * sizeof(int64_t));
    if (first == NULL) return NO_MEMORY;
    for (int64_t row = 0; row < rows; row++) {
        first[row] = count;
        count += parts_of(cache, row) * groups;
    }
    int64_t padded = padded_width(cache->width), value_padded = padded_width(cache->value_width);
    int64_t query_size = rows * groups * heads * padded, part_size = heads * (value_padded + 2);
    int64_t scratch_size = RUN * (padded + value_padded);
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
                items[i] = (item){row, (i - first[row]) / groups, (i - first[row]) % groups};
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
