/* Attention of some heads over one run of cached tokens, with a running softmax.
 * Included once by each tiles_*.c. */
#ifndef VL2_ATTEND_H
#define VL2_ATTEND_H

#include "cached.h"
#include "lanes.h"
#include "rows.h"

static void widen_rows(const char *rows, int type, int64_t tokens, int64_t stride, int64_t width,
                       float *out) {
    const int64_t padded = padded_width(width);
    for (int64_t t = 0; t < tokens; t++) {
        load_group(rows + t * stride * type_size(type), type, 0, width, padded, out + t * padded);
    }
    memset(out + tokens * padded, 0, (size_t)((RUN - tokens) * padded) * sizeof(float));
}

/* Scores of one head with RUN tokens, four at a time. */
static void score(const float *query, const float *rows, int64_t padded, float *scores) {
    for (int t = 0; t < RUN; t += 4) {
        const float *row = rows + t * padded;
        lanes sum[4];
        for (int j = 0; j < 4; j++) sum[j] = all_lanes(0.0f);
        for (int64_t i = 0; i < padded; i += LANES) {
            lanes q = load_lanes(query + i);
            for (int j = 0; j < 4; j++) {
                sum[j] = MULTIPLY_ADD(q, load_lanes(row + j * padded + i), sum[j]);
            }
        }
        for (int j = 0; j < 4; j++) scores[t + j] = sum_lanes(sum[j]);
    }
}

/* mixed = mixed * keep + sum over tokens of weight * row. */
static void mix(const float *weights, const float *rows, int64_t padded, int64_t width, float keep,
                float *mixed) {
    const lanes kept = all_lanes(keep);
    for (int64_t i = 0; i < width; i += 2 * LANES) {
        lanes left = load_lanes(mixed + i) * kept, right = load_lanes(mixed + i + LANES) * kept;
        for (int t = 0; t < RUN; t++) {
            const float *row = rows + t * padded + i;
            lanes weight = all_lanes(weights[t]);
            left = MULTIPLY_ADD(weight, load_lanes(row), left);
            right = MULTIPLY_ADD(weight, load_lanes(row + LANES), right);
        }
        store_lanes(mixed + i, left);
        store_lanes(mixed + i + LANES, right);
    }
}

typedef struct {
    const float *keys, *values; /* [RUN], padded */
    int64_t tokens, width, key_stride, value_stride, mixed_stride;
} wide_run;

static void attend_wide(const wide_run *run, const float *query, int64_t heads, float *top,
                        float *total, float *mixed) {
    for (int64_t h = 0; h < heads; h++) {
        float scores[RUN], highest = top[h], sum = 0.0f;
        score(query + h * run->key_stride, run->keys, run->key_stride, scores);
        for (int64_t t = 0; t < run->tokens; t++) {
            highest = scores[t] > highest ? scores[t] : highest;
        }
        for (int64_t t = 0; t < RUN; t++) {
            scores[t] = t < run->tokens ? exponential(scores[t] - highest) : 0.0f;
            sum += scores[t];
        }
        float keep = exponential(top[h] - highest);
        mix(scores, run->values, run->value_stride, run->width, keep,
            mixed + h * run->mixed_stride);
        total[h] = total[h] * keep + sum;
        top[h] = highest;
    }
}

static inline lanes load_typed(const char *x, int type, int64_t place) {
    return type == BFLOAT16 ? load_halves((const uint16_t *)x + place)
                            : load_lanes((const float *)x + place);
}

/* Heads that have keys and values of their own: nothing is worth widening beforehand, and the tokens
 * are read one after the other as they lie. Both widths are multiples of LANES. */
