/* The inner loops for AVX2: `vpmaddubsw` multiplies 32 pairs of bytes and adds them in pairs. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "attend.h"
#include "rows.h"

#define INLINE static inline __attribute__((always_inline))

INLINE __m256 half_scales(const uint16_t *scales) {
    __m128i values = _mm_loadu_si128((const __m128i *)scales);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(values), 16));
}

INLINE __m256i four_bytes(const int8_t *x) {
    int32_t word;
    memcpy(&word, x, 4);
    return _mm256_set1_epi32(word);
}

INLINE __m256i load(const uint8_t *codes) { return _mm256_loadu_si256((const __m256i *)codes); }

/* Pairs of products as 16-bit numbers: 4 * 15 * 127 fits. */
INLINE __m256i dot4(__m256i codes, const int8_t *x) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i left = _mm256_and_si256(codes, low);
    __m256i right = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low);
    __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(left, four_bytes(x)),
                                     _mm256_maddubs_epi16(right, four_bytes(x + 4)));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* Unsigned codes would pass 32767, so the signs move to the activations: 2 * 128 * 127 fits. */
INLINE __m256i dot8(__m256i codes, const int8_t *x) {
    __m256i weights = _mm256_sub_epi8(codes, _mm256_set1_epi8((char)128));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights),
                                         _mm256_sign_epi8(four_bytes(x), weights));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

INLINE void tile(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                 const activation *tokens, const int count, float (*out)[ROWS], const int bits) {
    const int64_t columns = weight->group, groups = weight->groups;
    const int64_t step = bits == 4 ? 8 : 4;
    __m256 low[2], high[2];
    for (int t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        __m256i upper[2], lower[2];
        for (int t = 0; t < count; t++) {
            int32_t start = bits == 4 ? -8 * tokens[t].sums[g] : 0;
            upper[t] = lower[t] = _mm256_set1_epi32(start);
        }
        for (int64_t k = g * columns; k < (g + 1) * columns; k += step) {
            __m256i rows0 = load(codes), rows8 = load(codes + 32);
            codes += 64;
            for (int t = 0; t < count; t++) {
                const int8_t *x = tokens[t].codes + k;
                upper[t] = _mm256_add_epi32(upper[t], bits == 4 ? dot4(rows0, x) : dot8(rows0, x));
                lower[t] = _mm256_add_epi32(lower[t], bits == 4 ? dot4(rows8, x) : dot8(rows8, x));
            }
        }
        for (int t = 0; t < count; t++) {
            __m256 x = _mm256_set1_ps(tokens[t].scales[g]);
            __m256 scale0 = _mm256_mul_ps(half_scales(scales + g * ROWS), x);
            __m256 scale8 = _mm256_mul_ps(half_scales(scales + g * ROWS + 8), x);
            low[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(upper[t]), scale0, low[t]);
            high[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(lower[t]), scale8, high[t]);
        }
    }
    for (int t = 0; t < count; t++) {
        _mm256_storeu_ps(out[t], low[t]);
        _mm256_storeu_ps(out[t] + 8, high[t]);
    }
}

#define TILE(name, bits)                                                                         \
    static void name(const packed *weight, const uint8_t *codes, const uint16_t *scales,         \
                     const activation *tokens, int count, float (*out)[ROWS]) {                  \
        int t = 0;                                                                               \
        for (; t + 1 < count; t += 2) tile(weight, codes, scales, tokens + t, 2, out + t, bits); \
        if (t < count) tile(weight, codes, scales, tokens + t, 1, out + t, bits);                \
    }

TILE(tile4, 4)
TILE(tile8, 8)

const instruction_set vl2_avx2 = {"avx2",     tile4, tile8,  tile16,    quantise, halve,
                                  silu_times, store, finish, attend, soften, normalise, dots,     combine};
#endif
