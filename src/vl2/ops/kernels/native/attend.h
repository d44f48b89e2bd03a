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

static void attend(const cached_run *run, const float *query, int64_t heads, float *top,
                   float *total, float *mixed, float *scratch) {
    const int64_t size = type_size(run->type), padded = padded_width(run->width);
    const int shared = run->values == run->keys;
    const int64_t value_padded = padded_width(run->value_width);
    float *values = shared ? scratch : scratch + RUN * padded;
    for (int64_t t = 0; t < run->tokens; t += RUN) {
        int64_t here = run->tokens - t < RUN ? run->tokens - t : RUN;
        int64_t skipped = t * run->stride * size;
        widen_rows((const char *)run->keys + skipped, run->type, here, run->stride, run->width,
                   scratch);
        if (!shared) {
            widen_rows((const char *)run->values + skipped, run->type, here, run->stride,
                       run->value_width, values);
        }
        wide_run wide = {scratch, values, here, run->value_width, padded,
                         shared ? padded : value_padded, value_padded};
        attend_wide(&wide, query, heads, top, total, mixed);
    }
}

#endif
