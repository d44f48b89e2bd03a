/* Attention of many queries, in bfloat16: of prompts (each sees the tokens up to its own) and of
 * pictures (each sees all).
 *
 * Keys and values are packed like weights of 16 bits, so that the tiles of `packed.h` multiply by
 * them: scores are products of 16 keys with 8 queries, and sums products of 16 columns of the
 * values with 8 rows of weights. The softmax runs over KEYS keys at a time, in float32. A query
 * gives the same numbers whatever queries stand beside it. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define KEYS 512   /* keys of one softmax */
#define QUERIES 32 /* queries that work on the same keys together */
#define PACKED_BYTES (4 << 20) /* of the heads of keys and values that are packed together */

typedef struct {
    const many *a;
    int64_t chunks;
    int64_t columns, value_columns; /* widths filled up to what the tiles take */
    int64_t key_size, value_size;   /* packed numbers of a head */
    int64_t from, groups;           /* heads of keys and values: the first packed one, how many */
    uint16_t *keys, *values;        /* [groups]: packed */
} work;

typedef struct {
    float *scores;     /* [QUERIES][KEYS] */
    uint16_t *weights; /* [QUERIES][KEYS] */
    float *mixed;      /* [QUERIES][value_columns] */
    float top[QUERIES], total[QUERIES];
} scratch;

static int64_t filled_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

static int64_t chunk_keys(const work *w, int64_t chunk) {
    int64_t left = w->a->keys - chunk * KEYS;
    return filled_up(left < KEYS ? left : KEYS, ROWS);
}

/* Keys of a head: [block of 16 keys][width / 2][16 keys][2] */
static void pack_keys(const work *w, int64_t group) {
    const many *a = w->a;
    uint16_t *out = w->keys + (group - w->from) * w->key_size;
    for (int64_t key = 0; key < filled_up(a->keys, ROWS); key++) {
        const uint16_t *row = a->key + group * a->key_head + key * a->key_token;
        uint16_t *block = out + key / ROWS * ROWS * w->columns + key % ROWS * 2;
        for (int64_t i = 0; i < w->columns; i += 2) {
            uint16_t *pair = block + i * ROWS;
            pair[0] = key < a->keys ? row[i] : 0;
            pair[1] = key < a->keys && i + 1 < a->width ? row[i + 1] : 0;
        }
    }
}

/* Values of a head, chunk after chunk: [16 columns][keys / 2][16 columns][2 keys] */
static void pack_values(const work *w, int64_t group) {
    const many *a = w->a;
    for (int64_t chunk = 0; chunk < w->chunks; chunk++) {
        int64_t count = chunk_keys(w, chunk);
        uint16_t *out =
            w->values + (group - w->from) * w->value_size + chunk * KEYS * w->value_columns;
        for (int64_t key = 0; key < count; key++) {
            int64_t place = chunk * KEYS + key;
            const uint16_t *row = a->value + group * a->value_head + place * a->value_token;
            uint16_t *into = out + key / 2 * 2 * ROWS + key % 2;
            for (int64_t i = 0; i < w->value_columns; i++) {
                uint16_t number = place < a->keys && i < a->value_width ? row[i] : 0;
                into[i / ROWS * ROWS * count + i % ROWS * 2] = number;
            }
        }
    }
}

/* rows [count] of bfloat16 times `blocks` blocks -> out [count][stride], added or set */
static void multiply(const uint16_t *codes, int64_t columns, int64_t blocks, const uint16_t *rows,
                     int64_t row_stride, int64_t count, float *out, int64_t stride, int adds) {
    packed weight = {(const uint8_t *)codes, NULL, blocks, columns / 2, 2, 16};
    for (int64_t block = 0; block < blocks; block += PAIR) {
        int both = blocks - block < PAIR ? 1 : PAIR;
        for (int64_t start = 0; start < count; start += TOKENS) {
            activation tokens[TOKENS];
            float tile[PAIR * TOKENS][ROWS];
            int here = (int)(count - start < TOKENS ? count - start : TOKENS);
            for (int t = 0; t < here; t++) {
                tokens[t].codes = (const int8_t *)(rows + (start + t) * row_stride);
            }
            run_tile(&weight, block, both, tokens, here, tile);
            for (int b = 0; b < both; b++) {
                for (int t = 0; t < here; t++) {
                    float *place = out + (start + t) * stride + (block + b) * ROWS;
                    for (int i = 0; i < ROWS; i++) {
                        place[i] = tile[b * TOKENS + t][i] + (adds ? place[i] : 0.0f);
                    }
                }
            }
        }
    }
}

