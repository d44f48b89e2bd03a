/* All layers of the language model for one new token each of some conversations, in one call:
 * what Python and the waking of threads cost for each small operation is paid once.
 *
 * Everything between the products is float32. What the layers compute is written down in
 * `vl2/model/language.py`; `vl2/engine/runner.py` runs the same over any number of tokens. */
#include <math.h>
#include <string.h>

#include "kernels.h"

typedef struct {
    const packed *weight; /* NULL for none */
    int64_t n, k;
} map; /* described to Python in `vl2/ops/kernels/step.py`, as are the three that follow */

typedef struct {
    const float *input_norm, *post_norm; /* [d] */
    map query_first;                     /* with a norm after it; none in most models */
    const float *query_norm;
    map query, key, value, output; /* with latents `key` makes latent and rotary part */
    const float *latent_norm;      /* [rank] */
    const void *expansion;         /* [heads][nope + value][rank] */
    int expansion_type;
    const float *router; /* [experts][d]; NULL in a layer without routed experts */
    routing routes;
    const expert_weights *experts;
    void *pages; /* of the cache */
} layer;

typedef struct {
    const layer *layers;
    int64_t layer_count, width;
    int64_t groups, heads, head_width;                /* keys and values; heads is per group */
    int64_t rank, nope, rotary, value_width;          /* latents; rank is 0 without */
    float eps, latent_eps, query_eps, scale;
    int cache_type;
    int64_t page_stride, token_stride, page_size;
    const float *norm;
    map head;
} model;

typedef struct {
    int64_t rows;
    const float *cos, *sin; /* [rows][rotated / 2] */
    const int64_t *slots;   /* [rows]: place of the new token in the pages */
    const int64_t *table;
    int64_t table_stride;
    const int64_t *lengths;
} batch;

typedef struct {
    const model *m;
    const batch *b;
    int threads;
    float *hidden, *normed, *query, *key, *value, *mixed, *made, *absorbed, *scores, *factors;
    int64_t *indices;
} step;

static int64_t query_heads(const model *m) { return m->rank ? m->heads : m->groups * m->heads; }

static int64_t query_width(const model *m) {
    return m->rank ? m->nope + m->rotary : m->head_width;
}

static void norm_rows(const step *s, const float *x, int64_t stride, int64_t width,
                      const float *weight, float eps, float *out) {
    for (int64_t i = 0; i < s->b->rows; i++) {
        vl2_active->normalise(x + i * stride, weight, eps, width, out + i * width);
    }
}

/* outs[i] = x W_i^T for weights that are packed alike; x [rows][k] */
static int multiply(const step *s, const float *x, int64_t k, const map *maps, float *const *outs,
                    int count) {
    activations rows;
    product products[3] = {{0}};
    int wanted = 0;
    for (int i = 0; i < count; i++) {
        if (maps[i].weight != NULL) {
            products[wanted++] = (product){maps[i].weight, maps[i].n, outs[i]};
        }
    }
    if (!allocate_rows(&rows, s->b->rows, products[0].weight)) return NO_MEMORY;
    for (int64_t i = 0; i < s->b->rows; i++) prepare_row(&rows, i, x + i * k, FLOAT32, k);
    vl2_products(products, wanted, &rows, s->b->rows, s->threads);
    free(rows.buffer);
    return OK;
}

static void rotate_halves(float *x, const float *cos, const float *sin, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        float first = x[i], second = x[half + i];
        x[i] = first * cos[i] - second * sin[i];
        x[half + i] = second * cos[i] + first * sin[i];
    }
}

static void rotate_neighbours(float *x, const float *cos, const float *sin, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        float even = x[2 * i], odd = x[2 * i + 1];
        x[2 * i] = even * cos[i] - odd * sin[i];
        x[2 * i + 1] = odd * cos[i] + even * sin[i];
    }
}

static void cache_numbers(const step *s, const layer *l, int64_t row, int64_t place, const float *x,
                          int64_t count) {
    const model *m = s->m;
    int64_t slot = s->b->slots[row];
    int64_t start = slot / m->page_size * m->page_stride + slot % m->page_size * m->token_stride;
    char *into = (char *)l->pages + (start + place) * type_size(m->cache_type);
    vl2_active->store(x, count, into, m->cache_type);
}

