/* The inner loops for AVX-512 with VNNI: `vpdpbusd` multiplies 64 pairs of bytes at once. With
 * AVX512_BF16 too, `vdpbf16ps` multiplies 32 pairs of bfloat16 (`tiles_avx512bf16.c`). */
#if defined(__x86_64__)
#include <immintrin.h>

#include "attend.h"
#include "rows.h"

#define INLINE static inline __attribute__((always_inline))

INLINE __m512 block_scales(const uint16_t *scales) {
    __m256i halves = _mm256_loadu_si256((const __m256i *)scales);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

INLINE __m512i four_bytes(const int8_t *x) {
    int32_t word;
    memcpy(&word, x, 4);
    return _mm512_set1_epi32(word);
}

/* `count` and `bits` are constants where this is inlined, so the inner loops over tokens unroll and
 * their sums stay in registers. Two sums a token: a single one would wait for itself. */
INLINE void tile(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                 const activation *tokens, const int count, float (*out)[ROWS], const int bits) {
    const __m512i low = _mm512_set1_epi8(15);
    const int64_t columns = weight->group, groups = weight->groups;
    __m512 total[TOKENS];
    for (int t = 0; t < count; t++) total[t] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        __m512i first[TOKENS], second[TOKENS];
        for (int t = 0; t < count; t++) {
            first[t] = _mm512_set1_epi32(-(bits == 4 ? 8 : 128) * tokens[t].sums[g]);
            second[t] = _mm512_setzero_si512();
        }
        for (int64_t k = g * columns; k < (g + 1) * columns; k += 8) {
            __m512i left = _mm512_loadu_si512(codes), right;
            if (bits == 4) {
                right = _mm512_and_si512(_mm512_srli_epi16(left, 4), low);
                left = _mm512_and_si512(left, low);
            } else {
                right = _mm512_loadu_si512(codes + 64);
            }
            codes += bits == 4 ? 64 : 128;
#pragma GCC unroll 8
            for (int t = 0; t < count; t++) {
                first[t] = _mm512_dpbusd_epi32(first[t], left, four_bytes(tokens[t].codes + k));
                if (count > 4) {
                    first[t] =
                        _mm512_dpbusd_epi32(first[t], right, four_bytes(tokens[t].codes + k + 4));
                } else {
                    second[t] =
                        _mm512_dpbusd_epi32(second[t], right, four_bytes(tokens[t].codes + k + 4));
                }
            }
        }
        __m512 scale = block_scales(scales + g * ROWS);
        for (int t = 0; t < count; t++) {
            __m512i dot = count > 4 ? first[t] : _mm512_add_epi32(first[t], second[t]);
            __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(tokens[t].scales[g]));
            total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), factor, total[t]);
        }
    }
    for (int t = 0; t < count; t++) _mm512_storeu_ps(out[t], total[t]);
}

#define TILE(name, bits)                                                                         \
    static void name(const packed *weight, const uint8_t *codes, const uint16_t *scales,         \
                     const activation *tokens, int count, float (*out)[ROWS]) {                  \
        if (count == 8) {                                                                        \
            tile(weight, codes, scales, tokens, 8, out, bits);                                   \
            return;                                                                              \
        }                                                                                        \
        int done = 0;                                                                            \
        if (count & 4) {                                                                         \
            tile(weight, codes, scales, tokens, 4, out, bits);                                   \
            done = 4;                                                                            \
        }                                                                                        \
        if (count & 2) {                                                                         \
            tile(weight, codes, scales, tokens + done, 2, out + done, bits);                     \
            done += 2;                                                                           \
        }                                                                                        \
        if (count & 1) tile(weight, codes, scales, tokens + done, 1, out + done, bits);          \
    }

TILE(tile4, 4)
TILE(tile8, 8)

#if defined(__AVX512BF16__)
/* `count` and `blocks` are constants where this is inlined. */
INLINE void tile_halves(const packed *weight, const uint8_t *codes, const activation *tokens,
                        const int count, const int blocks, float (*out)[ROWS]) {
    const int64_t pairs = weight->groups * weight->group / 2, next = block_bytes(weight);
    __m512 sums[PAIR][TOKENS];
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++) {
#pragma GCC unroll 8
        for (int t = 0; t < count; t++) sums[b][t] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < pairs; k++) {
        __m512bh rows[PAIR];
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++) {
            rows[b] = (__m512bh)_mm512_loadu_si512(codes + b * next + k * 4 * ROWS);
        }
#pragma GCC unroll 8
        for (int t = 0; t < count; t++) {
            __m512bh x = (__m512bh)four_bytes(tokens[t].codes + 4 * k);
#pragma GCC unroll 2
            for (int b = 0; b < blocks; b++) sums[b][t] = _mm512_dpbf16_ps(sums[b][t], rows[b], x);
        }
    }
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++) {
#pragma GCC unroll 8
        for (int t = 0; t < count; t++) _mm512_storeu_ps(out[b * TOKENS + t], sums[b][t]);
    }
}

INLINE void tiles_halves(const packed *weight, const uint8_t *codes, const activation *tokens,
                         int count, const int blocks, float (*out)[ROWS]) {
    if (count == 8) {
        tile_halves(weight, codes, tokens, 8, blocks, out);
        return;
    }
    int done = 0;
    if (count & 4) {
        tile_halves(weight, codes, tokens, 4, blocks, out);
        done = 4;
    }
    if (count & 2) {
        tile_halves(weight, codes, tokens + done, 2, blocks, out + done);
        done += 2;
    }
    if (count & 1) tile_halves(weight, codes, tokens + done, 1, blocks, out + done);
}

static void bfloat16_tile(const packed *weight, const uint8_t *codes, int blocks,
                          const activation *tokens, int count, float (*out)[ROWS]) {
    if (blocks == 2) {
        tiles_halves(weight, codes, tokens, count, 2, out);
    } else {
        tiles_halves(weight, codes, tokens, count, 1, out);
    }
}

const instruction_set vl2_avx512bf16 = {
    "avx512-bf16", tile4, tile8, bfloat16_tile, quantise, halve, silu_times, store, finish,
    attend, soften, normalise, dots, combine};
#else
const instruction_set vl2_avx512 = {"avx512-vnni", tile4, tile8,  tile16,    quantise, halve,
                                    silu_times,    store, finish, attend, soften, normalise, dots,     combine};
#endif
#endif
