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

#define FOLD 4 /* heads that read the widened rows together */

/* Scores of `heads` <= FOLD heads with RUN tokens, four at a time. */
static inline __attribute__((always_inline)) void score(const float *query, const float *rows,
                                                        int64_t padded, const int heads,
                                                        float (*scores)[RUN]) {
    for (int t = 0; t < RUN; t += 4) {
        const float *row = rows + t * padded;
        lanes sum[FOLD][4];
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) sum[h][j] = all_lanes(0.0f);
        }
        for (int64_t i = 0; i < padded; i += LANES) {
            lanes key[4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) key[j] = load_lanes(row + j * padded + i);
#pragma GCC unroll 4
            for (int h = 0; h < heads; h++) {
                lanes q = load_lanes(query + h * padded + i);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) sum[h][j] = MULTIPLY_ADD(q, key[j], sum[h][j]);
            }
        }
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) scores[h][t + j] = sum_lanes(sum[h][j]);
        }
    }
}

/* mixed = mixed * keep + sum over tokens of weight * row, for `heads` <= FOLD heads. */
static inline __attribute__((always_inline)) void mix(float (*weights)[RUN], const float *rows,
                                                      int64_t padded, int64_t width,
                                                      const int heads, const float *keep,
                                                      float *mixed, int64_t stride) {
    for (int64_t i = 0; i < width; i += 2 * LANES) {
        lanes left[FOLD], right[FOLD];
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            left[h] = load_lanes(mixed + h * stride + i) * all_lanes(keep[h]);
            right[h] = load_lanes(mixed + h * stride + i + LANES) * all_lanes(keep[h]);
        }
        for (int t = 0; t < RUN; t++) {
            lanes one = load_lanes(rows + t * padded + i);
            lanes other = load_lanes(rows + t * padded + i + LANES);
#pragma GCC unroll 4
            for (int h = 0; h < heads; h++) {
                lanes weight = all_lanes(weights[h][t]);
                left[h] = MULTIPLY_ADD(weight, one, left[h]);
                right[h] = MULTIPLY_ADD(weight, other, right[h]);
            }
        }
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            store_lanes(mixed + h * stride + i, left[h]);
            store_lanes(mixed + h * stride + i + LANES, right[h]);
        }
    }
}

typedef struct {
    const float *keys, *values; /* [RUN], padded */
    int64_t tokens, width, key_stride, value_stride, mixed_stride;
} wide_run;

static inline __attribute__((always_inline)) void attend_fold(const wide_run *run,
                                                              const float *query, const int heads,
                                                              float *top, float *total,
                                                              float *mixed) {
    float scores[FOLD][RUN], keep[FOLD];
    score(query, run->keys, run->key_stride, heads, scores);
    for (int h = 0; h < heads; h++) {
        float highest = top[h], sum = 0.0f;
        for (int64_t t = 0; t < run->tokens; t++) {
            highest = scores[h][t] > highest ? scores[h][t] : highest;
        }
        for (int64_t t = run->tokens; t < RUN; t++) scores[h][t] = -INFINITY;
        for (int64_t t = 0; t < RUN; t++) scores[h][t] = exponential(scores[h][t] - highest);
        for (int64_t t = run->tokens; t < RUN; t++) scores[h][t] = 0.0f;
        for (int64_t t = 0; t < RUN; t++) sum += scores[h][t];
        keep[h] = exponential(top[h] - highest);
        total[h] = total[h] * keep[h] + sum;
        top[h] = highest;
    }
    mix(scores, run->values, run->value_stride, run->width, heads, keep, mixed,
        run->mixed_stride);
}

static void attend_wide(const wide_run *run, const float *query, int64_t heads, float *top,
                        float *total, float *mixed) {
    int64_t h = 0;
    for (; h + FOLD <= heads; h += FOLD) {
        attend_fold(run, query + h * run->key_stride, FOLD, top + h, total + h,
                    mixed + h * run->mixed_stride);
    }
    for (; h < heads; h++) {
        attend_fold(run, query + h * run->key_stride, 1, top + h, total + h,
                    mixed + h * run->mixed_stride);
    }
}

