/* Loops over one row of numbers in plain C. Every instruction set compiles its own copy, and the
 * compiler turns them into its vectors. Included once by each tiles_*.c. */
#ifndef VL2_ROWS_H
#define VL2_ROWS_H

#include <math.h>
#include <string.h>

#include "lanes.h"
#include "packed.h"

static inline float from_bfloat16(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

/* To the nearest, ties to even, as torch rounds; NaN stays NaN. */
static inline uint16_t to_bfloat16(float number) {
    uint32_t bits;
    memcpy(&bits, &number, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}

static inline void load_group(const void *x, int type, int64_t start, int64_t count, int64_t group,
                              float *out) {
    if (type == BFLOAT16) {
        const uint16_t *values = (const uint16_t *)x + start;
        for (int64_t i = 0; i < count; i++) out[i] = from_bfloat16(values[i]);
    } else {
        memcpy(out, (const float *)x + start, (size_t)count * 4);
    }
    for (int64_t i = count; i < group; i++) out[i] = 0.0f;
}

static void halve(const void *x, int type, int64_t k, int64_t columns, uint16_t *out) {
    if (type == BFLOAT16) {
        memcpy(out, x, (size_t)k * 2);
    } else {
        const float *values = x;
        for (int64_t i = 0; i < k; i++) out[i] = to_bfloat16(values[i]);
    }
    memset(out + k, 0, (size_t)(columns - k) * 2);
}

static void quantise(const void *x, int type, int64_t k, int64_t groups, int64_t group,
                     int8_t *codes, float *scales, int32_t *sums) {
    /* Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even. */
    const float magic = 12582912.0f;
    float values[MAX_GROUP];
    for (int64_t g = 0; g < groups; g++) {
        int64_t start = g * group, left = k - start;
        load_group(x, type, start, left < group ? left : group, group, values);
        float largest = 0.0f;
        int finite = 1;
        for (int64_t i = 0; i < group; i++) {
            float size = fabsf(values[i]);
            largest = size > largest ? size : largest;
            finite &= size <= 3.4028235e38f;
        }
        /* A row with NaN or infinity must give NaN, not a plausible number. */
        scales[g] = finite ? largest / 127.0f : NAN;
        float factor = finite && largest >= 1e-35f ? 127.0f / largest : 0.0f;
        int32_t sum = 0;
        for (int64_t i = 0; i < group; i++) {
            float scaled = finite ? values[i] * factor : 0.0f;
            int32_t code = (int32_t)((scaled + magic) - magic);
            codes[start + i] = (int8_t)code;
            sum += code;
        }
        sums[g] = sum;
    }
}

/* e^x to 2e-7, for x up to 88; below -87 it is 0. */
static inline float exponential(float x) {
    const float magic = 12582912.0f;
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float whole = (x * 1.44269504f + magic) - magic;
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float power = 1.9875691500e-4f;
    power = power * rest + 1.3981999507e-3f;
    power = power * rest + 8.3334519073e-3f;
    power = power * rest + 4.1665795894e-2f;
    power = power * rest + 1.6666665459e-1f;
    power = power * rest + 5.0000001201e-1f;
    power = power * rest * rest + rest + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)whole + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return power * scale;
}

static void silu_times(float *gate, const float *up, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
    }
}

/* gelu(x) = x * sigmoid(2 u) in its approximation by tanh(u). */
static void finish(float *x, const float *bias, int64_t count, int activation) {
    if (bias != NULL) {
        for (int64_t i = 0; i < count; i++) x[i] += bias[i];
    }
    if (activation == GELU_TANH) {
        for (int64_t i = 0; i < count; i++) {
            float u = x[i] * (0.79788456f + 0.035677408f * x[i] * x[i]);
            x[i] = x[i] / (1.0f + exponential(-2.0f * u));
        }
    }
}

static void store(const float *x, int64_t count, void *y, int type) {
    if (type == BFLOAT16) {
        uint16_t *out = y;
        for (int64_t i = 0; i < count; i++) out[i] = to_bfloat16(x[i]);
    } else {
        memcpy(y, x, (size_t)count * 4);
    }
}

