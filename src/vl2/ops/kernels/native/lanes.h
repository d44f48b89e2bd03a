/* `lanes`: as many float32 numbers as one vector register of the instruction set holds, and
 * `words`: as many 32-bit words. */
#ifndef VL2_LANES_H
#define VL2_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 lanes;
#define LANES 16
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ALL_LANES(x) _mm512_set1_ps(x)
#define WIDEN(x) (words)_mm512_cvtepu16_epi32((__m256i)(x))
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 lanes;
#define LANES 8
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ALL_LANES(x) _mm256_set1_ps(x)
#define WIDEN(x) (words)_mm256_cvtepu16_epi32((__m128i)(x))
#else
typedef float lanes __attribute__((vector_size(16)));
#define LANES 4
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define ALL_LANES(x) ((lanes){x, x, x, x})
#define WIDEN(x) __builtin_convertvector(x, words)
#endif

typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halfwords __attribute__((vector_size(2 * LANES)));

static inline lanes load_lanes(const float *x) {
    lanes value;
    memcpy(&value, x, sizeof value);
    return value;
}

static inline lanes load_halves(const uint16_t *x) {
    halfwords value;
    memcpy(&value, x, sizeof value);
    return (lanes)(WIDEN(value) << 16);
}

static inline void store_lanes(float *x, lanes value) { memcpy(x, &value, sizeof value); }

/* Not a loop over the lanes: compilers make as many instructions of it. */
static inline lanes all_lanes(float x) { return ALL_LANES(x); }

/* Halves are added until one number is left. */
static inline float sum_lanes(lanes value) {
#if LANES == 16
    return _mm512_reduce_add_ps(value);
#else
    float parts[LANES];
    memcpy(parts, &value, sizeof parts);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    }
    return parts[0];
#endif
}

#endif