#define STRIP 4 /* registers of mixed values that take in all tokens of a run at once */

/* mixed = mixed * keep + sum over tokens of weight * value, for `strip` registers of one head. */
static inline __attribute__((always_inline)) void mix_strip(const cached_run *run, const int type,
                                                            int64_t place, const float *weights,
                                                            float keep, const int strip,
                                                            float *mixed) {
    lanes sums[STRIP];
#pragma GCC unroll 4
    for (int j = 0; j < strip; j++) {
        sums[j] = load_lanes(mixed + j * LANES) * all_lanes(keep);
    }
    for (int64_t t = 0; t < run->tokens; t++) {
        const lanes weight = all_lanes(weights[t]);
#pragma GCC unroll 4
        for (int j = 0; j < strip; j++) {
            lanes value = load_typed(run->values, type, t * run->stride + place + j * LANES);
            sums[j] = MULTIPLY_ADD(weight, value, sums[j]);
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < strip; j++) store_lanes(mixed + j * LANES, sums[j]);
}

/* The processor does not see the next page coming: some of its bytes, evenly for each of `count`
 * steps. */
static inline void fetch_next(const cached_run *run, int64_t bytes, int64_t step, int64_t count) {
    if (run->next == NULL) return;
    const int64_t lines = bytes / 64;
    for (int64_t i = lines * step / count; i < lines * (step + 1) / count; i++) {
        __builtin_prefetch(run->next + i * 64, 0, 2);
    }
}

/* Heads that have keys and values of their own: nothing is worth widening beforehand, and the keys
 * are read one token after the other as they lie. Both widths are multiples of LANES. */
static inline __attribute__((always_inline)) void attend_alone(
    const cached_run *run, const int type, const float *query, float *top, float *total,
    float *mixed, float *scores) {
    const int64_t width = run->width, padded = padded_width(width), groups = run->groups;
    const int64_t value_width = run->value_width, value_padded = padded_width(value_width);
    const int64_t bytes = run->tokens * run->stride * type_size(type), steps = run->tokens + groups;
    for (int64_t t = 0; t < run->tokens; t++) {
        fetch_next(run, bytes, t, steps);
        for (int64_t g = 0; g < groups; g++) {
            lanes sum = all_lanes(0.0f);
            for (int64_t i = 0; i < width; i += LANES) {
                lanes key = load_typed(run->keys, type, t * run->stride + g * width + i);
                sum = MULTIPLY_ADD(load_lanes(query + g * padded + i), key, sum);
            }
            scores[g * RUN + t] = sum_lanes(sum);
        }
    }
    for (int64_t g = 0; g < groups; g++) {
        float *own = scores + g * RUN, highest = top[g], sum = 0.0f;
        fetch_next(run, bytes, run->tokens + g, steps);
        for (int64_t t = 0; t < run->tokens; t++) highest = own[t] > highest ? own[t] : highest;
        for (int64_t t = run->tokens; t < RUN; t++) own[t] = -INFINITY;
        for (int64_t t = 0; t < RUN; t++) own[t] = exponential(own[t] - highest);
        for (int64_t t = 0; t < run->tokens; t++) sum += own[t];
        const float keep = exponential(top[g] - highest);
        total[g] = total[g] * keep + sum;
        top[g] = highest;
        int64_t i = 0;
        for (; i + STRIP * LANES <= value_width; i += STRIP * LANES) {
            mix_strip(run, type, g * value_width + i, own, keep, STRIP,
                      mixed + g * value_padded + i);
        }
        for (; i < value_width; i += LANES) {
            mix_strip(run, type, g * value_width + i, own, keep, 1, mixed + g * value_padded + i);
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
    const int64_t bytes = run->tokens * run->stride * size;
    for (int64_t i = 0; run->next != NULL && i < bytes; i += 64) {
        __builtin_prefetch(run->next + i, 0, 2);
    }
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