static int attend(const step *s, const layer *l, const float *query, float *out) {
    const model *m = s->m;
    paged_cache cache = {l->pages, m->cache_type, m->page_stride, m->token_stride, m->page_size,
                         s->b->table, s->b->table_stride, s->b->lengths, m->groups, m->heads,
                         m->head_width, m->head_width, m->groups * m->head_width};
    if (m->rank) {
        cache.groups = 1;
        cache.width = m->rank + m->rotary;
        cache.value_width = m->rank;
        cache.value_start = 0;
    }
    return vl2_paged_attention(&cache, query, s->b->rows, out, s->threads);
}

static int attend_heads(const step *s, const layer *l) {
    const model *m = s->m;
    const map maps[3] = {l->query, l->key, l->value};
    float *const outs[3] = {s->query, s->key, s->value};
    int status = multiply(s, s->normed, m->width, maps, outs, 3);
    if (status != OK) return status;
    int64_t half = m->head_width / 2, kept = m->groups * m->head_width;
    int64_t heads = m->groups * m->heads;
    for (int64_t i = 0; i < s->b->rows; i++) {
        const float *cos = s->b->cos + i * half, *sin = s->b->sin + i * half;
        float *query = s->query + i * heads * m->head_width, *key = s->key + i * kept;
        for (int64_t h = 0; h < heads; h++) {
            rotate_halves(query + h * m->head_width, cos, sin, half);
        }
        for (int64_t g = 0; g < m->groups; g++) {
            rotate_halves(key + g * m->head_width, cos, sin, half);
        }
        for (int64_t j = 0; j < heads * m->head_width; j++) query[j] *= m->scale;
        cache_numbers(s, l, i, 0, key, kept);
        cache_numbers(s, l, i, kept, s->value + i * kept, kept);
    }
    return attend(s, l, s->query, s->mixed);
}

/* Queries folded into the space of the latents, or mixed latents expanded to values. */
static void fold(const step *s, const layer *l, int expand) {
    const model *m = s->m;
    int64_t block = (m->nope + m->value_width) * m->rank, width = m->rank + m->rotary;
    const char *weights = l->expansion;
    int64_t size = type_size(l->expansion_type), rows = s->b->rows;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t h = 0; h < m->heads; h++) {
        const char *up = weights + h * block * size, *down = up + m->nope * m->rank * size;
        for (int64_t i = 0; i < rows; i++) {
            if (expand) {
                vl2_active->dots(down, l->expansion_type, m->value_width, m->rank,
                                 s->mixed + (i * m->heads + h) * m->rank, m->rank,
                                 s->made + (i * m->heads + h) * m->value_width);
                continue;
            }
            const float *query = s->query + (i * m->heads + h) * (m->nope + m->rotary);
            float *out = s->absorbed + (i * m->heads + h) * width;
            vl2_active->combine(up, l->expansion_type, m->nope, m->rank, query, m->rank, out);
            memcpy(out + m->rank, query + m->nope, (size_t)m->rotary * sizeof(float));
            for (int64_t j = 0; j < width; j++) out[j] *= m->scale;
        }
    }
}

static int attend_latents(const step *s, const layer *l) {
    const model *m = s->m;
    int64_t half = m->rotary / 2, width = m->rank + m->rotary, query = m->nope + m->rotary;
    const map first[2] = {l->query_first.weight ? l->query_first : l->query, l->key};
    float *const firsts[2] = {l->query_first.weight ? s->made : s->query, s->key};
    int status = multiply(s, s->normed, m->width, first, firsts, 2);
    if (status == OK && l->query_first.weight) {
        float *const outs[1] = {s->query};
        norm_rows(s, s->made, l->query.k, l->query.k, l->query_norm, m->query_eps, s->made);
        status = multiply(s, s->made, l->query.k, &l->query, outs, 1);
    }
    if (status != OK) return status;
    for (int64_t i = 0; i < s->b->rows; i++) {
        const float *cos = s->b->cos + i * half, *sin = s->b->sin + i * half;
        float *latent = s->key + i * width;
        for (int64_t h = 0; h < m->heads; h++) {
            rotate_neighbours(s->query + (i * m->heads + h) * query + m->nope, cos, sin, half);
        }
        vl2_active->normalise(latent, l->latent_norm, m->latent_eps, m->rank, latent);
        rotate_neighbours(latent + m->rank, cos, sin, half);
        cache_numbers(s, l, i, 0, latent, width);
    }
    fold(s, l, 0);
    status = attend(s, l, s->absorbed, s->mixed);
    fold(s, l, 1);
    return status;
}