static inline lanes higher(lanes a, lanes b) {
    words mask = (words)(a > b);
    return (lanes)(((words)a & mask) | ((words)b & ~mask));
}

static float soften(float *scores, int64_t seen, int64_t count, float scale, float *top,
                    float *total, uint16_t *weights) {
    lanes highest = all_lanes(-INFINITY), sum = all_lanes(0.0f);
    for (int64_t i = 0; i < seen; i++) scores[i] *= scale;
    for (int64_t i = seen; i < count; i++) scores[i] = -INFINITY;
    for (int64_t i = 0; i < count; i += LANES) highest = higher(highest, load_lanes(scores + i));
    float before = *top, now = before;
    for (int i = 0; i < LANES; i++) now = highest[i] > now ? highest[i] : now;
    if (seen > 0) {
        for (int64_t i = 0; i < count; i++) scores[i] = exponential(scores[i] - now);
        for (int64_t i = seen; i < count; i++) scores[i] = 0.0f;
    } else {
        memset(scores, 0, (size_t)count * sizeof(float));
    }
    for (int64_t i = 0; i < count; i += LANES) sum = sum + load_lanes(scores + i);
    for (int64_t i = 0; i < count; i++) weights[i] = to_bfloat16(scores[i]);
    float keep = before == now ? 1.0f : exponential(before - now);
    *total = *total * keep + sum_lanes(sum);
    *top = now;
    return keep;
}

static inline lanes load_typed(const char *x, int type, int64_t place) {
    return type == BFLOAT16 ? load_halves((const uint16_t *)x + place)
                            : load_lanes((const float *)x + place);
}

/* LANES numbers of a type from `start` on, those from `width` on taken as 0. */
static inline lanes load_some(const void *x, int type, int64_t start, int64_t width) {
    if (start + LANES <= width) {
        return type == BFLOAT16 ? load_halves((const uint16_t *)x + start)
                                : load_lanes((const float *)x + start);
    }
    float values[LANES];
    load_group(x, type, start, width - start, LANES, values);
    return load_lanes(values);
}

static void normalise(const float *x, const float *weight, float eps, int64_t width, float *out) {
    lanes squares = all_lanes(0.0f);
    for (int64_t i = 0; i < width; i += LANES) {
        lanes value = load_some(x, FLOAT32, i, width);
        squares = MULTIPLY_ADD(value, value, squares);
    }
    float factor = 1.0f / sqrtf(sum_lanes(squares) / (float)width + eps);
    for (int64_t i = 0; i < width; i++) out[i] = weight[i] * (x[i] * factor);
}

#define CHAINS 4 /* sums of one row: a single one would wait for itself */