/* Keys of a chunk that a query sees. */
static int64_t seen(const many *a, int64_t query, int64_t chunk) {
    int64_t last = a->causal ? a->keys - a->queries + query + 1 : a->keys;
    int64_t count = last - chunk * KEYS;
    return count < 0 ? 0 : (count < KEYS ? count : KEYS);
}

static void attend(const work *w, int64_t head, int64_t first, scratch *s) {
    const many *a = w->a;
    int64_t place = head / (a->heads / a->groups) - w->from;
    int64_t count = a->queries - first < QUERIES ? a->queries - first : QUERIES;
    const uint16_t *queries = a->query + head * a->query_head + first * a->query_token;
    memset(s->mixed, 0, (size_t)(count * w->value_columns) * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        s->top[i] = -INFINITY;
        s->total[i] = 0.0f;
    }
    for (int64_t chunk = 0; chunk < w->chunks; chunk++) {
        int64_t most = filled_up(seen(a, first + count - 1, chunk), ROWS);
        if (most == 0) break;
        multiply(w->keys + place * w->key_size + chunk * KEYS * w->columns, w->columns,
                 most / ROWS, queries, a->query_token, count, s->scores, KEYS, 0);
        for (int64_t i = 0; i < count; i++) {
            float keep = vl2_active->soften(s->scores + i * KEYS, seen(a, first + i, chunk), most,
                                            a->scale, &s->top[i], &s->total[i],
                                            s->weights + i * KEYS);
            float *mixed = s->mixed + i * w->value_columns;
            for (int64_t j = 0; j < w->value_columns; j++) mixed[j] *= keep;
        }
        /* Blocks lie as far apart as the chunk is long; keys beyond `most` have no weight yet. */
        int64_t whole = chunk_keys(w, chunk);
        for (int64_t i = 0; i < count; i++) {
            memset(s->weights + i * KEYS + most, 0, (size_t)(whole - most) * 2);
        }
        multiply(w->values + place * w->value_size + chunk * KEYS * w->value_columns, whole,
                 w->value_columns / ROWS, s->weights, KEYS, count, s->mixed, w->value_columns, 1);
    }
    for (int64_t i = 0; i < count; i++) {
        float *mixed = s->mixed + i * w->value_columns;
        for (int64_t j = 0; j < a->value_width; j++) mixed[j] /= s->total[i];
        vl2_active->store(mixed, a->value_width,
                          a->out + ((first + i) * a->heads + head) * a->value_width, BFLOAT16);
    }
}

/* All queries over some heads of keys and values; the threads share the work. */
static void attend_groups(const work *w, scratch *s) {
    const many *a = w->a;
    int64_t blocks = (a->queries + QUERIES - 1) / QUERIES, shared = a->heads / a->groups;
    int64_t heads = w->groups * shared;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < 2 * w->groups; i++) {
        if (i < w->groups) {
            pack_keys(w, w->from + i);
        } else {
            pack_values(w, w->from + i - w->groups);
        }
    }
    /* The longest first: late queries see the most. */
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < heads * blocks; i++) {
        attend(w, w->from * shared + i % heads, (blocks - 1 - i / heads) * QUERIES, s);
    }
}

int vl2_attention(const many *a, int threads) {
    work w = {.a = a, .chunks = (a->keys + KEYS - 1) / KEYS};
    w.columns = filled_up(a->width, 2);
    w.value_columns = filled_up(a->value_width, ROWS);
    w.key_size = filled_up(a->keys, ROWS) * w.columns;
    w.value_size = filled_up(a->keys, ROWS) * w.value_columns;
    int64_t mine = QUERIES * (KEYS * 6 + w.value_columns * 4);
    int64_t size = w.key_size + w.value_size;
    w.groups = PACKED_BYTES / 2 / size;
    if (w.groups < 1) w.groups = 1;
    if (w.groups > a->groups) w.groups = a->groups;
    uint16_t *packed_numbers = malloc((size_t)(w.groups * size) * 2);
    char *buffer = malloc((size_t)(threads * mine));
    int status = packed_numbers && buffer ? OK : NO_MEMORY;
    if (status == OK) {
        w.keys = packed_numbers;
        w.values = packed_numbers + w.groups * w.key_size;
#pragma omp parallel num_threads(threads)
        {
            scratch s;
            s.scores = (float *)(buffer + vl2_thread() * mine);
            s.mixed = s.scores + QUERIES * KEYS;
            s.weights = (uint16_t *)(s.mixed + QUERIES * w.value_columns);
            work pass = w;
            for (pass.from = 0; pass.from < a->groups; pass.from += w.groups) {
                if (pass.groups > a->groups - pass.from) pass.groups = a->groups - pass.from;
                attend_groups(&pass, &s);
            }
        }
    }
    free(packed_numbers);
    free(buffer);
    return status;
}