static inline __attribute__((always_inline)) void attend_alone(
    const cached_run *run, const int type, const float *query, float *top, float *total,
    float *mixed, float *scores) {
    const int64_t width = run->width, padded = padded_width(width);
    const int64_t value_width = run->value_width, value_padded = padded_width(value_width);
    const int64_t bytes = run->stride * type_size(type);
    for (int64_t t = 0; t < run->tokens; t++) {
        /* The processor does not see the next page coming. */
        for (int64_t i = 0; run->next != NULL && i < bytes; i += 64) {
            __builtin_prefetch(run->next + t * bytes + i, 0, 2);
        }
        for (int64_t g = 0; g < run->groups; g++) {
            lanes sum = all_lanes(0.0f);
            for (int64_t i = 0; i < width; i += LANES) {
                lanes key = load_typed(run->keys, type, t * run->stride + g * width + i);
                sum = MULTIPLY_ADD(load_lanes(query + g * padded + i), key, sum);
            }
            scores[g * RUN + t] = sum_lanes(sum);
        }
    }
    for (int64_t g = 0; g < run->groups; g++) {
        float *own = scores + g * RUN, highest = top[g], sum = 0.0f;
        for (int64_t t = 0; t < run->tokens; t++) highest = own[t] > highest ? own[t] : highest;
        for (int64_t t = run->tokens; t < RUN; t++) own[t] = -INFINITY;
        for (int64_t t = 0; t < RUN; t++) own[t] = exponential(own[t] - highest);
        for (int64_t t = 0; t < run->tokens; t++) sum += own[t];
        const float keep = exponential(top[g] - highest);
        for (int64_t i = 0; i < value_width; i++) mixed[g * value_padded + i] *= keep;
        total[g] = total[g] * keep + sum;
        top[g] = highest;
    }
    for (int64_t t = 0; t < run->tokens; t++) {
        for (int64_t g = 0; g < run->groups; g++) {
            const lanes weight = all_lanes(scores[g * RUN + t]);
            for (int64_t i = 0; i < value_width; i += LANES) {
                float *place = mixed + g * value_padded + i;
                lanes value = load_typed(run->values, type, t * run->stride + g * value_width + i);
                store_lanes(place, MULTIPLY_ADD(weight, value, load_lanes(place)));
            }
        }
    }
}

/* Heads that share keys and values, which are widened once. */
static void attend_shared(const cached_run *run, const float *query, float *top, float *total,
                          float *mixed, float *scratch) {
    const int64_t size = type_size(run->type), padded = padded_width(run->width);
    const int64_t value_padded = padded_width(run->value_width), heads = run->heads;
    const int same = run->values == run->keys;
    float *values = same ? scratch : scratch + RUN * padded;
    for (int64_t g = 0; g < run->groups; g++) {
        const char *keys = (const char *)run->keys + g * run->width * size;
        const char *own = (const char *)run->values + g * run->value_width * size;
        widen_rows(keys, run->type, run->tokens, run->stride, run->width, scratch);
        if (!same) {
            widen_rows(own, run->type, run->tokens, run->stride, run->value_width, values);
        }
        wide_run wide = {scratch, values, run->tokens, run->value_width, padded,
                         same ? padded : value_padded, value_padded};
        attend_wide(&wide, query + g * heads * padded, heads, top + g * heads, total + g * heads,
                    mixed + g * heads * value_padded);
    }
}

static void attend(const cached_run *run, const float *query, float *top, float *total,
                   float *mixed, float *scratch) {
    const int64_t size = type_size(run->type);
    const int alone = run->heads == 1 && run->width % LANES == 0 && run->value_width % LANES == 0;
    for (int64_t t = 0; t < run->tokens; t += RUN) {
        cached_run part = *run;
        part.tokens = run->tokens - t < RUN ? run->tokens - t : RUN;
        part.keys = (const char *)run->keys + t * run->stride * size;
        part.values = (const char *)run->values + t * run->stride * size;
        if (!alone) {
            attend_shared(&part, query, top, total, mixed, scratch);
        } else if (run->type == BFLOAT16) {
            attend_alone(&part, BFLOAT16, query, top, total, mixed, scratch);
        } else {
            attend_alone(&part, FLOAT32, query, top, total, mixed, scratch);
        }
    }
}

#endif