static inline __attribute__((always_inline)) void dots_typed(const char *rows, const int type,
                                                             int64_t count, int64_t stride,
                                                             const float *x, int64_t width,
                                                             float *out) {
    for (int64_t row = 0; row < count; row++) {
        const char *start = rows + row * stride * type_size(type);
        lanes sums[CHAINS];
#pragma GCC unroll 4
        for (int j = 0; j < CHAINS; j++) sums[j] = all_lanes(0.0f);
        int64_t i = 0;
        for (; i + CHAINS * LANES <= width; i += CHAINS * LANES) {
#pragma GCC unroll 4
            for (int j = 0; j < CHAINS; j++) {
                lanes value = load_typed(start, type, i + j * LANES);
                sums[j] = MULTIPLY_ADD(value, load_lanes(x + i + j * LANES), sums[j]);
            }
        }
        for (; i < width; i += LANES) {
            sums[0] = MULTIPLY_ADD(load_some(start, type, i, width),
                                   load_some(x, FLOAT32, i, width), sums[0]);
        }
        out[row] = sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
}

static void dots(const void *rows, int type, int64_t count, int64_t stride, const float *x,
                 int64_t width, float *out) {
    if (type == BFLOAT16) {
        dots_typed(rows, BFLOAT16, count, stride, x, width, out);
    } else {
        dots_typed(rows, FLOAT32, count, stride, x, width, out);
    }
}

#define BATCH (LANES == 16 ? 16 : 8) /* vectors summed together: a row is read in long pieces */
#define EARLY 8 /* rows before a row is needed it is fetched, as a whole and not piece by piece */

static inline __attribute__((always_inline)) void combine_typed(const char *rows, const int type,
                                                                int64_t count, int64_t stride,
                                                                const float *x, int64_t width,
                                                                float *out) {
    const int64_t bytes = width * type_size(type), next = stride * type_size(type);
    int64_t i = 0;
    for (; i + BATCH * LANES <= width; i += BATCH * LANES) {
        lanes sums[BATCH];
#pragma GCC unroll 16
        for (int j = 0; j < BATCH; j++) sums[j] = all_lanes(0.0f);
        for (int64_t row = 0; row < count; row++) {
            const lanes factor = all_lanes(x[row]);
            if (i == 0 && row + EARLY < count) {
                for (int64_t place = 0; place < bytes; place += 64) {
                    __builtin_prefetch(rows + (row + EARLY) * next + place, 0, 2);
                }
            }
#pragma GCC unroll 16
            for (int j = 0; j < BATCH; j++) {
                lanes value = load_typed(rows, type, row * stride + i + j * LANES);
                sums[j] = MULTIPLY_ADD(value, factor, sums[j]);
            }
        }
#pragma GCC unroll 16
        for (int j = 0; j < BATCH; j++) store_lanes(out + i + j * LANES, sums[j]);
    }
    for (; i < width; i += LANES) {
        lanes sum = all_lanes(0.0f);
        for (int64_t row = 0; row < count; row++) {
            const char *start = rows + row * stride * type_size(type);
            sum = MULTIPLY_ADD(load_some(start, type, i, width), all_lanes(x[row]), sum);
        }
        float values[LANES];
        store_lanes(values, sum);
        memcpy(out + i, values, (size_t)(width - i < LANES ? width - i : LANES) * sizeof(float));
    }
}

static void combine(const void *rows, int type, int64_t count, int64_t stride, const float *x,
                    int64_t width, float *out) {
    if (type == BFLOAT16) {
        combine_typed(rows, BFLOAT16, count, stride, x, width, out);
    } else {
        combine_typed(rows, FLOAT32, count, stride, x, width, out);
    }
}

/* Two blocks of 16 bits with the vectors that there are: a word holds two columns of a row. */
static void tile16(const packed *weight, const uint8_t *codes, int blocks,
                   const activation *tokens, int count, float (*out)[ROWS]) {
    const int64_t pairs = weight->groups * weight->group / 2;
    for (int part = 0; part < blocks * ROWS; part += LANES) {
        const uint8_t *start = codes + part / ROWS * block_bytes(weight) + part % ROWS * 4;
        float(*here)[ROWS] = out + part / ROWS * TOKENS;
        for (int t = 0; t < count; t += 2) {
            const uint16_t *x = (const uint16_t *)tokens[t].codes;
            const uint16_t *next = t + 1 < count ? (const uint16_t *)tokens[t + 1].codes : x;
            lanes sum = all_lanes(0.0f), other = sum;
            for (int64_t k = 0; k < pairs; k++) {
                words both;
                memcpy(&both, start + k * 4 * ROWS, sizeof both);
                lanes left = (lanes)(both << 16), right = (lanes)(both & 0xffff0000u);
                sum = MULTIPLY_ADD(left, all_lanes(from_bfloat16(x[2 * k])), sum);
                sum = MULTIPLY_ADD(right, all_lanes(from_bfloat16(x[2 * k + 1])), sum);
                other = MULTIPLY_ADD(left, all_lanes(from_bfloat16(next[2 * k])), other);
                other = MULTIPLY_ADD(right, all_lanes(from_bfloat16(next[2 * k + 1])), other);
            }
            store_lanes(here[t] + part % ROWS, sum);
            if (t + 1 < count) store_lanes(here[t + 1] + part % ROWS, other);
        }
    }
}

#endif