static void add(const step *s, const float *x) {
    for (int64_t i = 0; i < s->b->rows * s->m->width; i++) s->hidden[i] += x[i];
}

static int feed_forward(const step *s, const layer *l) {
    const model *m = s->m;
    const routing *r = &l->routes;
    int64_t top_k = l->router ? r->top_k : 0;
    if (l->router != NULL) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
        for (int64_t e = 0; e < r->experts; e++) {
            for (int64_t i = 0; i < s->b->rows; i++) {
                vl2_active->dots(l->router + e * m->width, FLOAT32, 1, m->width,
                                 s->normed + i * m->width, m->width, s->scores + i * r->experts + e);
            }
        }
        for (int64_t i = 0; i < s->b->rows; i++) {
            vl2_route(r, s->scores + i * r->experts, s->indices + i * top_k, s->factors + i * top_k);
        }
    }
    return vl2_experts(l->experts, s->normed, s->b->rows, m->width, s->indices, s->factors, top_k,
                       s->made, m->width, FLOAT32, s->threads);
}

static int run_layer(const step *s, const layer *l) {
    const model *m = s->m;
    float *const outs[1] = {s->normed};
    norm_rows(s, s->hidden, m->width, m->width, l->input_norm, m->eps, s->normed);
    int status = m->rank ? attend_latents(s, l) : attend_heads(s, l);
    if (status != OK) return status;
    status = multiply(s, m->rank ? s->made : s->mixed, l->output.k, &l->output, outs, 1);
    if (status != OK) return status;
    add(s, s->normed);
    norm_rows(s, s->hidden, m->width, m->width, l->post_norm, m->eps, s->normed);
    status = feed_forward(s, l);
    if (status == OK) add(s, s->made);
    return status;
}

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

/* Room for what lies between the products; free(s->hidden) and free(s->indices) when done. */
static int allocate(step *s, const float *hidden) {
    const model *m = s->m;
    int64_t rows = s->b->rows, heads = query_heads(m), latent = m->rank + m->rotary;
    int64_t key = m->rank ? latent : m->groups * m->head_width;
    int64_t top_k = 0, experts = 0, first = 0;
    for (int64_t i = 0; i < m->layer_count; i++) {
        top_k = largest(top_k, m->layers[i].router ? m->layers[i].routes.top_k : 0);
        experts = largest(experts, m->layers[i].router ? m->layers[i].routes.experts : 0);
        first = largest(first, m->layers[i].query_first.weight ? m->layers[i].query.k : 0);
    }
    int64_t made = largest(largest(m->width, heads * m->value_width), first);
    int64_t mixed = heads * (m->rank ? m->rank : m->head_width);
    int64_t sizes[10] = {m->width, m->width, heads * query_width(m), key,   m->rank ? 0 : key,
                         mixed,    made,     heads * latent,         top_k, experts};
    float **parts[10] = {&s->hidden, &s->normed, &s->query,    &s->key,     &s->value,
                         &s->mixed,  &s->made,   &s->absorbed, &s->factors, &s->scores};
    int64_t total = 0, place = 0;
    for (int i = 0; i < 10; i++) total += rows * sizes[i] + 16;
    float *buffer = malloc((size_t)total * sizeof(float));
    s->indices = malloc((size_t)(rows * top_k + 1) * sizeof(int64_t));
    for (int i = 0; i < 10; i++) {
        *parts[i] = buffer + place;
        place += (rows * sizes[i] + 15) / 16 * 16;
    }
    if (buffer == NULL || s->indices == NULL) return NO_MEMORY;
    memcpy(s->hidden, hidden, (size_t)(rows * m->width) * sizeof(float));
    return OK;
}

/* hidden [rows][width] -> logits [rows][head.n], float32 */
int vl2_step(const model *m, const batch *b, const float *hidden, float *logits, int threads) {
    step s = {.m = m, .b = b, .threads = threads};
    int status = allocate(&s, hidden);
    for (int64_t i = 0; status == OK && i < m->layer_count; i++) {
        status = run_layer(&s, m->layers + i);
    }
    if (status == OK) {
        float *const outs[1] = {logits};
        norm_rows(&s, s.hidden, m->width, m->width, m->norm, m->eps, s.normed);
        status = multiply(&s, s.normed, m->width, &m->head, outs, 1);
    }
    free(s.hidden);
    free(s.indices);
    return status;
}
