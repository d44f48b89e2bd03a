/* Absorbed attention of all heads over one run of cached latents, with a running softmax.
 * Included once by each tiles_*.c. */
#ifndef VL2_LATENT_PART_H
#define VL2_LATENT_PART_H

#include "lanes.h"
#include "latent.h"
#include "rows.h"

static void widen_rows(const void *rows, int type, int64_t tokens, int64_t stride, int64_t width,
                       int64_t padded, float *out) {
    for (int64_t t = 0; t < tokens; t++) {
        const char *row = (const char *)rows + t * stride * type_size(type);
        load_group(row, type, 0, width, padded, out + t * padded);
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
static void mix(const float *weights, const float *rows, int64_t padded, int64_t rank, float keep,
                float *mixed) {
    const lanes kept = all_lanes(keep);
    for (int64_t i = 0; i < rank; i += 2 * LANES) {
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

static void latent_run(const float *query, int64_t heads, const float *rows, int64_t tokens,
                       int64_t rank, int64_t padded, float *top, float *total, float *mixed) {
    for (int64_t h = 0; h < heads; h++) {
        float scores[RUN], highest = top[h], sum = 0.0f;
        score(query + h * padded, rows, padded, scores);
        for (int64_t t = 0; t < tokens; t++) highest = scores[t] > highest ? scores[t] : highest;
        for (int64_t t = 0; t < RUN; t++) {
            scores[t] = t < tokens ? exponential(scores[t] - highest) : 0.0f;
            sum += scores[t];
        }
        float keep = exponential(top[h] - highest);
        mix(scores, rows, padded, rank, keep, mixed + h * padded);
        total[h] = total[h] * keep + sum;
        top[h] = highest;
    }
}

static void latent_part(const float *query, int64_t heads, const void *rows, int type,
                        int64_t tokens, int64_t stride, int64_t rank, int64_t width, float *top,
                        float *total, float *mixed, float *scratch) {
    const int64_t padded = padded_width(width);
    for (int64_t t = 0; t < tokens; t += RUN) {
        int64_t run = tokens - t < RUN ? tokens - t : RUN;
        const char *start = (const char *)rows + t * stride * type_size(type);
        widen_rows(start, type, run, stride, width, padded, scratch);
        latent_run(query, heads, scratch, run, rank, padded, top, total, mixed);
    }
}

#endif
