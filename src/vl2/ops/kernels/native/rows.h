/* Loops over one row of numbers in plain C. Every instruction set compiles its own copy, and the
 * compiler turns them into its vectors. Included once by each tiles_*.c. */
#ifndef VL2_ROWS_H
#define VL2_ROWS_H

#include <math.h>
#include <string.h>

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

static void store(const float *x, int64_t count, void *y, int type) {
    if (type == BFLOAT16) {
        uint16_t *out = y;
        for (int64_t i = 0; i < count; i++) out[i] = to_bfloat16(x[i]);
    } else {
        memcpy(y, x, (size_t)count * 4);
    }
}

#endif
